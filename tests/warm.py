"""A process that has imported everything and forks real `hcr` processes, each ready at once.

    python -P tests/warm.py FD

For each line {"argv", "cwd", "env", "out", "err"} of JSON from the socket FD it forks a process that runs the command
as `hcr` would, and answers {"pid"} at once and {"code"} when it has ended.
"""

import json
import os
import signal
import socket
import sys
from importlib import import_module

from hcr.environment import pin

IMPORTED = (
    "hydra.main",
    "hydra._internal.config_loader_impl",
    "hcr.launch",
    "hcr.runner",
    "hcr.scoring",
    "hcr.sweep.command",
    "hcr.commands.check",
    "hcr.commands.data",
    "hcr.commands.sync",
    "hcr.training.progress",
    "hcr.evaluation.class_plots",
    "hcr.evaluation.pictures",
    "hcr.evaluation.plots",
    "hcr.tracking.keras_model",
)
STORES = ("mlflow.store.tracking.sqlalchemy_store", "mlflow.store.tracking.rest_store")


def serve(control: socket.socket) -> list[str] | None:
    """In a forked process the command that it is to run; None in this one, when nobody asks any more."""
    lines = control.makefile("rb")
    for line in lines:
        order = json.loads(line)
        pid = os.fork()
        if not pid:
            lines.close()
            control.close()
            become(order)
            return [str(word) for word in order["argv"]]
        control.sendall(json.dumps({"pid": pid}).encode() + b"\n")
        _, status = os.waitpid(pid, 0)
        control.sendall(json.dumps({"code": os.waitstatus_to_exitcode(status)}).encode() + b"\n")
    return None


def become(order: dict[str, object]) -> None:
    """Have the environment, the folder and the output of a process of its own."""
    os.environ.clear()
    os.environ.update(order["env"])  # type: ignore[arg-type]
    pin()
    os.chdir(str(order["cwd"]))
    for number, path in ((1, order["out"]), (2, order["err"])):
        file = os.open(str(path), os.O_WRONLY)
        os.dup2(file, number)
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest to hear
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from hcr.tracking.store import warm_up

    for name in IMPORTED:
        import_module(name)
    warm_up()
    for name in STORES:
        import_module(name)
    asked = serve(socket.socket(fileno=int(sys.argv[1])))
    if asked is not None:
        from hcr.cli import main

        sys.argv = ["hcr", *asked]
        sys.exit(main())
