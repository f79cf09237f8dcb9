"""YAML in, one honest MLflow run out: config-driven experiments in handwritten character recognition."""

import os
import sys

# For `python -m hcr` Python looks for modules in the current folder first, as it does not for `hcr`: these are data.
if (
    "-m" in sys.orig_argv
    and sys.orig_argv[sys.orig_argv.index("-m") + 1 :][:1] == ["hcr"]
    and not sys.flags.safe_path
    and sys.path[:1] == [os.getcwd()]  # noqa: PTH109  # pathlib may be one of these modules
):
    del sys.path[0]

from hcr.environment import pin

__version__ = "0.1.0"

pin()  # Keras reads its backend while it is imported
