"""YAML in, one honest MLflow run out: config-driven experiments in handwritten character recognition."""

import os
import sys

# `python -m hcr` puts the current folder first on sys.path; `hcr` does not. Files there are data, not modules.
# While Python imports a package for -m, sys.argv holds "-m" and the words after the module's name, in any spelling.
if (
    sys.argv[:1] == ["-m"]
    and ((_asked := sys.orig_argv[-len(sys.argv)]) == "hcr" or (_asked[:1] == "-" and _asked.endswith("mhcr")))
    and not sys.flags.safe_path
    and sys.path[:1] == [os.getcwd()]  # noqa: PTH109  # pathlib may be one of these modules
):
    del sys.path[0]

from importlib import import_module

from hcr.environment import pin

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """`hcr.load_runs` is imported when it is first used: it needs pandas and MLflow."""
    if name == "load_runs":
        return import_module("hcr.frames").load_runs
    raise AttributeError(f"module 'hcr' has no attribute {name!r}")


pin()  # before Keras is imported: it reads its backend on import
