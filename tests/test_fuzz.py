"""Whatever comes in, out goes a config, a data set, a state, or one clear line; HCR_FUZZ_EXAMPLES says how often."""

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from hcr.config import ConfigError, DataError, HcrError, RunConfig, TrackingError, parse_config
from hcr.config.compose import Composer, compose
from hcr.config.data import ArraysConfig
from hcr.config.gate import flatten, to_dict
from hcr.data.dataset import Dataset
from hcr.data.sources import load_dataset
from hcr.tracking.journal import JOURNAL, Journal, read_events
from hcr.training import TrainingState
from hcr.training.checkpoint import FORMAT, DamagedCheckpoint, read_checkpoint, save_checkpoint

EXAMPLES = int(os.environ.get("HCR_FUZZ_EXAMPLES", "100"))
fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)

PLAIN = to_dict(compose(["dataset=mnist"]))
KEYS = sorted([*flatten(PLAIN), *PLAIN, "hydra.run.dir", "hydra.callbacks.a._target_", "x", "model._target_"])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["${seed}", "${oc.env:PATH}", "${now:%H}", "${x:", "../../x", "os.system", "???", "\x00", "1e400"]
    )
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@contextmanager
def one_clear_line(*allowed: type[Exception]) -> Iterator[None]:
    """Nothing but one of the `allowed` errors comes out, in one line that is printable and not endless."""
    try:
        yield
    except allowed as error:
        assert str(error).strip()
        if isinstance(error, HcrError):
            from hcr.config.errors import one_line

            assert "\n" not in one_line(error)
            assert len(one_line(error)) <= 1_010


@fuzz
@given(changes=st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=12), VALUES, min_size=1, max_size=4))
def test_any_config_is_accepted_whole_or_refused_in_a_line(changes: dict[str, Any]) -> None:
    raw = OmegaConf.create(PLAIN)
    for key, value in changes.items():
        try:
            OmegaConf.update(raw, key, value, force_add=True)
        except Exception:  # no config at all: OmegaConf itself takes no such key
            return
    with one_clear_line(ConfigError):
        assert isinstance(parse_config(raw), RunConfig)


OVERRIDES = st.builds(
    lambda sign, key, value: f"{sign}{key}={value}",
    st.sampled_from(["", "", "", "+", "++", "~"]),
    st.sampled_from(KEYS) | st.text(max_size=10),
    st.text(max_size=15)
    | st.sampled_from(
        ["1", "null", "[1,2]", "{a: 1}", "${seed}", "a,b", "range(1,4)", "interval(0,1)", "'", '"', "[", "\\"]
    )
    | st.integers().map(str),
)


@pytest.mark.slow
@fuzz
@given(overrides=st.lists(OVERRIDES | st.text(max_size=12), min_size=1, max_size=3), multirun=st.booleans())
def test_any_command_line_is_accepted_or_refused_in_a_line_and_leaves_nothing_behind(
    overrides: list[str], multirun: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with one_clear_line(ConfigError):
        Composer().check([word for word in overrides if not word.startswith("-")], multirun=multirun)
    assert list(tmp_path.iterdir()) == []


def changed(data: bytes) -> st.SearchStrategy[bytes]:
    """`data` cut short, with bytes changed, put in or taken out, or with a part of it repeated."""
    place = st.integers(0, len(data) - 1)

    def replace(edits: list[tuple[int, bytes]]) -> bytes:
        found = bytearray(data)
        for at, new in edits:
            found[at : at + len(new)] = new
        return bytes(found)

    return (
        place.map(lambda end: data[:end])
        | st.lists(st.tuples(place, st.binary(min_size=1, max_size=8)), min_size=1, max_size=4).map(replace)
        | st.tuples(place, st.binary(max_size=20)).map(lambda x: data[: x[0]] + x[1] + data[x[0] :])
        | st.tuples(place, place).map(lambda x: data[: min(x)] + data[max(x) :])
        | st.tuples(place, place).map(lambda x: data[: max(x)] + data[min(x) :])
    )


def _images() -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).integers(0, 256, (30, 4, 3), dtype=np.uint8), np.arange(30) % 3


def _npz(write: Callable[..., None]) -> bytes:
    (x, y), file = _images(), io.BytesIO()
    write(file, x_train=x[:20], y_train=y[:20], x_test=x[20:], y_test=y[20:])
    return file.getvalue()


def _mat(*, compressed: bool) -> bytes:
    (x, y), file = _images(), io.BytesIO()
    values = {"data": x.reshape(30, 12).T, "label": y.astype(float)[np.newaxis]}
    scipy.io.savemat(file, values, do_compression=compressed)
    return file.getvalue()


FILES = {
    "npz": _npz(np.savez),
    "npz, compressed": _npz(np.savez_compressed),
    "mat": _mat(compressed=False),
    "mat, compressed": _mat(compressed=True),
}


def _load(path: Path) -> Dataset:
    return load_dataset(
        ArraysConfig(
            name="small",
            format="arrays",
            path=str(path),
            has_official_test=True,
            train_images=20,
            image_shape=(4, 3, 1),
            num_classes=3,
            class_names=("a", "b", "c"),
        )
    )


@pytest.mark.parametrize("kind", FILES)
@fuzz
@given(data=st.data())
def test_any_bytes_are_a_data_set_or_refused_in_a_line(kind: str, data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(data.draw(changed(FILES[kind])))
    with one_clear_line(DataError):
        found = _load(path)
        assert found.images.dtype == np.uint8
        assert 0 <= found.labels.min() <= found.labels.max() < 3
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("kind", FILES)
def test_a_file_cut_at_any_length_is_refused_in_a_line(kind: str, tmp_path: Path) -> None:
    whole = FILES[kind]
    path = tmp_path / "file"
    path.write_bytes(whole)
    assert len(_load(path).labels) == 30
    for length in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:length])
        with one_clear_line(DataError):
            _load(path)
            pytest.fail(f"{length} of {len(whole)} bytes were taken for a data set")


def test_a_small_file_of_many_zeros_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    import zipfile

    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (10**12 // 12, 4, 3)}
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("x_train", "y_train", "x_test", "y_test"):
            archive.writestr(f"{name}.npy", header.getvalue() + bytes(1000))
    data = path.read_bytes()
    # What the directory declares is what would be unpacked.
    small = (len(header.getvalue()) + 1000).to_bytes(4, "little")
    assert data.count(small) >= 8
    path.write_bytes(data.replace(small, (2**32 - 2).to_bytes(4, "little")))
    with pytest.raises(DataError):
        _load(path)


def _checkpoint(folder: Path) -> bytes:
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3)]
    save_checkpoint(folder, TrainingState(epoch=1, history=[{"val/loss": 1.0}], ended_ms=[1], variables=arrays), "f")
    return (folder / "000001").read_bytes()[len(FORMAT) + 32 :]


@fuzz
@given(data=st.data())
def test_any_checkpoint_is_a_state_or_damaged_whatever_its_checksum_says(data: st.DataObject, tmp_path: Path) -> None:
    rest = data.draw(changed(_checkpoint(tmp_path)))
    path = tmp_path / "stranger"
    path.write_bytes(FORMAT + hashlib.sha256(rest).digest() + rest)
    with one_clear_line(DamagedCheckpoint):
        assert isinstance(read_checkpoint(path)[0], TrainingState)


@fuzz
@given(data=st.data())
def test_any_journal_is_read_or_refused_in_a_line(data: st.DataObject, tmp_path: Path) -> None:
    root = tmp_path / "root"
    if not root.exists():
        with Journal(root, uri="sqlite:////nowhere.db", experiment="tests") as journal:
            journal.begin(name="a run", tags={})
            journal.metrics({"val/loss": 0.5}, step=1)
    (path,) = root.glob(f"runs/*/{JOURNAL}")
    whole = path.read_bytes()
    other = tmp_path / "other"
    other.mkdir(exist_ok=True)
    (other / JOURNAL).write_bytes(data.draw(changed(whole)))
    with one_clear_line(TrackingError):
        assert all("event" in event for event, _ in read_events(other))
