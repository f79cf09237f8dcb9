"""YAML in, one honest MLflow run out: config-driven experiments in handwritten character recognition."""

import os
import sys

# For `python -m hcr` Python looks for modules in the current folder first, as it does not for `hcr`: these are data.
# While a package is imported for -m, sys.argv holds "-m" and what stands behind the module's name, in any spelling.
if (
    sys.argv[:1] == ["-m"]
    and ((_asked := sys.orig_argv[-len(sys.argv)]) == "hcr" or (_asked[:1] == "-" and _asked.endswith("mhcr")))
    and not sys.flags.safe_path
    and sys.path[:1] == [os.getcwd()]  # noqa: PTH109  # pathlib may be one of these modules
):
    del sys.path[0]

from hcr.environment import pin

__version__ = "0.1.0"

pin()  # Keras reads its backend while it is imported
