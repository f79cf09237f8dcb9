"""Where an image comes from: the file or row in which it was stored."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image
from samples import small_arrays
from sklearn.datasets import load_digits

from hcr.data.loading import load_dataset
from hcr.data.origins import origins_of
from hcr.gate.compose import compose
from hcr.gate.resolve import fill_from_data


def load(overrides: list[str]):
    cfg = fill_from_data(compose(overrides))
    data = load_dataset(cfg.dataset)
    assert data.rows is not None
    return cfg, data, origins_of(cfg.dataset, data.rows)


def test_a_row_of_an_array_leads_back_to_its_image(tmp_path: Path) -> None:
    arrays = small_arrays(3, (8, 8))
    (train, train_labels), (test, test_labels) = arrays["train"], arrays["test"]
    np.savez(tmp_path / "a.npz", x_train=train, y_train=train_labels, x_test=test, y_test=test_labels)
    _, data, origins = load(["dataset=npz", f"dataset.path={tmp_path / 'a.npz'}"])
    stored = {"x_train": (train, train_labels), "x_test": (test, test_labels)}
    assert len(set(origins)) == len(data.labels) == 66
    for image, label, origin in zip(data.images, data.labels, origins, strict=True):
        images, labels = stored[origin.source]
        assert np.array_equal(images[origin.row], image[..., 0])
        assert labels[origin.row] == label


def test_a_limit_leaves_the_origins_of_the_rest(tmp_path: Path) -> None:
    images, labels = small_arrays(3, (8, 8))["train"]
    np.savez(tmp_path / "a.npz", x=images, y=labels)
    _, data, origins = load(["dataset=npz", f"dataset.path={tmp_path / 'a.npz'}", "dataset.limit=12"])
    assert len(origins) == 12
    for image, origin in zip(data.images, origins, strict=True):
        assert origin.source == "x"
        assert np.array_equal(images[origin.row], image[..., 0])


def test_parts_of_one_array_count_its_rows(tmp_path: Path) -> None:
    images, labels = small_arrays(3, (8, 8))["train"]
    scipy.io.savemat(tmp_path / "a.mat", {"data": images.reshape(60, 64).T, "label": labels[np.newaxis]})
    shape = ["dataset.image_shape=[8,8,1]", "dataset.train_images=45"]
    _, data, origins = load(["dataset=mat", f"dataset.path={tmp_path / 'a.mat'}", *shape])
    assert sorted(origin.row for origin in origins) == list(range(60))
    for image, origin in zip(data.images, origins, strict=True):
        assert origin.source == "data"
        assert np.array_equal(images[origin.row], image[..., 0])


def test_a_picture_is_its_file_and_broken_ones_shift_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "scans" / name).mkdir(parents=True)
        for i in range(5):
            pixels = rng.integers(0, 256, (8, 8), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "scans" / name / f"{i}.png")
    (tmp_path / "scans" / "a" / "0.png").write_bytes(b"no picture")
    overrides = [
        "dataset=folder",
        f"dataset.path={tmp_path / 'scans'}",
        "dataset.skip_broken=true",
        "dataset.invert=false",
    ]
    _, data, origins = load(overrides)
    assert len(origins) == 9
    for image, label, origin in zip(data.images, data.labels, origins, strict=True):
        assert origin.row is None
        assert Path(origin.source).parent.name == data.class_names[label]
        assert np.array_equal(np.asarray(Image.open(origin.source)), image[..., 0])


def test_of_a_bundled_data_set_the_row_is_known() -> None:
    _, data, origins = load([])
    stored, labels = load_digits(return_X_y=True)
    for image, label, origin in zip(data.images[::100], data.labels[::100], origins[::100], strict=True):
        assert origin.source == "digits"
        assert labels[origin.row] == label
        assert np.corrcoef(stored[origin.row], image.ravel())[0, 1] == pytest.approx(1, abs=1e-3)
