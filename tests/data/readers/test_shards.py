"""Shards of one data set share one bound on memory."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hcr.config.errors import DataError
from hcr.data.formats.parquet import Parquet
from hcr.data.readers import shards


def test_shards_that_fit_one_by_one_and_not_together_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [{"bytes": bytes([number]) * 1_000, "path": None} for number in range(4)]
    for number in range(2):
        table = pa.table({"image": pictures, "label": [0, 1, 0, 1]})
        pq.write_table(table, tmp_path / f"train-0000{number}-of-00002.parquet")
    cfg = Parquet(name="some", format="parquet", path=str(tmp_path))
    monkeypatch.setattr(shards, "most_bytes", lambda: 8_000)
    assert len(shards.read_all(cfg, tmp_path).parts) == 2
    monkeypatch.setattr(shards, "most_bytes", lambda: 7_999)
    with pytest.raises(DataError, match=r"expected a data set that fits into memory"):
        shards.read_all(cfg, tmp_path)
