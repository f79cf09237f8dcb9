"""The programs that the benchmark compares, and what a run of one measures."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import hcr  # noqa: F401 (sets TF_ENABLE_ONEDNN_OPTS, which the measured processes inherit)

HERE = Path(__file__).parent
ALL_IMAGES = 60_000  # of MNIST, for training and validation

EXAMPLE = ("experiment=keras_example", "training.patience=null")
# As keras_batch_norm.py has it; test is left alone, since only time is of interest.
PLAIN = ("dataset=mnist", "training=default", "training.patience=null", "optimizer=adam", "schedule=constant",
         "augmentation=none", "score_test=false")  # fmt: skip

STOCK, STALL_FREE = "Keras, stock fit", "Keras, stall-free"
FLOAT32, BFLOAT16 = "hcr float32", "hcr bfloat16"
MODELS = {
    "keras_convnet": {
        STOCK: ("keras_stock.py",),
        STALL_FREE: ("keras_stall_free.py",),
        FLOAT32: EXAMPLE,
        BFLOAT16: (*EXAMPLE, "training.precision=bfloat16"),
    },
    "cnn": {STOCK: ("keras_batch_norm.py", "--model=cnn"), FLOAT32: (*PLAIN, "model=cnn")},
    "resnet": {STOCK: ("keras_batch_norm.py", "--model=resnet"), FLOAT32: (*PLAIN, "model=resnet")},
}
BATCH_SIZE = {"keras_convnet": 128, "cnn": 64, "resnet": 64}
# How often a round runs each.
RECIPES = {"speedrun": 4, "fast_995": 2, "accurate": 1}


def run_program(command, mnist, *, seed, epochs, images, threads):
    """What a program of MODELS measured: by the journal of its run if it is hcr, else by its own account."""
    if command[0].endswith(".py"):
        script, *more = command
        return run_keras(script, mnist, seed, epochs, (*more, f"--images={images}", f"--threads={threads}"))
    # hcr's limit counts test images as well, of which MNIST has one to six others.
    limit = () if images == ALL_IMAGES else (f"dataset.limit={images * 7 // 6}",)
    return run_hcr(
        (*command, f"training.epochs={epochs}", f"training.threads={threads}", f"seed={seed}", *limit), mnist
    )


def run_keras(script, mnist, seed, epochs, more=()):
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "measured.json"
        wall_s, rss_mib = run([sys.executable, HERE / script, mnist, seed, epochs, output, *more], {})
        return {**json.loads(output.read_text()), "wall_s": wall_s, "rss_mib": rss_mib}


def run_hcr(overrides, mnist):
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hcr", "train", *overrides, f"dataset.path={mnist}"]
        wall_s, rss_mib = run(command, {"HCR_OUTPUT_DIR": folder})
        (journal,) = Path(folder).glob("runs/*/journal.jsonl")
        events = [json.loads(line) for line in journal.read_text().splitlines()]
    metrics = [event["values"] for event in events if event["event"] == "metrics"]
    epochs = [values for values in metrics if "time/epoch_s" in values]
    (begun,) = [event["tags"] for event in events if event["event"] == "run"]
    (params,) = [event["values"] for event in events if event["event"] == "params"]
    images = json.loads(begun["hcr.images"])
    return {
        "epoch_s": [values["time/epoch_s"] for values in epochs],
        "val_accuracy": [values["val/accuracy"] for values in epochs],
        "test_accuracy": [values["test/accuracy"] for values in metrics if "test/accuracy" in values],
        "images": {"train": images["train"], "val": images["val"]},
        "precision": params["training.precision"],
        "wall_s": wall_s,
        "rss_mib": rss_mib,
    }


def environment(**variables):
    """The variables of a measured process: TensorFlow says nothing, finds its bytecode, and has oneDNN."""
    found = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **variables}
    found.pop("PYTHONDONTWRITEBYTECODE", None)  # without bytecode it would take 24 s to import
    return found


def run(command, variables):
    """Wall time in seconds and peak memory in MiB of a process that must succeed."""
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command], env=environment(**variables), stdout=said, stderr=said
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start
        if status != 0:
            said.seek(0)
            sys.exit(f"{' '.join(map(str, command))} failed:\n{said.read().decode(errors='replace')}")
    return wall_s, usage.ru_maxrss / 1024


def peak_flop_per_s(precision, threads):
    """What a large product of square matrices reaches; the best of several, in a process of its own."""
    code = f"""
import time, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads({threads})
a = tf.cast(tf.random.normal([4096, 4096]), "{precision}")
tf.matmul(a, a).numpy()
def once():
    start = time.perf_counter(); tf.matmul(a, a).numpy(); return time.perf_counter() - start
print(2 * 4096 ** 3 / min(once() for _ in range(10)))
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    return float(done.stdout)
