"""What a config leaves open is read from the data, recorded, and then fixed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hcr.config.errors import ConfigError, DataError
from hcr.config.launcher import LauncherConfig, LocalConfig, SlurmConfig
from hcr.data.formats.folder import Folder
from hcr.data.loading import load_dataset
from hcr.data.splitting import load_splits
from hcr.gate.compose import compose
from hcr.gate.resolve import _warn_of_float32, check_devices, device_of, fill_from_data, resolve
from hcr.gate.run_config import RunConfig, parse_resolved, to_dict

Save = Callable[..., RunConfig]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("hcr.data.cache._opened", [])
    monkeypatch.setattr("hcr.data.loading._held", [])


@pytest.fixture(scope="module")
def plain() -> RunConfig:
    """`dataset=npz dataset.path=x.npz`, which is composed once, as that takes seconds."""
    return compose(["dataset=npz", "dataset.path=x.npz"])


@pytest.fixture
def saved(tmp_path: Path, plain: RunConfig) -> Save:
    """Save arrays, and return the config of `dataset=npz` for them, with changes of the data set."""

    def save(arrays: dict[str, Any], **changes: Any) -> RunConfig:
        np.savez(tmp_path / "x.npz", **arrays)
        return plain.replace(dataset=plain.dataset.replace(path=str(tmp_path / "x.npz"), **changes))

    return save


def arrays(count: int = 60, num_classes: int = 3, size: int = 16, seed: int = 0) -> dict[str, Any]:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, size, size), np.uint8)
    return {"x": pixels, "y": np.array(["cherry", "apple", "banana", "date"])[np.arange(count) % num_classes]}


def with_test(count: int = 60) -> dict[str, Any]:
    parts = arrays(count)
    half = count // 2
    return {
        "x_train": parts["x"][:half], "y_train": parts["y"][:half], "x_test": parts["x"][half:],
        "y_test": parts["y"][half:],
    }  # fmt: skip


def test_what_the_data_tells_is_filled_in(saved: Save) -> None:
    cfg = saved(arrays())
    assert (cfg.dataset.image_shape, cfg.dataset.class_names, cfg.split.name) == (None, None, "auto")
    dataset = fill_from_data(cfg).dataset
    assert dataset.image_shape == (16, 16, 1)
    assert dataset.class_names == ("apple", "banana", "cherry")
    assert dataset.num_classes == 3
    assert (dataset.has_official_test, dataset.has_groups) == (False, False)
    assert (dataset.image_size, dataset.color, dataset.classes) == (None, None, None)
    assert dataset.input_shape == (16, 16, 1)


@pytest.mark.parametrize(
    ("added", "name", "key"),
    [({}, "stratified", "test"), ({"group": np.arange(60) // 3}, "grouped", "test"), (None, "official", "validation")],
)
def test_the_automatic_split_is_the_one_that_the_data_is_made_for(
    saved: Save, added: dict[str, Any] | None, name: str, key: str
) -> None:
    cfg = fill_from_data(saved(with_test() if added is None else arrays() | added))
    assert cfg.split.name == name
    assert to_dict(cfg)["split"]["name"] == name
    assert key in to_dict(cfg)["split"]
    splits = load_splits(cfg.dataset, cfg.split, 0)
    assert len(splits.train) + len(splits.val) + len(splits.test) == 60
    assert len(splits.test) == (30 if added is None else len(splits.test)) > 0


def test_a_split_that_the_data_is_not_made_for_is_refused_once_the_data_is_known(saved: Save) -> None:
    cfg = saved(arrays())
    for name, message in (("official", "official test images"), ("grouped", "images are in groups")):
        asked = cfg.replace(split=compose([f"split={name}", "dataset=npz", "dataset.path=x.npz"]).split)
        with pytest.raises(ConfigError, match=rf"^split\.name: .*{message}"):
            fill_from_data(asked)


def test_a_filled_config_is_read_back_as_it_was_recorded(saved: Save) -> None:
    for cfg in (saved(arrays()), saved(with_test()), saved(arrays() | {"group": np.arange(60) // 3})):
        filled = fill_from_data(cfg)
        assert parse_resolved(to_dict(filled)) == filled
        assert fill_from_data(filled) == filled


def test_a_filled_config_reads_nothing_until_the_data_is_needed(saved: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    filled = fill_from_data(saved(arrays()))
    Path(str(filled.dataset.path)).unlink()
    monkeypatch.setattr("hcr.data.cache._opened", [])
    assert fill_from_data(filled) == filled
    with pytest.raises(DataError, match="which does not exist"):
        load_dataset(filled.dataset)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (arrays(size=12), r"expected images of 16x16x1 \(dataset\.image_shape\), got `x` of shape \(60, 12, 12\)"),
        (arrays(num_classes=4), "expected labels that are names of dataset.class_names, or numbers from 0, got 'date'"),
        (with_test(), "expected no official test images .*but the data has official test images"),
        (arrays() | {"group": np.arange(60)}, "expected no groups .*but the data has groups"),
    ],
    ids=["size", "class", "test", "groups"],
)
def test_a_filled_config_refuses_other_data(saved: Save, other: dict[str, Any], message: str) -> None:
    filled = fill_from_data(saved(arrays()))
    saved(other)
    with pytest.raises(DataError, match=message):
        load_dataset(filled.dataset)


def test_other_images_of_the_same_kind_are_read(saved: Save) -> None:
    filled = fill_from_data(saved(arrays()))
    before = load_dataset(filled.dataset).digest
    saved(arrays(seed=1))
    assert load_dataset(filled.dataset).digest != before


def test_what_is_declared_is_kept_and_only_the_rest_is_filled(saved: Save) -> None:
    names = ("banana", "apple", "cherry", "elder")
    dataset = fill_from_data(saved(arrays(num_classes=4) | {"y": np.arange(60) % 4}, class_names=names)).dataset
    assert dataset.class_names == names
    assert (dataset.num_classes, dataset.image_shape) == (4, (16, 16, 1))


def test_rare_classes_are_left_out_and_the_others_recorded(saved: Save) -> None:
    rare = arrays(61)
    rare["y"][60] = "date"
    filled = fill_from_data(saved(rare, min_per_class=2))
    assert filled.dataset.classes == ("apple", "banana", "cherry")
    assert filled.dataset.kept_classes == ("apple", "banana", "cherry")
    assert filled.dataset.class_names == ("apple", "banana", "cherry", "date")
    assert load_splits(filled.dataset, filled.split, 0).class_names == ("apple", "banana", "cherry")
    with pytest.raises(DataError, match=r"^dataset\.min_per_class: expected 2 classes or more with 30 images, got 0"):
        fill_from_data(saved(rare, min_per_class=30))


def test_images_of_several_sizes_record_what_they_are_prepared_to(tmp_path: Path) -> None:
    for number, size in enumerate(((16, 20), (18, 20), (16, 24), (16, 20))):
        file = tmp_path / "scans" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size, number * 9).save(file)
    cfg = compose(["dataset=folder", f"dataset.path={tmp_path}/scans"])
    filled = fill_from_data(cfg)
    assert (filled.dataset.image_shape, filled.dataset.image_size, filled.dataset.color) == (None, (20, 16), "gray")
    assert filled.dataset.input_shape == (20, 16, 1)
    assert parse_resolved(to_dict(filled)) == filled
    assert load_dataset(filled.dataset).digest == load_dataset(cfg.dataset).digest
    Image.new("L", (90, 90), 77).save(tmp_path / "scans" / "a" / "large.png")  # the size is fixed now
    assert load_dataset(filled.dataset).images.shape == (5, 20, 16, 1)


def test_large_images_are_prepared_to_a_size_that_a_model_can_take(tmp_path: Path, plain: RunConfig) -> None:
    for number in range(4):
        file = tmp_path / "scans" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (1000, 2000), number * 9).save(file)
    cfg = plain.replace(dataset=Folder(name="scans", format="folder", path=str(tmp_path / "scans")))
    filled = fill_from_data(cfg).dataset
    assert (filled.image_shape, filled.image_size, filled.input_shape) == ((2000, 1000, 1), (64, 32), (64, 32, 1))
    data = load_dataset(filled)
    assert data.images.shape == (4, 64, 32, 1)
    assert data.digest == load_dataset(cfg.dataset).digest
    assert "its images are larger than 1024 pixels and are prepared to 64x32; dataset.image_size=" in data.notes[0]


def test_a_complete_config_is_not_read_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(cfg: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("hcr.data.loading.load_dataset", load)
    cfg = compose(["dataset=mnist"])
    assert fill_from_data(cfg) == cfg


BEFORE_TENSORFLOW = """
import sys
from hcr.config.errors import ConfigError
from hcr.gate.compose import compose
from hcr.gate.resolve import fill_from_data
cfg = compose(sys.argv[1:])
try:
    fill_from_data(cfg)
except ConfigError as error:
    print(error)
print("tensorflow" in sys.modules or "keras" in sys.modules)
"""


def test_a_model_that_does_not_fit_the_data_is_refused_before_tensorflow_is_imported(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **arrays(size=8))
    words = ["dataset=npz", f"dataset.path={tmp_path}/x.npz", "model=cnn", "model.depth=6"]
    done = subprocess.run(
        [sys.executable, "-c", BEFORE_TENSORFLOW, *words], capture_output=True, text=True, check=True, timeout=120
    )
    told, is_imported = done.stdout.splitlines()
    assert told.startswith("model.depth: block 4 shrinks a 8x8 image below 1x1; expected at most 3")
    assert is_imported == "False"


@pytest.mark.parametrize(
    ("word", "key", "value"),
    [
        ("dataset.pixels=0..255", "pixels", "0..255"),
        ("dataset.pixels=-1..1", "pixels", "-1..1"),
        ("dataset.pixels=0..1", "pixels", "0..1"),
        ("dataset.invert=true", "invert", "true"),
        ("dataset.invert=false", "invert", "false"),
        ("dataset.classes=[1,7]", "classes", ("1", "7")),
        ("dataset.image_size=[20,20]", "image_size", (20, 20)),
    ],
)
def test_settings_of_a_data_set_survive_hydras_grammar(word: str, key: str, value: Any) -> None:
    assert getattr(compose(["dataset=mnist", word]).dataset, key) == value


@pytest.mark.parametrize("word", [r"w(\d+)_", r"'w(\d+)_'", r"(\d+)", r"([^_]+)_.*", r"w([0-9a-f]{2,3})"])
def test_a_pattern_for_groups_survives_hydras_grammar(word: str) -> None:
    cfg = compose(["dataset=folder", "dataset.path=scans", f"dataset.group={word}"])
    assert to_dict(cfg)["dataset"]["group"] == word.strip("'")
    assert parse_resolved(to_dict(cfg)) == cfg


LOCAL = LocalConfig(name="local", workers=None)


def slurm(gpus: int) -> SlurmConfig:
    rest: dict[str, Any] = {"partition": None, "time": "1h", "mem_gb": None, "cpus_per_trial": None, "setup": ()}
    return SlurmConfig(name="slurm", workers=4, gpus_per_trial=gpus, **rest)


@pytest.mark.parametrize(
    ("launcher", "gpus", "expected"),
    [
        (None, (), "cpu"),
        (None, ("0", "1"), "gpu"),
        (LOCAL, (), "cpu"),
        (LOCAL, ("GPU-7d0c",), "gpu"),
        (slurm(0), ("0",), "cpu"),  # this machine only hands out the trials
        (slurm(1), (), "gpu"),
    ],
)
def test_the_device_is_a_gpu_where_a_run_has_one(
    launcher: LauncherConfig | None, gpus: tuple[str, ...], expected: str
) -> None:
    assert device_of(launcher, gpus) == expected
    check_devices([expected], launcher, gpus)


@pytest.mark.parametrize(
    ("devices", "launcher", "told"),
    [
        (["gpu"], None, r"^training\.device: expected auto or cpu, as there is no GPU here.*, got gpu$"),
        (["cpu", "gpu"], LOCAL, r"^training\.device: expected auto or cpu"),
        (["gpu"], slurm(0), r"^launcher\.gpus_per_trial: expected more than 0 with training\.device=gpu, got 0$"),
        (["cpu"], slurm(2), r"^launcher\.gpus_per_trial: expected 0 with training\.device=cpu, got 2$"),
    ],
)
def test_a_gpu_that_is_not_there_or_not_used_is_refused(
    devices: list[str], launcher: LauncherConfig | None, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        check_devices(devices, launcher, ())


def test_a_gpu_that_the_environment_hides_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ConfigError, match=r"no GPU here \(with CUDA_VISIBLE_DEVICES=''\), got gpu$"):
        check_devices(["gpu"], LOCAL, ())


@pytest.mark.parametrize(
    ("gpus", "device", "shards", "precision", "warnings"),
    [((), "cpu", None, "float32", 1), (("0",), "gpu", 1, "bfloat16", 0)],
)
def test_what_is_open_is_resolved_for_the_device(
    gpus: tuple[str, ...],
    device: str,
    shards: int | None,
    precision: str,
    warnings: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("hcr.gate.resolve.usable_gpus", lambda: gpus)
    monkeypatch.setattr("hcr.gate.resolve.has_bfloat16", lambda: False)  # which is about the CPU
    _warn_of_float32.cache_clear()
    for seed in range(2):  # as a sweep does
        asked = compose(["dataset=mnist", "training.precision=bfloat16", f"seed={seed}"])
        found = resolve(asked, in_sweep=True).training
        assert (found.device, found.shards, found.precision) == (device, shards, precision)
    assert capsys.readouterr().err.count("this CPU, which lacks AVX512-BF16") == warnings


def test_several_shards_are_refused_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    told = r"^training\.shards: expected 1 or null on a GPU, .*, got 3; training\.device=cpu trains on the CPU$"
    with pytest.raises(ConfigError, match=told):
        compose(["training.device=gpu", "training.shards=3"])
    cut = compose(["dataset=mnist", "training.shards=3"])
    monkeypatch.setattr("hcr.gate.resolve.usable_gpus", lambda: ("0",))
    with pytest.raises(ConfigError, match=told):
        resolve(cut, in_sweep=False)
