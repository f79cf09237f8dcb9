"""Trains a recorded run again, in a process of its own, with the code that the run had."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from hcr import stopping
from hcr.config.errors import BROKEN_PIPE, TrackingError
from hcr.config.tracking import output_root, tracking_uri
from hcr.environment import FINGERPRINT, recorded_settings, without
from hcr.reproducing import driver
from hcr.reproducing.original import Original
from hcr.reproducing.restored import python_path, restored_code
from hcr.tracking.lock import is_of_this_host, lock_run
from hcr.tracking.place import store_of
from hcr.tracking.status import unfinished

REPRODUCES = "hcr.reproduces"  # tag of a reproduction: the key of the run that is trained again
REPRODUCTION = "hcr.reproduction"  # tag of a finished one: how it compares
BETWEEN_LOOKS_S = 0.05


class ReproductionFailed(TrackingError):
    """The reproduction ended before it could be compared; its process has said why."""


def config_here(original: Original, data: Path | None) -> dict[str, Any]:
    """The run's config with the places of this machine: nothing that decides a number is changed.

    Args:
        data: where the data is on this machine; None: where the config says.
    """
    config = json.loads(json.dumps(original.config))
    config |= {"resume": "never", "new_run": True, "check_only": False}
    uri = None if original.uri == tracking_uri(None) else original.uri
    config["tracking"] = {**config.get("tracking", {}), "uri": uri, "run_name": None}
    if data is not None:
        config["dataset"] = {**config.get("dataset", {}), "path": str(data.absolute())}
    return dict(config)


def train_again(original: Original, config: Mapping[str, Any], *, own_code: bool, settings: bool) -> Path:
    """Train the run again; returns the folder of the reproduction, which has finished.

    An earlier reproduction of the run that was interrupted is resumed.

    Args:
        config: as of `config_here`.
        own_code: True to use the run's code, False for the installed one, which is equal.
        settings: True to set the variables that the run was trained with.

    Raises:
        ReproductionFailed: it has ended with an error, which was printed.
        KeyboardInterrupt: a stop signal came; the message is the line to print.
        SystemExit: nobody reads what is printed.
    """
    config = dict(config) | {"resume": _interrupted(original) or "never"}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hcr-reproduce-")))
        code = stack.enter_context(restored_code(original.sources)) if own_code else None
        result = scratch / "key"
        task = {
            "config": config,
            "overrides": original.overrides,
            "name": f"{original.record.name}, again",
            "tags": {REPRODUCES: original.key},
            "dataset_digest": original.record.tags.get("hcr.dataset_digest"),
            "code": None if code is None else str(code),
            "result": str(result),
        }
        (scratch / "task.json").write_text(json.dumps(task), encoding="utf-8")
        exit_code = _run(scratch / "task.json", code, _environment(original, settings))
        key = result.read_text(encoding="utf-8") if result.exists() else None
    folder = None if key is None else output_root() / "runs" / key
    if stopping.is_requested():
        begun = folder is not None and folder.is_dir()
        what = f"; the same command resumes the reproduction {key} in {folder}" if begun else "; nothing had begun"
        raise KeyboardInterrupt(f"interrupted{what}")
    if exit_code == BROKEN_PIPE:
        raise SystemExit(exit_code)
    if exit_code != 0 or folder is None:
        where = "" if folder is None or not folder.is_dir() else f"; its record is in {folder}"
        raise ReproductionFailed(f"the reproduction of run {original.key} failed with exit code {exit_code}{where}")
    return folder


def _run(task: Path, code: Path | None, environment: dict[str, str]) -> int:
    """Run the driver, and pass every stop signal on to it; returns its exit code."""
    module = ["-m", driver.__name__] if code is None else [driver.__file__]
    if code is not None:
        environment["PYTHONPATH"] = python_path(code)
    sys.stdout.flush()
    with _started([sys.executable, "-P", *module, str(task)], environment) as process:
        passed_on = 0
        while process.poll() is None:
            if stopping.count() > passed_on:
                passed_on += 1
                process.send_signal(signal.SIGINT)
            try:
                time.sleep(BETWEEN_LOOKS_S)
            except KeyboardInterrupt:  # the first signal; it is passed on, and the process says when it has ended
                continue
        return int(process.returncode)


@contextmanager
def _started(command: list[str], environment: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """The process, in a session of its own: the terminal's Ctrl-C reaches it through us, once. Killed if we leave."""
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True)
    with process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def _environment(original: Original, settings: bool) -> dict[str, str]:
    environment = dict(os.environ)
    if settings:
        environment = without(FINGERPRINT, environment) | recorded_settings(original.record.tags)
    return environment | {"HCR_OUTPUT_DIR": str(output_root())}


def _interrupted(original: Original) -> str | None:
    """The key of an interrupted reproduction of the run, with its fingerprint and store; None: there is none."""
    tags = original.record.tags
    for folder, header in unfinished(output_root()):
        is_ours = header["tags"].get(REPRODUCES) == original.key and is_of_this_host(header)
        is_same = header["tags"].get("hcr.fingerprint") == tags.get("hcr.fingerprint")
        if is_ours and is_same and store_of(folder, header) == original.uri:
            try:
                lock_run(folder).close()
            except BlockingIOError:
                continue
            return folder.name
    return None
