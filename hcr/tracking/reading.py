"""Runs as a store has them: found by conditions, newest first or by a metric, with as few requests as are asked for."""

import json
import math
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from hcr.config.errors import TrackingError, one_line
from hcr.config.secrets import redact
from hcr.config.tracking import output_key, sqlite_path
from hcr.tracking.conditions import Condition, is_metric, number
from hcr.tracking.events import DESCRIPTION, SYSTEM, kind_of
from hcr.tracking.store import open_store, store_to_read
from hcr.tracking.stored import NEWEST, OURS, StoredRun

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

LARGEST_PAGE = 200  # runs in one answer
STATUS = {"RUNNING", "FINISHED", "FAILED", "KILLED", "SCHEDULED"}


@dataclass(frozen=True, kw_only=True)
class StoreRow:
    """A run as a store has it.

    Attributes:
        run_id, experiment_id: its ids in MLflow.
        key: its hcr key.
        name: its name in MLflow.
        kind: what it is: train, sweep, evaluate, compare or ensemble.
        status: RUNNING, FINISHED, FAILED or KILLED.
        start_ms, end_ms: milliseconds since 1970; `end_ms` is None while it runs.
        params, tags: by name.
        metrics: last value by name.
    """

    run_id: str
    experiment_id: str
    key: str
    name: str
    kind: str
    status: str
    start_ms: int
    end_ms: int | None
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @property
    def own_metrics(self) -> dict[str, float]:
        """Its metrics without those of the machine that it ran on."""
        return {name: value for name, value in self.metrics.items() if not name.startswith(SYSTEM)}

    def value_of(self, key: str) -> object:
        """A metric, an attribute or a setting by its name; None if the run has none."""
        if key in ("name", "status", "kind"):
            return getattr(self, key)
        return self.metrics.get(key, self.params.get(key))


@contextmanager
def reading_store(uri: str) -> "Iterator[MlflowClient]":
    """A client of the store at `uri` for reading; of an SQLite file that cannot be written it reads a copy.

    Raises:
        TrackingError: there is no store yet, or it does not answer.
    """
    if uri.startswith("sqlite:") and not sqlite_path(uri).exists():
        raise TrackingError(f"{uri}: no runs yet; `hcr train` records one ({output_key()} sets the folder)")
    try:
        with store_to_read(uri) as client:
            yield client
    except TrackingError:
        raise
    except Exception as error:  # any error of the store
        from mlflow.exceptions import MlflowException

        if not isinstance(error, MlflowException | OSError):
            raise
        raise TrackingError(f"the store at {redact(uri)} cannot be read ({one_line(error)})") from error


def search(
    client: "MlflowClient",
    *,
    conditions: Sequence[Condition] = (),
    sweep: str | None = None,
    key: str | None = None,
    order: str = NEWEST,
    top: int | None = None,
) -> list[StoreRow]:
    """The active runs of every experiment that fulfil the conditions.

    Args:
        client: of the store.
        conditions: all of them have to hold; the store itself tests those on metrics and texts.
        sweep: the key of a sweep's parent run, to get its runs alone; None: any run.
        key: of a run, to get it alone; None: any run.
        order: as MLflow's `order_by` has it.
        top: at most so many; None: all.

    Returns:
        The runs, in that order; of a sweep, those that it reuses come last.
    """
    asked = [OURS, *filter(None, map(_asked, conditions))]
    if key:
        asked.append(f"tags.`hcr.key` = '{key}'")
    if sweep is None:
        return _found(client, asked, conditions, order, top)
    # The parent run carries its own key too, but is no point.
    own = _found(
        client, [*asked, f"tags.`hcr.sweep` = '{sweep}'", "tags.`hcr.sweep_point` LIKE '%'"], conditions, order, top
    )
    reused = _found(client, [*asked, f"tags.`hcr.reused_by.{sweep}` LIKE '%'"], conditions, order, top)
    return [*own, *reused][:top]


def _found(
    client: "MlflowClient", asked: Sequence[str], conditions: Sequence[Condition], order: str, top: int | None
) -> list[StoreRow]:
    """The runs that the store finds by `asked` and that fulfil the conditions, a page at a time."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    query, token = " AND ".join(asked), None
    found: list[StoreRow] = []
    while experiments and (top is None or len(found) < top):
        size = LARGEST_PAGE if top is None or conditions else min(LARGEST_PAGE, top)  # some are left out below
        page = client.search_runs(experiments, query, max_results=size, order_by=[order], page_token=token)
        rows = map(row_of, page)
        found += [row for row in rows if all(each.holds(row.value_of(each.key)) for each in conditions)]
        token = page.token
        if not token:
            break
    return found[:top]


def order_of(key: str, *, ascending: bool) -> str:
    """MLflow's `order_by` of a metric, a setting or an attribute."""
    direction = "ASC" if ascending else "DESC"
    if key in ("name", "status", "started"):
        column = {"name": "run_name", "status": "status", "started": "start_time"}[key]
        return f"attributes.{column} {direction}"
    return f"{'metrics' if is_metric(key) else 'params'}.`{key}` {direction}"


def history_of(client: "MlflowClient", run_id: str, metrics: Sequence[str]) -> dict[str, dict[int, float]]:
    """The values by step of each of `metrics` that the run has; of a step with several, the last."""
    found: dict[str, dict[int, float]] = {}
    for name in metrics:
        rows = sorted(client.get_metric_history(run_id, name), key=lambda metric: metric.timestamp)
        if rows:
            found[name] = {metric.step: metric.value for metric in rows}
    return found


def system_metrics_of(client: "MlflowClient", row: StoreRow) -> dict[str, dict[int, float]]:
    """The run's system metrics by epoch, as means of the samples taken in it; an epoch may have none."""
    ended_ms = {metric.timestamp: metric.step for metric in client.get_metric_history(row.run_id, "train/loss")}
    times = sorted(ended_ms)
    found: dict[str, dict[int, float]] = {}
    for name in sorted(name for name in row.metrics if name.startswith(SYSTEM)):
        samples: dict[int, list[float]] = {}
        for metric in client.get_metric_history(row.run_id, name):
            place = bisect_left(times, metric.timestamp)
            if place < len(times):  # later ones are of the time after training
                samples.setdefault(ended_ms[times[place]], []).append(metric.value)
        found[name] = {epoch: mean(values) for epoch, values in samples.items()}
    return found


def artifact_text(client: "MlflowClient", run_id: str, path: str) -> str | None:
    """The text of a run's artifact; None if the run has none, or its artifacts cannot be reached."""
    with tempfile.TemporaryDirectory(prefix="hcr-") as folder:
        try:
            return Path(client.download_artifacts(run_id, path, folder)).read_text(encoding="utf-8")
        except Exception:  # any error of an artifact store
            return None


def describe(stored: StoredRun, change: Callable[[str], str]) -> None:
    """Change the description of a run that only a store has; `change` gets the present one.

    Raises:
        TrackingError: the store does not take it.
    """
    try:
        client = open_store(stored.uri)
        description = client.get_run(stored.run_id).data.tags.get(DESCRIPTION, "")
        client.set_tag(stored.run_id, DESCRIPTION, change(description))
    except Exception as error:  # any error of the store
        raise TrackingError(f"run {stored.key}: {redact(stored.uri)} took no note ({one_line(error)})") from error


def row_of(run: "Run") -> StoreRow:
    """A run of MLflow's as a row."""
    tags = dict(run.data.tags)
    return StoreRow(
        run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        key=tags.get("hcr.key", ""),
        name=run.info.run_name or "",
        kind=kind_of(tags),
        status=str(run.info.status),
        start_ms=int(run.info.start_time),
        end_ms=None if run.info.end_time is None else int(run.info.end_time),
        params=dict(run.data.params),
        metrics={name: value for name, value in run.data.metrics.items() if not math.isnan(value)},
        tags=tags,
    )


def _asked(condition: Condition) -> str:
    """The condition, or a wider one, in MLflow's grammar; empty if the store cannot test it.

    The store compares settings as text: a number may be written as 10 or as 10.0 there.
    """
    key, value = condition.key, condition.value
    if "`" in key or "'" in value or "%" in value:
        return ""
    if condition.is_metric:
        return f"metrics.`{key}` {condition.operator} {value}"
    if condition.operator != "=" or key in ("name", "kind") or value.startswith("["):
        return ""
    if key == "status":
        return f"attributes.status = '{value.upper()}'" if value.upper() in STATUS else ""
    as_number = number(value)
    if as_number is None:
        return f"params.`{key}` = '{value}'"
    return f"params.`{key}` LIKE '{json.dumps(as_number).removesuffix('.0')}%'"
