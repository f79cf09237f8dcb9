"""The process that trials are forked from: it has imported everything, read the data, and never trained.

A fork takes hundredths of a second where a fresh process takes ten seconds, and is as clean: what a trial leaves
behind goes with it. Nothing of TensorFlow may run here, as its threads would not survive the fork.

    python -m hcr.sweep.nursery FD

It obeys lines of JSON from the socket FD, and answers with others:

    {"read": FOLDER}        read the data set of the trial in FOLDER, for every trial to have, and hold its code
    {"start": FOLDER}       fork a trial                          -> {"started": FOLDER, "pid": PID}
                            when it has ended                     -> {"ended": FOLDER, "code": CODE}

What builds models and does no more is forked as soon as Keras is imported; the rest is imported meanwhile.

CODE is as of `subprocess`: negative for a signal. When the socket closes the controller is gone, and so are the trials.
"""

import contextlib
import ctypes
import gc
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from collections import deque
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

from hcr import stopping
from hcr.environment import settle_environment

PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>
LONGEST_LINE = 1 << 16
TO_BUILD = ("hcr.config.gate", "hcr.sweep.trial", "hcr.training.build")
TO_TRAIN = (
    "scipy.io",
    "sklearn.metrics",
    "hcr.runner",
    "hcr.scoring",
    "hcr.tracking.keras_model",
    "optuna",
)


def main() -> int:
    """Import, then serve until the controller is gone."""
    settle_environment()
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the controller decides what an interrupt means
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in TO_BUILD:
        import_module(name)
    children: dict[int, str] = {}
    try:
        _serve(control, children)
    finally:
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # TensorFlow takes a second to leave, and has nothing to do


def _preparations() -> deque[Callable[[], object]]:
    """What trials import and look up, in pieces, without running anything of TensorFlow's."""
    from hcr.tracking.sources import hold_sources
    from hcr.tracking.store import warm_up

    imports = [partial(import_module, name) for name in TO_TRAIN]
    return deque([hold_sources, *imports, warm_up, gc.collect])


def _serve(control: socket.socket, children: dict[int, str]) -> None:
    # SIGCHLD wakes the selector through this pair, so that a trial's end is told at once.
    awake, wake = socket.socketpair()
    awake.setblocking(False)
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    selector.register(awake, selectors.EVENT_READ)
    pending = b""
    preparations = _preparations()
    while True:
        ready = selector.select(0 if preparations else None)
        if not ready:
            preparations.popleft()()
        for key, _ in ready:
            if key.fileobj is awake:
                awake.recv(LONGEST_LINE)
                _bury(control, children)
                continue
            received = control.recv(LONGEST_LINE)
            if not received:
                return
            *lines, pending = (pending + received).split(b"\n")
            for line in lines:
                order = json.loads(line)
                if "read" in order:
                    _read(Path(order["read"]))
                else:
                    if _trains(Path(order["start"])):
                        while preparations:
                            preparations.popleft()()
                        gc.freeze()  # what is here is every trial's: no garbage of its own to look through
                    pid = _start(order["start"], [control, awake, wake], selector)
                    children[pid] = order["start"]
                    _send(control, {"started": order["start"], "pid": pid})


def _read(folder: Path) -> None:
    from hcr.config import HcrError
    from hcr.config.fingerprint import hold_sources
    from hcr.data.sources import load_dataset
    from hcr.sweep.trial import read_config

    with contextlib.suppress(HcrError):  # what is wrong with it is told by the trial
        cfg = read_config(folder)
        hold_sources(cfg)
        load_dataset(cfg.dataset)


def _trains(folder: Path) -> bool:
    """Whether the task in `folder` does more than to build models."""
    from hcr.sweep.trial import BUILDING, TASK

    task: str = json.loads((folder / TASK).read_text(encoding="utf-8"))["task"]
    return task != BUILDING


def _start(folder: str, sockets: list[socket.socket], selector: selectors.BaseSelector) -> int:
    nursery = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        selector.close()
        for each in sockets:
            each.close()
        _die_with(nursery)
        code = _live(Path(folder))
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # the threads of TensorFlow need no farewell, and what `atexit` holds is the nursery's


def _live(folder: Path) -> int:
    """The trial, in a process of its own; what it prints goes to a file in its folder."""
    output = os.open(folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    stopping.handle(signal.SIGTERM)

    from hcr.sweep.trial import run_task

    return run_task(folder)


def _die_with(parent: int) -> None:
    """Be killed when `parent` is: where Linux is not, the nursery's last act is to kill its children."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it went before we asked
        os._exit(1)


def _bury(control: socket.socket, children: dict[int, str]) -> None:
    """Tell of every child that has ended."""
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        _send(control, {"ended": children.pop(pid), "code": os.waitstatus_to_exitcode(status)})


def _send(control: socket.socket, message: dict[str, object]) -> None:
    control.sendall(json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
