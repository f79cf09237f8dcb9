"""Runs that a store has, such as a colleague's on a server, found without their journals."""

import math
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from hcr.config.errors import TrackingError
from hcr.tracking.events import WITH_MODEL, best_metric, kind_of
from hcr.tracking.store import store_to_read

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

MODELS = "models:/"
KEY = re.compile(r"[0-9a-f]{1,40}")  # a key or a prefix of one
RUN_ID = re.compile(r"[0-9a-f]{32}")
OURS = "tags.`hcr.key` LIKE '%'"
NEWEST = "attributes.start_time DESC"
PAGE = 100  # runs in an answer to a search


class StoredRun(NamedTuple):
    """A run in a store.

    Attributes:
        uri: of the store.
        run_id: the run's id there.
        key: its hcr key.
    """

    uri: str
    run_id: str
    key: str


def find_stored(uri: str, name: str) -> list[StoredRun]:
    """The runs of the store at `uri` that `name` means, as `look_up` takes it; several if it is ambiguous.

    Raises:
        TrackingError: a registered model or its version does not exist, or was not made by a run of hcr.
        Exception: any error that MLflow raises, such as for an unreachable store.
    """
    with store_to_read(uri) as client:
        if name.startswith(MODELS):
            runs = [_run_of_model(client, name)]
        elif name == "latest":
            runs = _latest(client)
        elif name == "best":
            runs = _best(client)
        else:
            runs = _named(client, name)
        return [StoredRun(uri, run.info.run_id, run.data.tags["hcr.key"]) for run in runs]


def stored_names(uri: str) -> list[str]:
    """Names and keys of the newest runs of the store at `uri`, in one request.

    Raises:
        Exception: any error that MLflow raises.
    """
    with store_to_read(uri) as client:
        runs = list(islice(_search(client, OURS, NEWEST), PAGE))
        return [word for run in runs for word in (str(run.info.run_name), run.data.tags["hcr.key"])]


def _run_of_model(client: "MlflowClient", name: str) -> "Run":
    from mlflow.exceptions import MlflowException

    try:
        run_id = _run_id_of_model(client, name)
        run = client.get_run(run_id) if run_id else None
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise TrackingError(f"{name}: there is no such model in the store") from error
    if run is None or "hcr.key" not in run.data.tags:
        raise TrackingError(f"{name}: expected a model of a run of hcr, got one that was made otherwise")
    if run.info.lifecycle_stage != "active":
        raise TrackingError(
            f"{name}: its run was deleted; `mlflow runs restore --run-id {run.info.run_id}` restores it"
        )
    return run


def _run_id_of_model(client: "MlflowClient", name: str) -> str:
    """The id of the run that made a model; empty if no run did."""
    path = name.removeprefix(MODELS)
    numbered, _, number = path.rpartition("/")
    registered, _, alias = path.rpartition("@")
    if re.fullmatch(r"m-\w+", path):
        return str(client.get_logged_model(path).source_run_id or "")
    if numbered and re.fullmatch(r"\d+", number):
        return str(client.get_model_version(numbered, number).run_id or "")
    if registered and alias:
        return str(client.get_model_version_by_alias(registered, alias).run_id or "")
    raise TrackingError(f"{name}: expected models:/NAME@ALIAS, models:/NAME/VERSION or models:/MODEL_ID")


def _latest(client: "MlflowClient") -> "list[Run]":
    """The training run or ensemble that started last."""
    return _first(_search(client, OURS, NEWEST), _has_model)


def _best(client: "MlflowClient") -> "list[Run]":
    """The best run that finished on the data of the latest one, by the metric that it monitors."""
    latest = _latest(client)
    data = latest[0].data.tags.get("hcr.dataset_digest", "") if latest else ""
    if not re.fullmatch(r"[0-9a-f]{64}", data):
        return []
    metric, choose = best_metric(latest[0].data.params.get("monitor"))
    order = "ASC" if choose is min else "DESC"
    query = f"{OURS} AND tags.`hcr.dataset_digest` = '{data}' AND attributes.status = 'FINISHED'"
    runs = _search(client, query, f"metrics.`{metric}` {order}")
    return _first(runs, lambda run: _has_model(run) and math.isfinite(run.data.metrics.get(metric, math.nan)))


def _named(client: "MlflowClient", name: str) -> "list[Run]":
    """The runs with this key, this prefix of a key, this id or this name."""
    queries = []
    if KEY.fullmatch(name):
        queries += [f"tags.`hcr.key` = '{name}'", f"tags.`hcr.key` LIKE '{name}%'"]
    if RUN_ID.fullmatch(name):
        queries.append(f"attributes.run_id = '{name}' AND {OURS}")
    mark = '"' if "'" in name else "'"
    if mark not in name:  # MLflow's queries cannot quote a name with both marks
        queries.append(f"attributes.run_name = {mark}{name}{mark} AND {OURS}")
    found: list[Run] = []
    for query in queries:
        found = found or list(_search(client, query, NEWEST))
    return found


def _has_model(run: "Run") -> bool:
    return kind_of(run.data.tags) in WITH_MODEL


def _first(runs: "Iterator[Run]", fits: "Callable[[Run], bool]") -> "list[Run]":
    found = next(filter(fits, runs), None)
    return [] if found is None else [found]


def _search(client: "MlflowClient", query: str, order: str) -> "Iterator[Run]":
    """The active runs of all experiments, a page at a time."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    page = None
    while experiments:
        runs = client.search_runs(experiments, query, max_results=PAGE, order_by=[order], page_token=page)
        yield from runs
        page = runs.token
        if not page:
            return
