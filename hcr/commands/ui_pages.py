"""The pages of MLflow's that `hcr ui` opens: a sweep's views, a run's page, a comparison of runs, or all runs."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hcr.commands.runs import varying
from hcr.config.errors import ConfigError, TrackingError, one_line
from hcr.config.secrets import redact
from hcr.config.tracking import output_root
from hcr.tracking.events import best_metric, first_event, is_removed
from hcr.tracking.finding import latest_of_all, look_up
from hcr.tracking.place import store_of
from hcr.tracking.reading import StoreRow, reading_store, search
from hcr.tracking.status import read_position
from hcr.tracking.stored import StoredRun
from hcr.tracking.views import (
    TABLE,
    Setting,
    Shown,
    compare_link,
    keys_of,
    overview,
    plain_link,
    plain_sweep_link,
    run_link,
    runs_views,
    view_link,
)

MOST_RUNS = 100  # that one view shows; their ids stand in its text
MOST_READ = 200  # newest runs that the columns of the view of all runs are chosen from
Pages = dict[str, str]  # links by name, from their `#` on; the first one is opened


@dataclass(frozen=True)
class Asked:
    """A run that the command line names.

    Attributes:
        uri: its store.
        key: its hcr key.
    """

    uri: str
    key: str


def asked_runs(root: Path, names: Sequence[str]) -> list[Asked]:
    """The runs called `names`; `latest` is what was started last, a run or a whole sweep.

    Raises:
        TrackingError: no run matches a name, or several do, or one is not in MLflow yet, or they are in several stores.
    """
    asked = list(dict.fromkeys(_asked(root, name) for name in names))
    if len(stores := {each.uri for each in asked}) > 1:
        raise TrackingError(f"hcr ui: expected runs of one store, got some of {', '.join(map(redact, sorted(stores)))}")
    return asked


def _asked(root: Path, name: str) -> Asked:
    latest = latest_of_all(root) if name == "latest" else None
    found = latest if latest is not None else look_up(root, name)
    if isinstance(found, StoredRun):
        return Asked(found.uri, found.key)
    if read_position(found).get("run_id") is None:
        raise TrackingError(f"run {found.name} is not in MLflow yet; `hcr sync` uploads it")
    return Asked(store_of(found, first_event(found)), found.name)


def pages_of(uri: str, asked: Sequence[Asked], version: Callable[[], str | None]) -> Pages:
    """The pages to show, in the store at `uri`; none if it has no run.

    The views of a sweep were written when it began. Those of other runs are written now; in a store that cannot be
    written, and for another MLflow than those that were tried, the links are to MLflow's plain pages.

    Args:
        asked: what the command line names; empty: all runs of the experiment of the newest one.
        version: says which version of MLflow serves the pages.

    Raises:
        TrackingError: the store has no such run, or cannot be read.
        ConfigError: they are more runs than one view shows.
    """
    # PYTHONWARNINGS may ask for the warnings of MLflow's own libraries; they say nothing to a user.
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning), reading_store(uri) as client:
        from hcr.tracking.pages import shows_views

        has_views = shows_views(version())
        if not asked:
            return _all_runs(client, has_views)
        rows = [_row(client, uri, each.key) for each in asked]
        if len(rows) > 1:
            return _comparison(client, rows, has_views)
        (row,) = rows
        if row.kind == "sweep":
            return _sweep(client, row, has_views)
        return {"run": run_link(row.experiment_id, row.run_id)}


def _row(client: Any, uri: str, key: str) -> StoreRow:
    found = search(client, key=key, top=1)
    if not found and is_removed(output_root() / "runs" / key):
        raise TrackingError(f"run {key} was removed; expected one that is still there")
    if not found:
        raise TrackingError(f"run {key} is not in the store at {redact(uri)}; `hcr sync --repair` uploads a lost run")
    return found[0]


def _sweep(client: Any, row: StoreRow, has_views: bool) -> Pages:
    from hcr.tracking.pages import has_views as are_there

    keys = keys_of(row.tags)
    own = {"sweep": run_link(row.experiment_id, row.run_id)}
    if has_views and are_there(client, row.experiment_id, keys):
        return {name: view_link(key, name, row.experiment_id) for name, key in keys.items()} | own
    metric, choose = best_metric(row.params.get("monitor"))
    mean = metric.replace("best/", "sweep/mean_")
    return {TABLE: plain_sweep_link(row.experiment_id, row.key, mean, ascending=choose is min)} | own


def _comparison(client: Any, rows: Sequence[StoreRow], has_views: bool) -> Pages:
    runs: dict[str, StoreRow] = {}
    for row in rows:
        of_sweep = search(client, sweep=row.key) if row.kind == "sweep" else [row]
        runs |= {each.run_id: each for each in of_sweep}
    if len(runs) > MOST_RUNS:
        raise ConfigError(f"hcr ui: expected at most {MOST_RUNS} runs in one view, got {len(runs)}")
    if not runs:
        raise TrackingError("hcr ui: expected sweeps with runs in the store, got none yet")
    experiments = sorted({row.experiment_id for row in runs.values()})
    plain = {"comparison": compare_link(experiments, list(runs))}
    if not has_views or len(experiments) > 1:  # a view is of one experiment
        return plain
    views = runs_views(list(runs), _shown(list(runs.values())))
    written = {name: _written(client, experiments[0], text) for name, text in views.items()}
    if not all(written.values()):
        return plain
    return {name: view_link(key, name, experiments[0]) for name, key in written.items() if key is not None}


def _all_runs(client: Any, has_views: bool) -> Pages:
    newest = search(client, top=MOST_READ)
    if not newest:
        return {}
    experiment = newest[0].experiment_id
    rows = [row for row in newest if row.experiment_id == experiment and row.kind != "sweep"]
    key = _written(client, experiment, overview(_shown(rows or newest))) if has_views else None
    return {"runs": plain_link(experiment) if key is None else view_link(key, TABLE, experiment)}


def _shown(rows: Sequence[StoreRow]) -> Shown:
    monitor = next((row.params["monitor"] for row in rows if "monitor" in row.params), "val/loss")
    return Shown(
        monitor=monitor,
        higher_is_better=best_metric(monitor)[1] is max,
        settings=[Setting(key) for key in varying(rows)],
        with_test=any("test/accuracy" in row.metrics for row in rows),
    )


def _written(client: Any, experiment_id: str, text: str) -> str | None:
    """Write a view that belongs to no sweep; None if the store does not take it, as one that may only be read."""
    from hcr.tracking.pages import write_recent_view

    try:
        return write_recent_view(client, experiment_id, text)
    except Exception as error:  # any error of the store
        print(f"note: the store takes no view ({one_line(error)}); the link is to MLflow's plain page", flush=True)
        return None
