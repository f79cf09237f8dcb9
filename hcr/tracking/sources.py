"""The code that made a run: sources and packages for machines, commit and patch for people."""

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from hcr.environment import NOT_FOR_GIT, without

PACKAGE = Path(__file__).parents[1]
# What `git apply` takes, whatever the user's gitconfig says of diffs.
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


def write_sources(path: Path, extensions: Mapping[str, Sequence[Path]]) -> None:
    """All of `hcr`, its `conf` and the files of `extensions`, by package, as a gzipped tar without times and owners."""
    contents = dict(_held.contents if _held is not None else _own_contents())
    for package, modules in extensions.items():
        for file in modules:
            _, inside_package, within = file.as_posix().rpartition(f"/{package}/")
            contents[f"extensions/{package}/{within if inside_package else file.name}"] = file.read_bytes()
    with tarfile.open(path, "w:gz", compresslevel=6) as tar:  # half the time of 9, and as small
        for name, data in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def _own_contents() -> dict[str, bytes]:
    """The files of `hcr` and `conf`, by the names under which they are kept."""
    conf = Path(str(files("hcr.conf")))
    contents = {}
    for folder, name in ((PACKAGE, "hcr"), (conf, "conf")):
        for file in sorted(folder.rglob("*")):
            # In a wheel `conf` lies inside `hcr`; it is kept once, under its own name.
            inside = folder == PACKAGE and conf in file.parents
            if file.suffix in (".py", ".yaml") and not inside:
                contents[f"{name}/{file.relative_to(folder).as_posix()}"] = file.read_bytes()
    return contents


@dataclass(frozen=True)
class _Held:
    """The sources as they were imported."""

    contents: dict[str, bytes]
    commit: str | None
    patch: str | None


_held: _Held | None = None


def hold_sources() -> None:
    """From now on, in this process and its forks, the sources of `hcr` are what they are now: they have been imported,
    and what is written into the files later is not what runs."""
    global _held
    _held = _Held(_own_contents(), git_commit(), git_patch())


def frozen_requirements() -> str:
    """Every installed package and its version, `name==version`, a line each.

    Read from the names of their folders: reading the metadata of each takes a third of a second.
    """
    folders = (folder for path in sys.path for folder in Path(path or ".").glob("*.dist-info"))
    found = {name: version for name, _, version in (folder.stem.partition("-") for folder in folders)}
    return "".join(f"{name}=={found[name]}\n" for name in sorted(found, key=str.lower))


def git_commit() -> str | None:
    """The commit that the sources are checked out at; None where they are installed, not checked out."""
    return _held.commit if _held is not None else (_git("rev-parse", "HEAD") or "").strip() or None


def git_patch() -> str | None:
    """What the checked-out sources change of their commit, as a diff; None as for `git_commit`."""
    return _held.patch if _held is not None else _git("diff", "HEAD", *PATCH_FORMAT)


def _git(*arguments: str) -> str | None:
    """Git's answer about the project, where the sources are tracked files of a git checkout."""

    # Without optional locks, as a commit that somebody makes meanwhile would find the index locked.
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
        except (OSError, subprocess.TimeoutExpired):  # no git, or a checkout too slow to wait for
            return None
        return done.stdout.decode(errors="replace") if done.returncode == 0 else None

    # A wheel in a virtual environment inside somebody else's checkout is no part of that checkout.
    if ask("ls-files", "--error-unmatch", str(Path(__file__))) is None:
        return None
    return ask(*arguments)
