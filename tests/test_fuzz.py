"""Whatever comes in, out goes a config, a data set, a state, or one clear line; HCR_FUZZ_EXAMPLES says how often."""

import csv
import hashlib
import io
import math
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from matplotlib.text import Text
from omegaconf import OmegaConf
from rich.table import Table

from hcr.card import LONGEST, CardFacts, card
from hcr.config import ConfigError, DataError, HcrError, TrackingError
from hcr.config.errors import one_line
from hcr.config.naming import safe_file_name
from hcr.config.replicates import Replicate
from hcr.config.text import is_recordable, printable
from hcr.console import PlainConsole, num_columns
from hcr.data.dataset import Dataset
from hcr.data.formats.arrays import Arrays
from hcr.data.loading import load_dataset
from hcr.evaluation.canvas import SMALL, new_figure, save_figure, shorten, text_width, write_header
from hcr.evaluation.fonts import can_draw, picture_names
from hcr.evaluation.metrics import classification_report_text, evaluate
from hcr.evaluation.ranking import PointScores, rank
from hcr.evaluation.table import format_table, write_csv
from hcr.evaluation.verdict import verdict
from hcr.gate import RunConfig, parse_config
from hcr.gate.compose import Composer, compose
from hcr.gate.run_config import flatten, parse_resolved, to_dict, to_yaml
from hcr.machine import this_machine
from hcr.streams import ENCODING_ERRORS, settle_streams
from hcr.tracking.events import JOURNAL, read_events
from hcr.tracking.journal import Journal
from hcr.training import TrainingState
from hcr.training.checkpoint import FORMAT, DamagedCheckpoint, read_checkpoint, save_checkpoint

EXAMPLES = int(os.environ.get("HCR_FUZZ_EXAMPLES", "30"))
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
        Arrays(
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


# Arrays of every type, range, shape and name, against what they mean, worked out in plain Python one number at a time.
NAMED = ("a", "b", "c")
NUMBER_TYPES = ["?", "i1", "u1", "i2", ">u2", "i4", "u4", ">i4", "i8", "u8", "f2", "f4", ">f4", "f8", "longdouble"]
OTHER_TYPES = ["c8", "M8[s]", "m8[s]", "U1", "S2", "V3", "O", [("a", "u1")]]
LAYOUTS = [
    ("x", "y"),
    ("x", "y", "group"),
    ("x_train", "y_train", "x_test", "y_test"),
    ("x_train", "y_train"),
    ("images", "labels"),
    ("x_train", "y_train", "x_test", "y_test", "x", "y"),
]
Card = tuple[tuple[int, ...], int, bool, int]  # pixels, label, whether it is for test, group


def numbers(draw: Callable[..., Any], shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of some type in some range: pixels, ink, fractions, or whatever the bytes mean."""
    kind = draw(st.sampled_from(NUMBER_TYPES))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    grey = random.integers(0, 256, shape)
    grey.flat[:1] = 255
    how = draw(
        st.sampled_from(["grey", "grey", "ink", "unit", "dark", "signed", "wide", "minus", "half", "spoiled", "bytes"])
    )
    with np.errstate(all="ignore"):
        values = {
            "grey": grey, "ink": grey // 128, "unit": grey / 255, "dark": grey // 16, "signed": grey / 127.5 - 1,
            "wide": grey * 257, "minus": grey - 20, "half": grey / 2, "spoiled": grey, "bytes": grey,
        }[how].astype(kind)  # fmt: skip
        if how == "bytes" and kind != "?":
            size = values.itemsize * values.size
            values = np.frombuffer(random.bytes(size), values.dtype).reshape(shape).copy()
        if how == "spoiled" and values.size:
            values.flat[-1] = draw(
                st.sampled_from([0, 1, 2, 127] + [np.nan, np.inf, -0.0, 0.5] * (values.dtype.kind == "f"))
            )
    return values


def images_of(draw: Callable[..., Any], count: int, channels: int) -> np.ndarray:
    shapes = [(count, 2, 3, channels), (count, channels, 2, 3)] + [(count, 2, 3), (count, 6)] * (channels == 1)
    odd = [(count, 3, 2), (2, 3, count), (count,), (), (count, 2, 3, 4), (count, 2, 3), (count, 6 * channels)]
    return numbers(draw, draw(st.sampled_from(shapes * 4 + odd)))


def labels_of(draw: Callable[..., Any], count: int) -> np.ndarray:
    plain = np.array(draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)), dtype=int)
    forms = {
        "plain": plain.astype(draw(st.sampled_from(NUMBER_TYPES))),
        "column": plain[:, np.newaxis],
        "row": plain[np.newaxis].astype(float),
        "one-hot": np.eye(3)[plain],
        "names": np.array(NAMED)[plain],
        "bytes": np.array([b"a", b"b", b"c"])[plain],
        "from 1": plain + 1,
        "negative": (plain - 1).astype("i1"),
        "digits": plain.astype(str),
        "more": np.append(plain, 0),
        "two hot": np.ones((count, 3)),
        "any": numbers(draw, (count,)),
    }
    return forms[draw(st.sampled_from(["plain"] * 6 + list(forms)))]


SCALES = {"0..255": (0, 255), "0..1": (0, 1), "-1..1": (-1, 1), "0..65535": (0, 65535)}


def meant_pixels(arrays: list[np.ndarray], channels: int) -> list[list[tuple[int, ...]]] | None:
    """The pixels 0..255 of every image of each array; None where they have to be refused."""
    parts: list[list[list[Any]]] = []
    for array in arrays:
        one = array.shape[1:]
        if array.ndim == 0 or array.dtype.kind not in "uifb":
            return None
        if one == (channels, 2, 3) and one != (2, 3, channels):
            array = np.array([image.transpose(1, 2, 0) for image in array]).reshape(len(array), 2, 3, channels)
        elif one != (2, 3, channels) and not (channels == 1 and one in ((2, 3), (6,))):
            return None
        parts.append([image.ravel().tolist() for image in array])
    kinds = [{"b": "bool", "f": "float"}.get(array.dtype.kind, "whole") for array in arrays]
    rules = {"bool": "0..1"}
    for kind in {kind for kind, part in zip(kinds, parts, strict=True) if part} - {"bool"}:
        own = [(a, p) for a, p, k in zip(arrays, parts, kinds, strict=True) if p and k == kind]
        rule = meant_scale(*own, is_float=kind == "float")
        if rule is None:
            return None
        rules[kind] = rule
    filled = [(kind, part) for kind, part in zip(kinds, parts, strict=True) if part]
    if not filled:
        return None
    # Whole numbers that end at 1 are ink, unless others in the file go further: then they are of two scales.
    as_they_are = [part for kind, part in filled if rules[kind] == "0..255"]
    ends_at_1 = any(max(map(max, part)) == 1 for part in as_they_are)
    is_ink = bool(as_they_are) and any(kind == "whole" and rules[kind] == "0..1" for kind, _ in filled)
    if len(filled) > 1 and (ends_at_1 or is_ink):
        return None
    found = []
    for kind, part in zip(kinds, parts, strict=True):
        low, high = SCALES[rules.get(kind, "0..255")]
        if any(not low - 1e-6 <= value <= high + 1e-6 for image in part for value in image):
            return None
        steps = [[(float(value) - low) * (255 / (high - low)) for value in image] for image in part]
        found.append([tuple(min(255, max(0, round(step))) for step in image) for image in steps])
    return None if len({value for part in found for image in part for value in image}) == 1 else found


def meant_scale(*own: tuple[np.ndarray, list[list[Any]]], is_float: bool) -> str | None:
    """The scale of arrays of whole numbers, or of floats; None if it is none, or may be one of several."""
    values = [float(value) for _, part in own for image in part for value in image]
    if not all(map(math.isfinite, values)):
        return None
    low, high = min(values), max(values)
    if all(value.is_integer() for value in values):
        if low >= 0 and high <= 255:
            return "0..1" if high == 1 else "0..255"
        if is_float:
            return "-1..1" if (low, high) == (-1, 1) else None
        return "0..65535" if low >= 0 and high >= 2**14 and any(array.dtype == np.uint16 for array, _ in own) else None
    if low >= 0 and high <= 1:
        is_255th = all(
            abs(float(value) * 255 - round(float(value) * 255)) <= (0.0624 if array.dtype.itemsize == 2 else 1e-3)
            for array, part in own
            for image in part
            for value in image
        )
        return "0..1" if high > 0.5 or is_255th else None
    if low < 0:
        return "-1..1" if -1 <= low <= -0.98 and 0.98 <= high <= 1 else None
    return "0..255" if 128 <= high <= 255 else None


def meant_labels(arrays: list[np.ndarray], counts: list[int]) -> list[list[int]] | None:
    """The class of every image of each array; None where they have to be refused."""
    parts: list[list[Any]] = []
    for labels, count in zip(arrays, counts, strict=True):
        if labels.dtype.kind not in "uifbUS":
            return None
        if labels.shape in ((count, 1), (1, count)):
            parts.append(labels.ravel().tolist())
        elif labels.shape == (count, 3) and labels.dtype.kind in "uifb":
            rows = labels.tolist()
            if not all(sorted(row) == [0, 0, 1] for row in rows):
                return None
            parts.append([row.index(1) for row in rows])
        elif labels.shape == (count,):
            parts.append(labels.tolist())
        else:
            return None
    every = [value.decode("latin-1") if isinstance(value, bytes) else value for part in parts for value in part]
    if any(isinstance(value, str) for value in every):
        if not set(every) <= set(NAMED):
            return None
        names = [[value.decode() if isinstance(value, bytes) else value for value in part] for part in parts]
        return [[NAMED.index(name) for name in part] for part in names]
    from_1 = all(value in (1, 2, 3) for value in every) and 3 in every
    if not from_1 and not all(value in range(3) for value in every):
        return None
    return [[int(value) - from_1 for value in part] for part in parts]


def meant(arrays: dict[str, np.ndarray], channels: int) -> list[Card] | None:
    """What an archive of `arrays` holds; None where it has to be refused."""
    names = [
        *([("x_train", "y_train")] if "x_train" in arrays else []),
        *([("x_test", "y_test")] if "x_test" in arrays else []),
    ]
    pairs = names or [("x", "y") if "x" in arrays else ("images", "labels")]
    used = [*(name for pair in pairs for name in pair), *(["group"] if "group" in arrays else [])]
    if any(arrays[name].dtype.kind not in "uifbUS" for name in used):
        return None
    parts = meant_pixels([arrays[x] for x, _ in pairs], channels)
    if parts is None:
        return None
    labels = meant_labels([arrays[y] for _, y in pairs], [len(part) for part in parts])
    if labels is None:
        return None
    cards: list[Card] = []
    for (_, y), part, classes in zip(pairs, parts, labels, strict=True):
        group = [0] * len(part)
        if "group" in arrays:
            groups = arrays["group"].tolist()
            is_whole = arrays["group"].dtype.kind == "f" and all(value.is_integer() for value in groups)
            if len(groups) != len(part) or not (is_whole or arrays["group"].dtype.kind in "uiUS"):
                return None
            group = [sorted(set(groups)).index(value) for value in groups]
        cards += zip(part, classes, [y == "y_test"] * len(part), group, strict=True)
    return sorted(cards)


def cards_of(data: Dataset) -> list[Card]:
    none = [0] * len(data.labels)
    is_test = none if data.is_test is None else data.is_test.tolist()
    groups = none if data.groups is None else data.groups.tolist()
    pixels = (tuple(image.ravel().tolist()) for image in data.images)
    return sorted(zip(pixels, data.labels.tolist(), map(bool, is_test), groups, strict=True))


def check_against(expected: list[Card] | None, path: Path, channels: int, **declared: Any) -> None:
    cfg = Arrays(
        name="small",
        format="arrays",
        path=str(path),
        image_shape=(2, 3, channels),
        num_classes=3,
        class_names=NAMED,
        invert="false",
        **declared,
    )
    found = None
    with one_clear_line(DataError):
        found = cards_of(load_dataset(cfg))
    assert found == expected
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@fuzz
@given(data=st.data())
def test_any_arrays_of_an_archive_are_read_as_what_they_mean_or_refused_in_a_line(
    data: st.DataObject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    draw, channels = data.draw, data.draw(st.sampled_from([1, 1, 3]))
    layout = draw(st.sampled_from([*LAYOUTS[:3] * 4, *LAYOUTS]))
    arrays: dict[str, np.ndarray] = {}
    for images, labels in zip(layout[::2], layout[1::2], strict=False):
        arrays[images] = images_of(draw, draw(st.integers(0, 5)), channels)
        arrays[labels] = labels_of(draw, len(arrays[images]) if arrays[images].ndim else 1)
    if "group" in layout:
        arrays["group"] = (np.arange(arrays["y"].size) // 2).astype(draw(st.sampled_from(["i1", "u8", "U2", "f4"])))
    if draw(st.integers(0, 15)) == 0:
        name = draw(st.sampled_from(layout))
        arrays[name] = np.zeros(arrays[name].shape, dtype=draw(st.sampled_from(OTHER_TYPES)))
    (np.savez_compressed if draw(st.booleans()) else np.savez)(tmp_path / "file.npz", **arrays)
    declared = {"has_official_test": "x_test" in layout, "has_groups": "group" in layout}
    check_against(meant(arrays, channels), tmp_path / "file.npz", channels, **declared)


@fuzz
@given(data=st.data())
def test_any_variables_of_a_mat_file_are_read_as_what_they_mean_or_refused_in_a_line(
    data: st.DataObject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    draw, count = data.draw, data.draw(st.integers(2, 5))  # of one image, a row of labels may be its one-hot label
    values, labels = numbers(draw, (count, 6)), np.atleast_2d(labels_of(draw, count))
    # MATLAB has neither half nor extended floats.
    with np.errstate(all="ignore"):
        values, labels = (a.astype("f8") if a.dtype.char in "eg" else a for a in (values, labels))
    name = draw(st.sampled_from(["data"] * 8 + ["images"]))
    as_columns = draw(st.booleans())
    scipy.io.savemat(
        tmp_path / "file.mat",
        {name: values.T if as_columns else values, "label": labels},
        do_compression=draw(st.booleans()),
    )
    expected = None
    if name == "data" and labels.dtype.kind in "uifb":
        native = values.astype(values.dtype.newbyteorder("="))  # as SciPy reads it
        expected = meant({"x": native, "y": labels}, 1)
    check_against(expected, tmp_path / "file.mat", 1)


# Whatever a user can call something: every character there is, lone surrogates among them, and what is markup,
# Markdown, mathematics, HTML, a path, or a command to a terminal.
HOSTILE = (
    *("[b]", "[/b]", "[/x]", ":smile:", "$x_1$", "\\frac{", "a_b^", "|", "```", "`", "~~~", "<script>", "<!--", "&lt;"),
    *("**", "# ", "\n", "\r", "\t", "\x1b[31m", "\x00", "\ud800", "\u202e", "\u2028", "\ufeff", "\x85", "../", "/"),
    *("中文", "한글", "क्ष", "שלום", "مرحبا", "e\u0301\u0323", "\U0001f468\u200d\U0001f469", "\U000f0123", "${seed}"),
    *("a", "x" * 90, "=", ",", "'", '"', " ", "%", "@me", "\\", "{", "!", "é", "±", "- "),
)
TEXTS = st.text(st.characters(exclude_categories=()), min_size=1, max_size=12) | st.lists(
    st.sampled_from(HOSTILE), min_size=1, max_size=5
).map("".join)
SCORES = np.random.default_rng(0).dirichlet(np.ones(3), 12)
MACHINE = this_machine()


def _named(names: list[str], notes: str, run_name: str, path: str) -> RunConfig:
    values = to_dict(parse_resolved(PLAIN))
    values["dataset"] |= {"class_names": names, "num_classes": 3, "name": names[0], "path": path}
    values["tracking"]["run_name"] = run_name
    return parse_resolved(values | {"notes": notes})


@fuzz
@given(names=st.lists(TEXTS, min_size=3, max_size=3, unique=True), notes=TEXTS, run_name=TEXTS, path=TEXTS)
def test_any_names_notes_and_paths_are_refused_in_a_line_or_recorded_and_shown_whole(
    names: list[str], notes: str, run_name: str, path: str, tmp_path: Path
) -> None:
    try:
        cfg = _named(names, notes, run_name, path)
    except ConfigError as error:
        assert len(one_line(error).splitlines()) == 1
        assert not all(map(is_recordable, [*names, notes, run_name, path])) or not all(
            text.strip() for text in [*names, run_name, path]
        )
        return
    assert parse_config(OmegaConf.create(to_yaml(cfg))) == cfg
    evaluation = evaluate(SCORES, np.arange(12) % 3, tuple(names))
    # The run card: all of it, whatever stands in it.
    text = card(
        CardFacts(
            cfg=cfg,
            overrides=[],
            num_images={"train": 1, "val": 1, "test": 1},
            dataset_digest="d",
            split_digest="s",
            num_params=1,
            history=[{"time/images_per_s": 1.0}],
            best_epoch=1,
            shown="test",
            evaluation=evaluation,
            total_s=1.0,
            machine=MACHINE,
            commit=None,
            is_patched=False,
        )
    )
    assert len(text) <= LONGEST
    rest = text.rpartition("### **Test accuracy")[2]
    assert sum(line.startswith("- **") for line in rest.splitlines()) == 6
    assert not re.search(r"<[a-z/!?]", text, flags=re.IGNORECASE)
    # The classification report: a line a class, aligned.
    report = classification_report_text(evaluation).splitlines()
    assert len({num_columns(line) for line in report[2:5]}) == 1
    assert all(line.startswith(printable(name)) for line, name in zip(report[2:5], names, strict=True))
    # A journal gives back what it was given.
    with Journal(tmp_path, uri="sqlite:////no.db", experiment="t") as journal:
        journal.begin(name=run_name, tags={"notes": notes})
    first = next(read_events(journal.folder))[0]
    assert (first["name"], first["tags"]["notes"]) == (run_name, notes)
    # Names of files stay in their folder.
    assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,79}", safe_file_name(names[0]))


@fuzz
@given(names=st.lists(TEXTS, min_size=2, max_size=4, unique=True), width=st.integers(1, 200))
@example(names=["0", " 000000"], width=1)
def test_any_names_are_printed_whole_in_any_terminal_and_any_encoding(
    names: list[str], width: int, tmp_path: Path
) -> None:
    out = io.StringIO()
    table = Table("class", "images")
    for name in names:
        table.add_row(printable(name), "12,345")
    PlainConsole(file=out, width=width, color_system=None).print_table(table)
    shown = out.getvalue()
    assert shown.count("12,345") == len(names)
    assert printable(shown.replace("\n", "")) == shown.replace("\n", "")
    for name in names:
        assert all(word in shown for word in printable(name).split() if num_columns(word) <= 60)
    points = [
        PointScores(
            label=f"notes={name} x={k}",
            values={"notes": name, "x": k},
            scores={Replicate(0): k, Replicate(1): k + 0.5},
            num_planned=2,
        )
        for k, name in enumerate(names)
    ]
    board = rank(points, monitor="val/loss", higher_is_better=False)
    told = format_table(board, width=width)
    assert max(map(num_columns, told.splitlines())) <= max(100, width)
    assert all(len(line.splitlines()) == 1 for line in verdict(board))
    assert all(printable(line) == line for line in [*told.splitlines(), *verdict(board)])
    if all(map(is_recordable, names)):
        write_csv(board, tmp_path / "board.csv")
        with (tmp_path / "board.csv").open(newline="", encoding="utf-8") as file:
            assert [row["notes"] for row in csv.DictReader(file)] == names
    settle_streams()
    for encoding in ("ascii", "latin-1", "utf-8"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=ENCODING_ERRORS)
        print(*names, file=stream, flush=True)
        assert len(stream.buffer.getvalue().decode(encoding)) >= len(" ".join(names))


@pytest.mark.slow
@fuzz
@given(names=st.lists(TEXTS, min_size=3, max_size=3))
def test_any_names_are_drawn_without_a_warning_or_a_box_and_as_short_as_there_is_room(
    names: list[str], tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Matplotlib's, for a character that becomes a box
        shown = [shorten(name, SMALL, 120) for name in picture_names(names)]
        figure = new_figure(300, 120)
        write_header(figure, names[0], shown[1])
        axes = figure.add_axes((0.5, 0.2, 0.4, 0.4))
        axes.set_yticks(range(3), shown)
        axes.set_title(shown[0])
        axes.text(0, 0, shown[2])
        save_figure(figure, tmp_path / "a.png")
    assert all(text_width(name, SMALL) <= 120 for name in shown)
    texts = [text.get_text() for text in figure.findobj(Text)]
    assert all(name in texts for name in shown)
    assert all(can_draw(line) and printable(line) == line for text in texts for line in text.split("\n"))
