"""The code that made a run: sources and packages for machines, commit and patch for people."""

import io
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def write_sources(path: Path, extensions: Mapping[str, Sequence[Path]]) -> None:
    """All of `hcr`, its `conf` and the files of `extensions`, by package, as a gzipped tar without times and owners."""
    conf = Path(str(files("hcr.conf")))
    with tarfile.open(path, "w:gz") as tar:
        for folder, name in ((PACKAGE, "hcr"), (conf, "conf")):
            for file in sorted(folder.rglob("*")):
                # In a wheel `conf` lies inside `hcr`; it is kept once, under its own name.
                inside = folder == PACKAGE and conf in file.parents
                if file.suffix in (".py", ".yaml") and not inside:
                    _add(tar, file, f"{name}/{file.relative_to(folder).as_posix()}")
        for package, modules in extensions.items():
            for file in modules:
                _, inside_package, within = file.as_posix().rpartition(f"/{package}/")
                _add(tar, file, f"extensions/{package}/{within if inside_package else file.name}")


def _add(tar: tarfile.TarFile, file: Path, name: str) -> None:
    data = file.read_bytes()
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def frozen_requirements() -> str:
    """Every installed package and its version, `name==version`, a line each.

    Read from the names of their folders: reading the metadata of each takes a third of a second.
    """
    folders = (folder for path in sys.path for folder in Path(path or ".").glob("*.dist-info"))
    found = {name: version for name, _, version in (folder.stem.partition("-") for folder in folders)}
    return "".join(f"{name}=={found[name]}\n" for name in sorted(found, key=str.lower))


def git_commit() -> str | None:
    """The commit that the sources are checked out at; None where they are installed, not checked out."""
    return (_git("rev-parse", "HEAD") or "").strip() or None


def git_patch() -> str | None:
    """What the checked-out sources change of their commit, as a diff; None as for `git_commit`."""
    return _git("diff", "HEAD", "--no-ext-diff", "--no-color")


def _git(*arguments: str) -> str | None:
    """Git's answer about the project, where the sources are tracked files of a git checkout."""

    def ask(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(PACKAGE.parent), *words], capture_output=True, timeout=10, check=False
            )
        except (OSError, subprocess.TimeoutExpired):  # no git, or a checkout too slow to wait for
            return None
        return done.stdout.decode(errors="replace") if done.returncode == 0 else None

    # A wheel in a virtual environment inside somebody else's checkout is no part of that checkout.
    if ask("ls-files", "--error-unmatch", str(Path(__file__))) is None:
        return None
    return ask(*arguments)
