"""A data set on a machine that has not the file it was read from."""

from pathlib import Path

import numpy as np
import pytest

from hcr.config import DataError
from hcr.data.loading import hold_dataset, load_dataset
from hcr.data.splitting import data_digests
from hcr.data.stored import ARRAYS, read_dataset, write_dataset
from hcr.gate.compose import compose

CLASSES = ["dataset=letters", "dataset.image_shape=[4,4,1]", "dataset.num_classes=2", "dataset.class_names=[a,b]"]


def test_a_data_set_that_was_sent_is_the_one_that_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hcr.data.loading._held", [])
    pixels = np.random.default_rng(0).integers(0, 256, (40, 4, 4), np.uint8)
    file = tmp_path / "data.npz"
    np.savez(file, x=pixels, y=np.arange(40) % 2, group=np.arange(40) // 4)
    cfg = compose([*CLASSES, f"dataset.path={file}"])
    read, digests = load_dataset(cfg.dataset), data_digests(cfg.dataset, cfg.split, 0)
    write_dataset(tmp_path / "there", read)
    write_dataset(tmp_path / "there", read)  # by another process
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.npz", "there"]
    sent = read_dataset(tmp_path / "there")
    for name in ARRAYS:
        mine, theirs = getattr(read, name), getattr(sent, name)
        assert (mine is None and theirs is None) or (mine.dtype == theirs.dtype and (mine == theirs).all())
    assert (sent.digest, sent.class_names, sent.source) == (read.digest, read.class_names, read.source)

    file.unlink()
    with pytest.raises(DataError):
        load_dataset(cfg.dataset)
    hold_dataset(cfg.dataset, sent)
    assert data_digests(cfg.dataset, cfg.split, 0) == digests
    with pytest.raises(DataError):  # of another config it is not the data
        load_dataset(compose([*CLASSES, f"dataset.path={file}", "dataset.limit=20"]).dataset)
