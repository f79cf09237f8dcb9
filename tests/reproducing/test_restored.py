"""A run's code, restored so that Python imports it: extensions too, of one module or a package."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from hcr.config.errors import TrackingError
from hcr.environment import recorded_settings
from hcr.reproducing.differences import changed_sources
from hcr.reproducing.restored import restored_code
from hcr.reproducing.story import _environment
from hcr.sources import own_sources

SOURCES = {
    "hcr/__init__.py": b"__version__ = 'theirs'\n",
    "conf/__init__.py": b"",
    "conf/config.yaml": b"seed: 0\n",
    "extensions/single/single.py": b"WHO = 'single'\n",
    "extensions/whole/__init__.py": b"from whole.inner.part import WHO\n",
    "extensions/whole/inner/__init__.py": b"",
    "extensions/whole/inner/part.py": b"WHO = 'whole'\n",
}


def test_the_restored_packages_are_imported_before_the_installed_ones() -> None:
    with restored_code(SOURCES) as folder:
        code = "import hcr, hcr.conf, single, whole; print(hcr.__version__, single.WHO, whole.WHO, hcr.conf.__file__)"
        done = subprocess.run(
            [sys.executable, "-P", "-c", code],
            env={"PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == ["theirs", "single", "whole", str(folder / "hcr/conf/__init__.py")]
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()


def test_an_archive_without_hcr_is_refused() -> None:
    with pytest.raises(TrackingError, match="expected the sources of hcr"), restored_code({"conf/a.yaml": b""}):
        pass


def test_what_decides_no_number_is_no_difference() -> None:
    ours = own_sources()
    assert changed_sources(ours, None) == {}
    assert changed_sources(ours | {"hcr/cli.py": b"", "conf/config.yaml": b"", "hcr/new.py": b""}, None) == {}
    without = {path: data for path, data in ours.items() if path != "hcr/model/muon.py"}
    changed = without | {"hcr/model/new.py": b"", "hcr/training/loop.py": b"", "extensions/a/a.py": b""}
    assert changed_sources(changed, None) == {
        "extensions/a/a.py": "only there",
        "hcr/model/muon.py": "only here",
        "hcr/model/new.py": "only there",
        "hcr/training/loop.py": "changed",
    }


def test_variables_are_read_back_with_the_spaces_in_their_values() -> None:
    told = "TF_ENABLE_ONEDNN_OPTS=0 TF_XLA_FLAGS=--a=1 --b XLA_FLAGS=--c PATH=/evil"
    assert recorded_settings({"hcr.environment": told}) == {
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "TF_XLA_FLAGS": "--a=1 --b",
        "XLA_FLAGS": "--c PATH=/evil",
    }
    assert recorded_settings({}) == {}


def test_code_that_left_onednn_to_tensorflow_does_so_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")  # set when this process imported hcr
    recorded = SimpleNamespace(record=SimpleNamespace(tags={}))
    assert "TF_ENABLE_ONEDNN_OPTS" not in _environment(recorded, settings=True)
    assert _environment(recorded, settings=False)["TF_ENABLE_ONEDNN_OPTS"] == "1"
