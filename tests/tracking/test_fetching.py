"""A run that only a store has: what a server lists is not trusted, and what is downloaded is complete."""

from pathlib import Path, PurePosixPath

import pytest
from mlflow.entities import FileInfo
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from hcr.config.errors import TrackingError
from hcr.tracking import fetching


class Lister:
    """A store that lists these entries, by folder."""

    def __init__(self, listed: dict[str | None, list[FileInfo]]) -> None:
        self._listed = listed

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        return self._listed.get(path, [])


def file(path: str, size: int = 1) -> FileInfo:
    return FileInfo(path, is_dir=False, file_size=size)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "..", "a\\..\\x", "a\nb", "a/b"])
def test_a_name_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(TrackingError, match=r"the store lists .*: expected a path"):
        fetching._list(Lister({None: [file(path)]}))


def test_a_folder_that_lists_what_is_not_in_it_is_refused() -> None:
    folder = FileInfo("a", is_dir=True, file_size=None)
    with pytest.raises(TrackingError, match="the store lists 'b/c' in 'a'"):
        fetching._list(Lister({None: [folder], "a": [file("b/c")]}))
    with pytest.raises(TrackingError, match="the store lists 'a' in 'a'"):  # no end
        fetching._list(Lister({None: [folder], "a": [folder]}))


def test_too_many_files_or_bytes_are_refused_before_any_is_downloaded() -> None:
    many = [file(f"f{i}") for i in range(fetching.MOST_FILES + 1)]
    for listed in (many, [file("a", fetching.MOST_BYTES), file("b")]):
        with pytest.raises(TrackingError, match=r"expected at most 10,000 artifacts and 4 GiB in a run, got more"):
            fetching._list(Lister({None: listed}))


@pytest.fixture
def store(tmp_path: Path) -> LocalArtifactRepository:
    folder = tmp_path / "store"
    (folder / "config").mkdir(parents=True)
    (folder / "config" / "config.yaml").write_text("seed: 0\n")
    (folder / "a").write_text("a")
    return LocalArtifactRepository(str(folder))


def test_a_file_is_downloaded_once_and_again_if_it_was_damaged(store: LocalArtifactRepository, tmp_path: Path) -> None:
    here, files = tmp_path / "here", fetching._list(store)
    assert set(files) == {PurePosixPath("config/config.yaml"), PurePosixPath("a")}
    fetching._download(store, files, here)
    kept = (here / "a").stat().st_mtime_ns
    (here / "config/config.yaml").write_text("seed")
    fetching._download(store, files, here)
    assert (here / "config/config.yaml").read_text() == "seed: 0\n"
    assert (here / "a").stat().st_mtime_ns == kept


def test_a_file_that_arrives_cut_short_is_refused_and_not_kept(store: LocalArtifactRepository, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="a: expected 9 bytes from the store, got 1"):
        fetching._download(store, {PurePosixPath("a"): 9}, tmp_path / "here")
    assert not (tmp_path / "here" / "a").exists()
