"""A run's code, restored from its sources into a folder of its own, from which Python imports it."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from hcr.archives import write_files
from hcr.config.errors import TrackingError
from hcr.reproducing.differences import EXTENSIONS


@contextmanager
def restored_code(sources: Mapping[str, bytes]) -> Iterator[Path]:
    """Yield a folder for PYTHONPATH with the packages of `sources`; only this user can read it, and it is removed.

    `conf` becomes `hcr/conf`, as a wheel has it. An extension that is one module is stored as `extensions/a/a.py`.

    Raises:
        TrackingError: there is no hcr in it.
    """
    if "hcr/__init__.py" not in sources or not any(name.startswith("conf/") for name in sources):
        raise TrackingError("code/source.tar.gz: expected the sources of hcr and its conf")
    with tempfile.TemporaryDirectory(prefix="hcr-code-") as made:
        folder = Path(made).resolve()
        write_files(folder, ((_place(name, sources), data) for name, data in sources.items()))
        yield folder


def python_path(folder: Path) -> str:
    """PYTHONPATH by which the code in `folder` is imported first, and the user's own after it."""
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def _place(name: str, sources: Mapping[str, bytes]) -> str:
    if name.startswith("conf/"):
        return f"hcr/{name}"
    if name.startswith(EXTENSIONS):
        package, _, rest = name.removeprefix(EXTENSIONS).partition("/")
        is_package = f"{EXTENSIONS}{package}/__init__.py" in sources
        return f"{package}/{rest}" if is_package else rest
    return name
