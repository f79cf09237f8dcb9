"""`hcr`: verbs to functions. Nothing heavy is imported before the config has been accepted."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence

from hcr import __version__
from hcr.config.errors import HcrError, one_line
from hcr.config.schema import choose

HELP = """\
hcr: YAML in, one honest MLflow run out.

run
  train [OVERRIDES] [-m]   train and record a model; Hydra's grammar and flags
look
  data [OVERRIDES]         what a data set holds: images of each class, splits, pictures of it
  ui                       open MLflow's pages on the recorded runs
keep
  sync                     deliver what MLflow has not had yet

  hcr train                                  the bundled digits: no download, seconds
  hcr train dataset=mnist model.depth=3      other data, a deeper model
  hcr train -m model.depth=2,3 seed=0,1,2    every combination, under one parent run

`hcr VERB --help` tells more. Runs are kept under ./hcr-output, or HCR_OUTPUT_DIR."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb that `argv` (the command line by default) asks for, and return the exit code.

    An error that the user can mend is one line on standard error and exit code 1; HCR_TRACEBACK=1 shows where it
    came from.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        return _say(HELP)
    if words[0] == "--version":
        return _say(f"hcr {__version__}")
    try:
        return choose(VERBS, words[0], key="verb")(words[1:])
    except HcrError as error:
        if os.environ.get("HCR_TRACEBACK") == "1":
            raise
        print(f"hcr: {one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("hcr: interrupted", file=sys.stderr)
        return 130


def _say(text: str) -> int:
    print(text)
    return 0


def _train(argv: Sequence[str]) -> int:
    from hcr.launch import train

    return train(argv)


def _data(argv: Sequence[str]) -> int:
    from hcr.commands.data import main as data

    return data(argv)


def _ui(argv: Sequence[str]) -> int:
    from hcr.commands.ui import main as ui

    return ui(argv)


def _sync(argv: Sequence[str]) -> int:
    from hcr.commands.sync import main as sync

    return sync(argv)


VERBS: Mapping[str, Callable[[Sequence[str]], int]] = {"train": _train, "data": _data, "ui": _ui, "sync": _sync}
