"""How many prepared images `hcr predict` reads in a second, once it has loaded.

    python experiments/photos/speed.py RUN [--images 10000] [--rounds 3]

The time for one image, which is that of loading, is taken off the time for all, round by round.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from render import digits


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    images, _ = digits("test")
    with tempfile.TemporaryDirectory() as name:
        for number in range(options.images):
            Image.fromarray(images[number][..., 0]).save(Path(name) / f"{number:05}.png")
        rates = []
        for _ in range(options.rounds):
            loading = seconds(options.run, str(Path(name) / "00000.png"))
            everything = seconds(options.run, name)
            rates.append((options.images - 1) / (everything - loading))
            print(f"{rates[-1]:,.0f} images/s after {loading:.1f} s of loading", flush=True)
    spread = f"{min(rates):,.0f} to {max(rates):,.0f}, n = {len(rates)}"
    print(f"median {sorted(rates)[len(rates) // 2]:,.0f} images/s ({spread})")


def seconds(run, images):
    start = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "hcr", "predict", run, images, "--csv"], check=True, stdout=subprocess.DEVNULL
    )
    return time.monotonic() - start


if __name__ == "__main__":
    main()
