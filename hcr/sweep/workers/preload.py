"""Preloading in the process that trials are forked from: it imports all that a trial imports, and reads the data set.

`multiprocessing`'s forkserver imports this module before it forks. A fork takes hundredths of a second, a fresh process
ten seconds; both are equally isolated. TensorFlow must not run anything here: its threads would not survive the fork.
Errors are ignored here: they occur again in the trial, which reports them.
"""

import contextlib
import gc
import json
import os
from importlib import import_module
from pathlib import Path

ORDER = "HCR_SWEEP_PRELOAD"  # JSON of paths: "log" for output, "ready" (created at the end), "config" (optional)
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
    """Import all that a trial imports, and read the data set of the config file `config`."""
    from hcr.environment import settle_environment
    from hcr.importing import import_keras

    settle_environment()
    import_keras()
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
    gc.freeze()  # trials share these objects: their garbage collectors need not scan them


def _preload_as_ordered(order: dict[str, str]) -> None:
    with contextlib.suppress(OSError):  # it is a session leader already
        os.setsid()  # only the controller receives the terminal's signals
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
    _preload_as_ordered(json.loads(os.environ.pop(ORDER)))
