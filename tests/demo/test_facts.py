"""What the demo says of a run."""

import json
from pathlib import Path

import pytest

from hcr.demo.facts import facts_of, run_page
from hcr.recorded import read_run


def test_the_score_is_the_recorded_one_of_the_part_that_was_scored(quick_run: Path) -> None:
    (folder,) = (quick_run / "output" / "runs").iterdir()
    run = read_run(folder)
    facts = facts_of(run)
    assert facts.score.startswith(f"test accuracy {run.metrics['test/accuracy']:.4f} (95 % interval ")
    assert facts.score.endswith(", 360 images)")
    assert (facts.name, facts.key, facts.dataset, facts.page) == (
        "digits cnn epochs=2 filters=8 seed=0",
        folder.name,
        "digits",
        None,
    )
    assert json.loads((folder / "delivered.json").read_text())["run_id"], "it is in a store, but no page shows that"


@pytest.mark.parametrize(
    ("uri", "page"),
    [
        ("http://tracking.example:5000", "http://tracking.example:5000/#/runs/abc"),
        ("https://me:hush@tracking.example/mlflow/", "https://tracking.example/mlflow/#/runs/abc"),
        ("sqlite:////data/mlflow.db", None),
        ("postgresql://me:hush@host/database", None),
        ("databricks", None),
    ],
)
def test_only_a_server_has_a_page_and_its_address_shows_no_password(uri: str, page: str | None) -> None:
    assert run_page(uri, "abc") == page
