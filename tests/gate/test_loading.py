"""Composed configs: made once for the same overrides, and each caller's own."""

from pathlib import Path

import pytest
from hydra.errors import HydraException

from hcr.gate.loading import MOST_KEPT, Loader


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Loader:
    monkeypatch.chdir(tmp_path)
    return Loader(None, "config")


def test_what_is_asked_for_again_is_composed_once_and_is_a_copy(
    loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = loader.load(["model.depth=1"], multirun=False)
    monkeypatch.setattr(loader.hydra_loader, "load_configuration", lambda *_, **__: pytest.fail("composed again"))
    first.model.depth = 3
    again = loader.load(["model.depth=1"], multirun=False)
    assert (again.model.depth, list(again.hydra.overrides.task)) == (1, ["model.depth=1"])


def test_what_cannot_be_composed_fails_alike_again(loader: Loader) -> None:
    told = []
    for _ in range(2):
        with pytest.raises(HydraException) as refused:
            loader.load(["no.such.key=1"], multirun=False)
        told.append(str(refused.value))
    assert told[0] == told[1]


def test_a_sweep_of_many_combinations_does_not_keep_them_all(loader: Loader) -> None:
    for seed in range(MOST_KEPT + 2):
        assert loader.load([f"seed={seed}"], multirun=True).seed == seed
    assert len(loader._loaded) == MOST_KEPT
