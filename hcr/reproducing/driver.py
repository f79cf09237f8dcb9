"""The process that trains a run again, with the code that its PYTHONPATH names: the installed one, or the run's own.

    python -P driver.py TASK    TASK is a file: the JSON of `Task`

This file is always the installed one; every `hcr` module that it imports is of that code, which may be older. So it
uses the names that the README documents for Python, and few others. It ends when its standard input does: with the
process that started it.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any


def main(path: Path) -> int:
    """Train the run of the task; returns the exit code, and writes the run's key to the file of the task's `result`."""
    task = json.loads(path.read_text(encoding="utf-8"))
    if task["code"] is not None:
        _only_from(Path(task["code"]))
    try:
        from hcr import stopping
        from hcr.config.errors import HcrError, one_line
        from hcr.environment import settle_environment
        from hcr.streams import settle_streams
    except ImportError as error:
        print(f"hcr: the run's code cannot be started by this version of hcr ({error})", file=sys.stderr)
        return 1
    stopping.handle_until_exit()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    settle_environment()
    settle_streams()
    try:
        with stopping.recording():
            _train(task)
    except KeyboardInterrupt:
        return stopping.INTERRUPTED
    except (HcrError, ImportError) as error:
        if stopping.is_requested():
            return stopping.INTERRUPTED
        print(f"hcr: {one_line(error)}", file=sys.stderr)
        return 1
    return 0


def _train(task: dict[str, Any]) -> None:
    from hcr.gate import parse_config
    from hcr.importing import import_keras
    from hcr.output import leaving_without_output
    from hcr.tracking.session import recorded

    cfg = parse_config(task["config"])
    import_keras()
    from hcr.runner import run

    with recorded(cfg.tracking) as journal:
        try:
            with leaving_without_output(lambda: "the same command resumes the reproduction"):
                run(
                    cfg,
                    journal,
                    name=task["name"],
                    overrides=task["overrides"],
                    tags=task["tags"],
                    dataset_digest=task["dataset_digest"],
                    draw=False,
                    on_epoch=lambda state: _say(state, cfg.training.epochs),
                )
        finally:
            Path(task["result"]).write_text(journal.key, encoding="utf-8")


def _say(state: Any, epochs: int) -> None:
    metrics = state.history[-1]
    print(
        f"epoch {state.epoch}/{epochs}  loss {metrics['train/loss']:.4f}  val loss {metrics['val/loss']:.4f}"
        f"  val accuracy {metrics['val/accuracy']:.4f}",
        flush=True,
    )


def _only_from(folder: Path) -> None:
    """Refuse any other hcr: an editable install finds modules that the run's code lacks."""
    sys.meta_path[:] = [
        each for each in sys.meta_path if not getattr(each, "__module__", "").startswith("__editable__")
    ]
    import hcr

    assert Path(str(hcr.__file__)).is_relative_to(folder), f"hcr is imported from {hcr.__file__}, not from {folder}"


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1])))
    except KeyboardInterrupt:  # before signals are handled
        sys.exit(130)
