"""The sources that are recorded are those that run, whatever is written into their files meanwhile."""

import shutil
import tarfile
from pathlib import Path

import pytest

import hcr
from hcr.sources import own_sources, package_sources, snapshot_sources, write_sources


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package, without a snapshot, whose sources are then hcr's own."""
    package = tmp_path / "hcr"
    shutil.copytree(Path(hcr.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr("hcr.sources.PACKAGE", package)
    monkeypatch.setattr("hcr.sources._snapshot", None)
    return package


@pytest.fixture
def theirs(tmp_path: Path) -> list[Path]:
    """The files of an installed package."""
    folder = tmp_path / "theirs" / "site" / "theirs"  # a folder further up has the same name
    (folder / "blocks").mkdir(parents=True)
    files = [folder / "__init__.py", folder / "blocks" / "dense.py"]
    for file in files:
        file.write_text("1\n")
    return files


def archived(path: Path, **extensions: list[Path]) -> dict[str, bytes]:
    write_sources(path, extensions)
    with tarfile.open(path) as tar:
        return {name: file.read() for name in tar.getnames() if (file := tar.extractfile(name)) is not None}


def test_own_sources_are_all_of_hcr_and_conf_and_nothing_else() -> None:
    package, conf = Path(hcr.__file__).parent, Path(hcr.__file__).parents[1] / "conf"
    expected = {f"hcr/{file.relative_to(package).as_posix()}" for file in package.rglob("*.py")}
    expected |= {
        f"conf/{file.relative_to(conf).as_posix()}" for file in conf.rglob("*") if file.suffix in (".py", ".yaml")
    }
    assert own_sources().keys() == expected


def test_an_archive_names_the_files_of_a_package_from_its_top(copied: Path, theirs: list[Path], tmp_path: Path) -> None:
    found = archived(tmp_path / "a.tar.gz", theirs=theirs)
    assert {name for name in found if name.startswith("extensions/")} == {
        "extensions/theirs/__init__.py",
        "extensions/theirs/blocks/dense.py",
    }
    assert found["hcr/runner.py"] == (copied / "runner.py").read_bytes()


def test_after_a_snapshot_no_edit_is_seen_not_in_extensions_either(
    copied: Path, theirs: list[Path], tmp_path: Path
) -> None:
    before = archived(tmp_path / "a.tar.gz", theirs=theirs)
    snapshot_sources({})
    snapshot_sources({"theirs": theirs})  # as soon as a config is known
    for file in (copied / "runner.py", *theirs):
        file.write_text("# edited while a sweep runs\n")
    (copied / "new.py").touch()
    assert archived(tmp_path / "b.tar.gz", theirs=theirs) == before
    assert package_sources("theirs", theirs)["theirs/__init__.py"] == b"1\n"
