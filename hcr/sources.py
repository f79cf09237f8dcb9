"""The code of a run: its sources, installed packages, git commit and patch."""

import io
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from hcr.environment import NOT_FOR_GIT, without

PACKAGE = Path(__file__).parent
# Options that make a patch for `git apply`, whatever the user's gitconfig says about diffs.
PATCH_FORMAT = (
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--no-relative",
    "--unified=3",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "--submodule=short",
)


Extensions = Mapping[str, Sequence[Path]]  # files of installed packages that extend hcr, by package


@dataclass(frozen=True)
class _Snapshot:
    """The sources as they were imported: contents by package and path, git commit and patch."""

    contents: dict[str, dict[str, bytes]]
    commit: str | None
    patch: str | None


_snapshot: _Snapshot | None = None


def snapshot_sources(extensions: Extensions) -> None:
    """Freeze the sources, in this process and its forks, at the current contents of their files.

    The modules are imported already, so a later edit of a file does not change the code that runs. A later call adds
    packages.
    """
    global _snapshot
    contents = {"hcr": own_sources()} | {name: package_sources(name, files) for name, files in extensions.items()}
    if _snapshot is None:
        _snapshot = _Snapshot(contents, git_commit(), git_patch())
    else:
        _snapshot.contents.update(contents)


def own_sources(wanted: Callable[[str], bool] = lambda path: True) -> dict[str, bytes]:
    """Contents of the `wanted` files of `hcr` and `conf`, by their paths in the archive, such as `hcr/cli.py`."""
    if _snapshot is not None:
        return {path: data for path, data in _snapshot.contents["hcr"].items() if wanted(path)}
    conf = Path(str(files("hcr.conf")))
    found: dict[str, str] = {}
    for folder, name in ((str(PACKAGE), "hcr"), (str(conf), "conf")):
        for inside, _, names in os.walk(folder):
            # In a wheel `conf` lies inside `hcr`; it is stored once, as `conf`.
            if name == "hcr" and conf in (Path(inside), *Path(inside).parents):
                continue
            kept = name + inside[len(folder) :]
            found |= {f"{kept}/{file}": f"{inside}/{file}" for file in names if file.endswith((".py", ".yaml"))}
    return {path: Path(found[path]).read_bytes() for path in sorted(found) if wanted(path)}


def package_sources(package: str, modules: Sequence[Path]) -> dict[str, bytes]:
    """Contents of the files of an installed package, by path, such as `their_models/blocks.py`."""
    if _snapshot is not None and package in _snapshot.contents:
        return _snapshot.contents[package]
    root = min((file.parent for file in modules), key=lambda folder: len(folder.parts), default=Path())
    return {f"{package}/{file.relative_to(root).as_posix()}": file.read_bytes() for file in modules}


def write_sources(path: Path, extensions: Extensions) -> None:
    """Write `hcr`, its `conf` and the files of `extensions` into a gzipped tar without times and owners."""
    import tarfile

    contents = own_sources()
    for package, modules in extensions.items():
        contents |= {f"extensions/{name}": data for name, data in package_sources(package, modules).items()}
    with tarfile.open(path, "w:gz", compresslevel=6) as tar:  # half the time of level 9, same size
        for name, data in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def frozen_requirements() -> str:
    """Every installed package as `name==version`, one per line.

    Read from the folder names: reading the metadata takes a third of a second.
    """
    folders = (folder for path in sys.path for folder in Path(path or ".").glob("*.dist-info"))
    found = {name: version for name, _, version in (folder.stem.partition("-") for folder in folders)}
    return "".join(f"{name}=={found[name]}\n" for name in sorted(found, key=str.lower))


def git_commit() -> str | None:
    """The commit of the checked-out sources; None outside a git checkout."""
    return _snapshot.commit if _snapshot is not None else (_git("rev-parse", "HEAD") or "").strip() or None


def git_patch() -> str | None:
    """The uncommitted changes of the sources, as a diff; None outside a git checkout."""
    return _snapshot.patch if _snapshot is not None else _git("diff", "HEAD", *PATCH_FORMAT)


def _git(*arguments: str) -> str | None:
    """The output of a git command on the project; None unless the sources are tracked files of a checkout."""

    # Optional locks would make the user's concurrent commit fail.
    environment = without(NOT_FOR_GIT, os.environ) | {"GIT_OPTIONAL_LOCKS": "0"}

    def ask(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(PACKAGE.parent), *words],
                env=environment,
                capture_output=True,
                timeout=10,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):  # git is missing or too slow
            return None
        return done.stdout.decode(errors="replace") if done.returncode == 0 else None

    # A wheel in a virtual environment inside another project's checkout is not part of that checkout.
    if ask("ls-files", "--error-unmatch", str(Path(__file__))) is None:
        return None
    return ask(*arguments)
