"""Views in a real SQLite store: written, replaced, removed, and refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from hcr.tracking import pages
from hcr.tracking.store import open_store
from hcr.tracking.views import TAG, VIEWS, key_of, keys_of


@pytest.fixture
def client(tmp_path: Path, empty_store: Path) -> Any:
    return open_store(f"sqlite:///{shutil.copy(empty_store, tmp_path / 'mlflow.db')}")


def texts(client: Any) -> dict[str, str]:
    tags = client.get_experiment("0").tags
    return {name.removeprefix(TAG): value for name, value in tags.items() if name.startswith(TAG)}


def test_views_written_again_are_the_same_and_changed_ones_replace_their_own_alone(client: Any) -> None:
    run, other = (client.create_run("0").info.run_id for _ in range(2))
    pages.write_views(client, "0", other, {"table": "of another sweep"})
    for _ in range(2):
        pages.write_views(client, "0", run, {"charts": "first", "table": "same"})
        assert sorted(texts(client).values()) == ["first", "of another sweep", "same"]
    pages.write_views(client, "0", run, {"charts": "second", "table": "same"})
    assert sorted(texts(client).values()) == ["of another sweep", "same", "second"]
    keys = keys_of(client.get_run(run).data.tags)
    assert keys == {"charts": key_of("second"), "table": key_of("same")}
    assert pages.has_views(client, "0", keys)
    pages.remove_views(client, "0", [key_of("second"), "0" * 64])
    assert not pages.has_views(client, "0", keys)
    assert not pages.has_views(client, "0", {})


def test_a_store_that_refuses_views_is_told_in_one_line_and_loses_nothing_else(
    client: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = client.create_run("0").info.run_id
    pages.write_views(client, "0", run, {"table": "x" * 30_000})  # longer than MLflow stores
    assert capsys.readouterr().err.startswith("hcr: warning: the store takes no views of the sweep (")
    assert client.get_run(run).data.tags[VIEWS] == "{}"


def test_an_outage_is_no_refusal(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = client.create_run("0").info.run_id

    def gone(*_: object) -> None:
        raise MlflowException("gone")

    monkeypatch.setattr(client, "set_experiment_tag", gone)
    with pytest.raises(MlflowException, match="gone"):
        pages.write_views(client, "0", run, {"table": "text"})


def test_views_of_no_sweep_do_not_pile_up(client: Any) -> None:
    for number in range(pages.MOST_RECENT + 5):
        pages.write_recent_view(client, "0", f"view {number}")
        pages.write_recent_view(client, "0", "view 3")
    kept = sorted(texts(client).values(), key=lambda text: int(text.split()[1]))
    assert len(kept) == pages.MOST_RECENT
    assert kept[0] == "view 3"
    assert kept[-1] == f"view {pages.MOST_RECENT + 4}"
    assert set(json.loads(client.get_experiment("0").tags[pages.RECENT])) == set(texts(client))


def test_views_are_opened_only_on_pages_that_were_tried() -> None:
    first, last = pages.TRIED
    for version in (first, last):
        assert pages.shows_views(f"{version[0]}.{version[1]}.2")
    assert pages.shows_views(pages.own_version()), "the locked version of MLflow"
    for version in (
        f"{first[0]}.{first[1] - 1}.9",
        f"{last[0]}.{last[1] + 1}.0",
        f"{last[0] + 1}.0.0",
        "",
        "dev",
        None,
    ):
        assert not pages.shows_views(version)


def test_a_server_that_does_not_answer_has_no_version() -> None:
    assert pages.server_version("http://127.0.0.1:9") is None
