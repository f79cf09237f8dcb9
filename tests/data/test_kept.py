"""Arrays that take long to compute are kept: in the process, and for later ones in the user's cache."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hcr.data import kept


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kept, "_kept", {})
    return tmp_path / "hcr" / kept.FOLDER


class Counting:
    """Counts how often it is called."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> NDArray[np.intp]:
        self.calls += 1
        return np.arange(5)


def test_an_array_is_computed_once_for_all_processes(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compute = Counting()
    first = kept.keep("a", compute)
    first[0] = 9  # a user's change of it stays the user's
    assert kept.keep("a", compute).tolist() == [0, 1, 2, 3, 4]
    monkeypatch.setattr(kept, "_kept", {})  # as in another process
    assert kept.keep("a", compute).tolist() == [0, 1, 2, 3, 4]
    assert compute.calls == 1
    assert kept.keep("b", compute).tolist() == [0, 1, 2, 3, 4]
    assert compute.calls == 2
    assert sorted(file.name for file in cache.iterdir()) == ["a.npy", "b.npy"]


def test_a_damaged_file_is_computed_again(cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "a.npy").write_bytes(b"\x93NUMPY broken")
    compute = Counting()
    assert kept.keep("a", compute).tolist() == [0, 1, 2, 3, 4]
    assert np.load(cache / "a.npy").tolist() == [0, 1, 2, 3, 4]


def test_without_a_folder_that_can_be_written_it_is_kept_in_the_process(cache: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("a file in the way")
    compute = Counting()
    assert [kept.keep("a", compute).sum() for _ in range(3)] == [10, 10, 10]
    assert compute.calls == 1
