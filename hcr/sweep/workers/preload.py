"""The memory of the process that trials are forked from: all that a trial imports, and the data set.

`multiprocessing`'s forkserver imports this module before it forks anything. A fork takes hundredths of a second where a
fresh process takes ten, and is as clean: what a trial leaves behind goes with it. Nothing of TensorFlow may run here,
as its threads would not survive the fork. What goes wrong here goes wrong again in the trial, which can say so.
"""

import contextlib
import gc
import json
import os
from importlib import import_module
from pathlib import Path

ORDER = "HCR_SWEEP_PRELOAD"  # JSON: "log", a file for what is printed; "ready", one that is made at the end; "config"
MODULES = (
    "hcr.gate.run_config",
    "hcr.sweep.trial",
    "hcr.sweep.tasks",
    "hcr.sweep.workers.local",
    "hcr.training.build",
    "scipy.io",
    "sklearn.metrics",
    "hcr.runner",
    "hcr.scoring",
    "hcr.tracking.keras_model",
)


def preload(config: Path | None) -> None:
    """Import what a trial imports, and read the data set of the config in the file `config`."""
    from hcr.environment import settle_environment

    settle_environment()
    for name in MODULES:
        import_module(name)
    from hcr.config import HcrError
    from hcr.data.loading import load_dataset
    from hcr.gate.fingerprint import extension_sources
    from hcr.sources import snapshot_sources
    from hcr.sweep.trial import read_config
    from hcr.tracking.store import warm_up

    snapshot_sources({})
    warm_up()
    if config is not None:
        with contextlib.suppress(HcrError):
            cfg = read_config(config.parent)
            snapshot_sources(extension_sources(cfg))
            load_dataset(cfg.dataset)
    gc.collect()
    gc.freeze()  # what is here is every trial's: no garbage of its own to look through


def _obey(order: dict[str, str]) -> None:
    with contextlib.suppress(OSError):  # it leads a session already
        os.setsid()  # signals of the terminal are the controller's to hear
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    try:
        preload(Path(order["config"]) if order.get("config") else None)
    except Exception:
        import traceback

        traceback.print_exc()
    finally:
        Path(order["ready"]).touch()


if ORDER in os.environ:
    _obey(json.loads(os.environ.pop(ORDER)))
