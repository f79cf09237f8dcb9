"""A fingerprint changes with what decides a run's numbers, and with nothing else."""

import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import hcr
from hcr.gate import fingerprint as module
from hcr.gate.compose import compose
from hcr.gate.fingerprint import code_version, deciding_config, extension_sources, fingerprint
from hcr.gate.resolve import resolve
from hcr.gate.run_config import RunConfig, parse_config, parse_resolved, to_dict
from hcr.sources import snapshot_sources

DIGESTS = {"dataset_digest": "d" * 64, "split_digest": "s" * 64, "code": "c" * 64}


def of(cfg: RunConfig, **digests: str) -> str:
    return fingerprint(cfg, **(DIGESTS | digests))


@pytest.mark.parametrize(
    "override",
    [
        "notes=why",
        "tags={team: ocr}",
        "check_only=true",
        "resume=never",
        "tracking.uri=http://elsewhere:5000",
        "tracking.experiment_name=other",
        "tracking.run_name=mine",
        "tracking.timeout_s=1",
        "dataset.path=/elsewhere/mnist.mat",
        "dataset.files=[other.mat]",
        "dataset.url=https://elsewhere.org/mnist.npz",
        "dataset.sha256=" + "0" * 64,
        "dataset.name=digits-again",
        "dataset.made_as=null",
    ],
)
def test_names_notes_and_places_leave_the_fingerprint_as_it_is(override: str) -> None:
    assert of(compose(["dataset=mnist", override])) == of(compose(["dataset=mnist"]))


def test_the_place_of_a_test_file_leaves_the_fingerprint_as_it_is() -> None:
    usps = ["dataset=usps", "dataset.path=zip.train.gz"]
    assert of(compose([*usps, "dataset.test_path=/elsewhere/t.gz"])) == of(compose(usps))


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "model.depth=1",
        "model.dropout=0.31",
        "model.filters=[32,64,128,256]",
        "optimizer=sgd",
        "optimizer.learning_rate=0.0011",
        "schedule=constant",
        "monitor=val/accuracy",
        "split.validation=0.2",
        "training.epochs=3",
        "training.tta=shift",
        "training.threads=7",
        "dataset.train_images=50000",
        "dataset.limit=1000",
        "dataset.pixels=0..255",
        "dataset.invert=true",
        "dataset.image_size=[20,20]",
        "dataset.classes=['3','8']",
        "dataset.min_per_class=2",
    ],
)
def test_what_decides_numbers_changes_the_fingerprint(override: str) -> None:
    assert of(compose(["dataset=mnist", override])) != of(compose(["dataset=mnist"]))


def test_a_seed_of_the_split_decides_and_its_absence_means_what_it_meant_before() -> None:
    assert of(compose(["split.seed=0"])) != of(compose([]))
    assert of(compose(["split.seed=0"])) != of(compose(["split.seed=1"]))
    assert deciding_config(compose([]))["split"] == {
        "name": "stratified",
        "validation": 0.1,
        "test": 0.2,
        "test_seed": 0,
    }


def test_a_config_from_before_calibration_has_the_fingerprint_it_had() -> None:
    cfg = compose([])
    assert "calibrate" not in deciding_config(cfg)["training"]
    earlier = to_dict(cfg)
    del earlier["training"]["calibrate"]  # as it was recorded
    assert of(parse_config(OmegaConf.create(earlier))) == of(cfg)
    assert of(compose(["training.calibrate=temperature"])) != of(cfg)


def test_no_test_time_augmentation_means_what_its_absence_meant_before() -> None:
    values = to_dict(compose([]))
    del values["training"]["tta"]  # as configs were recorded before there was any
    assert of(parse_resolved(values)) == of(compose([]))
    assert "tta" not in deciding_config(compose([]))["training"]


def test_a_config_from_before_the_device_could_be_chosen_was_of_a_cpu() -> None:
    on_cpu, on_gpu = (compose([f"training.device={device}"]) for device in ("cpu", "gpu"))
    earlier = to_dict(on_cpu)
    del earlier["training"]["device"]  # as it was recorded
    assert parse_resolved(earlier) == on_cpu
    assert "device" not in deciding_config(on_cpu)["training"]
    assert of(on_cpu) != of(on_gpu)
    assert of(resolve(compose(["score_test=true"]), in_sweep=False)) == of(on_cpu)  # there is no GPU here


@pytest.mark.parametrize("digest", DIGESTS)
def test_other_data_another_split_or_other_code_changes_the_fingerprint(digest: str) -> None:
    cfg = compose([])
    assert of(cfg, **{digest: "0" * 64}) != of(cfg)


def test_digests_that_change_places_change_the_fingerprint() -> None:
    cfg = compose([])
    assert of(cfg, dataset_digest="a", split_digest="b") != of(cfg, dataset_digest="b", split_digest="a")


def test_a_fingerprint_is_64_hex_digits_and_the_same_every_time() -> None:
    first = of(compose(["seed=3"]))
    assert first == of(compose(["seed=3"]))
    assert len(first) == 64
    assert set(first) <= set("0123456789abcdef")


def test_the_deciding_config_holds_no_place() -> None:
    values = deciding_config(compose(["dataset=mnist", "dataset.path=/home/me/x.mat", "notes=/home/me"]))
    assert "/home/me" not in repr(values)
    assert {"notes", "tags", "tracking", "check_only", "resume"} & set(values) == set()


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package, whose code version `code_version` then gives."""
    package = tmp_path / "hcr"
    shutil.copytree(Path(hcr.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr("hcr.sources.PACKAGE", package)
    return package


def test_the_code_version_does_not_depend_on_where_the_package_lies(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = code_version(compose())
    monkeypatch.undo()
    assert code_version(compose()) == there


@pytest.mark.parametrize("place", module.DECIDING_SOURCES)
def test_the_code_version_changes_with_a_source_that_decides_numbers(copied: Path, place: str) -> None:
    before = code_version(compose())
    file = sorted((copied / place).glob("*.py"))[0] if (copied / place).is_dir() else copied / place
    file.write_text(file.read_text() + "# changed\n")
    assert code_version(compose()) != before


def test_the_code_version_changes_with_a_new_or_renamed_source(copied: Path) -> None:
    versions = [code_version(compose())]
    new = copied / "model" / "extra.py"
    new.write_text("")
    versions.append(code_version(compose()))
    new.rename(new.with_name("other.py"))
    versions.append(code_version(compose()))
    assert len(set(versions)) == 3


@pytest.mark.parametrize(
    "file", ["commands/ui.py", "cli.py", "tracking/store.py", "evaluation/canvas.py", "model/notes.txt"]
)
def test_the_code_version_stays_with_what_decides_no_number(copied: Path, file: str) -> None:
    before = code_version(compose())
    (copied / file).parent.mkdir(parents=True, exist_ok=True)
    (copied / file).write_text("# changed\n")
    assert code_version(compose()) == before


def test_code_of_a_snapshot_stays_what_was_imported(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hcr.sources._snapshot", None)
    before = code_version(compose())
    snapshot_sources(extension_sources(compose()))
    source = copied / "model" / "muon.py"
    source.write_text(source.read_text() + "# edited while a sweep runs\n")
    assert code_version(compose()) == before
    monkeypatch.setattr("hcr.sources._snapshot", None)
    assert code_version(compose()) != before


def test_the_code_version_changes_with_a_library_s_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_version(compose())
    monkeypatch.setattr(module, "version", lambda name: "0.0.0")
    assert code_version(compose()) != before
