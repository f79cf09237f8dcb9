"""Tables in the layout of `mlflow.log_table`, compared with MLflow's own reading of it."""

import json
import math
import shutil
from pathlib import Path

import pytest

from hcr.tracking.journal import Journal
from hcr.tracking.replay import Replay
from hcr.tracking.store import open_store
from hcr.tracking.tables import LISTED, record_table, table_text


def test_mlflow_reads_the_tables_of_an_uploaded_run(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{shutil.copy(empty_store, tmp_path / 'mlflow.db')}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)  # `load_table` searches the store of its process
    with Journal(tmp_path, uri=uri, experiment="tests") as journal:
        journal.begin(name="a run", tags={})
        record_table(journal, "tables/a.json", {"name": ["ä", "b"], "mean val/loss": [1 / 3, 2.0]})
        record_table(journal, "b.json", {"n": [1]})
        record_table(journal, "b.json", {"n": [2]})
    journal.release()
    Replay(journal.folder).upload()
    client = open_store(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
    listed = [{"path": path, "type": "table"} for path in ("tables/a.json", "b.json")]
    assert json.loads(run.data.tags[LISTED]) == listed
    first = client.load_table(run.info.experiment_id, "tables/a.json", [run.info.run_id])
    assert first.to_dict("list") == {"name": ["ä", "b"], "mean val/loss": [0.333333, 2.0]}
    assert client.load_table(run.info.experiment_id, "b.json", [run.info.run_id])["n"].tolist() == [2]


def test_a_number_that_json_lacks_is_text() -> None:
    assert json.loads(table_text({"loss": [math.inf, math.nan]}))["data"] == [["inf"], ["nan"]]


def test_a_heading_with_a_dot_whose_cells_mlflow_would_not_show_is_an_error() -> None:
    with pytest.raises(AssertionError):
        table_text({"model.depth": [1]})
