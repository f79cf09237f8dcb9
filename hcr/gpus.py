"""The GPUs of this machine, as NVIDIA's driver shows them. Standard library only.

TensorFlow knows better which GPUs it can use, but takes seconds to import; see `hcr.training.devices`.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
NEEDS_CUDA = "pip install 'hcr[cuda]'"


def visible_gpus(root: Path = Path("/"), environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The GPUs that this process may use, each as CUDA_VISIBLE_DEVICES names it: an index, or an id such as GPU-1a2b.

    Args:
        root: of the file system.
        environ: the environment; CUDA_VISIBLE_DEVICES chooses among the GPUs as CUDA reads it: what follows an entry
            that is no GPU is ignored.
    """
    count = len(_nodes(root))
    if environ.get(VISIBLE) is None:
        return tuple(map(str, range(count)))
    found: list[str] = []
    for entry in environ[VISIBLE].split(","):
        name = entry.strip()
        is_known = int(name) < count if name.isdecimal() else count > 0 and name.startswith(("GPU-", "MIG-"))
        if not is_known or name in found:
            break
        found.append(name)
    return tuple(found)


def gpu_models(root: Path = Path("/")) -> tuple[str, ...]:
    """The names of the models of this machine's GPUs, as far as its driver tells them; each once."""
    texts = (_read(path) for path in sorted((root / "proc/driver/nvidia/gpus").glob("*/information")))
    names = [found[1].strip() for text in texts if (found := re.search(r"^Model:(.*)$", text, flags=re.MULTILINE))]
    return tuple(dict.fromkeys(names))


def has_cuda() -> bool:
    """True if the CUDA libraries are installed with TensorFlow, as its extra `and-cuda` asks for them."""
    try:
        needed = [line for line in requires("tensorflow") or () if "and-cuda" in line]
        return bool(needed) and all(version(name) for name in _names(needed))
    except PackageNotFoundError:
        return False


def usable_gpus() -> tuple[str, ...]:
    """`visible_gpus`, if TensorFlow was installed with the CUDA libraries that it needs."""
    gpus = visible_gpus()
    return gpus if gpus and has_cuda() else ()


def unused_note() -> str | None:
    """One line on a GPU that `training.device=auto` leaves unused for want of CUDA; None: there is no such GPU."""
    if not visible_gpus() or has_cuda():
        return None
    return (
        f"note: training on the CPU; {shown(gpu_models())} is here too, but not the CUDA libraries of TensorFlow"
        f" ({NEEDS_CUDA}; training.device=gpu uses CUDA that was installed otherwise)"
    )


def shown(models: Sequence[str]) -> str:
    """The names of models in a sentence."""
    return " and ".join(models) or "a GPU"


def _nodes(root: Path) -> list[Path]:
    """The device files of the GPUs. In a container the driver's /proc may list GPUs that it was not given."""
    nodes = [path for path in (root / "dev").glob("nvidia[0-9]*") if path.name.removeprefix("nvidia").isdecimal()]
    # Windows' Linux has one for all GPUs.
    return nodes or [path for path in (root / "dev/dxg",) if path.exists() and (root / "usr/lib/wsl/lib").is_dir()]


def _names(requirements: Iterable[str]) -> list[str]:
    return [found[0] for line in requirements if (found := re.match(r"[\w.-]+", line))]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
