"""Views of MLflow's runs page: which runs it shows, in which columns and charts. Pure: numbers and names in, text out.

A view is the text, JSON, that MLflow's own Share button would keep as a tag of the experiment. A link that ends in the
text's SHA-256 opens it, for everyone and in every browser. Text made from the same facts is the same to the byte, so a
view that is written again replaces itself.

The table and the charts of a sweep are two views, and its parallel coordinates are a third: MLflow draws none while
runs are grouped.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

TAG = "mlflow.sharedViewState."  # of an experiment; the rest of its name is the view's key
VIEWS = "hcr.views"  # tag of a sweep's parent run: its views' keys by name, as JSON
HERE = "#/experiments/here/"  # a link's beginning in a journal, where the experiment's id is not known yet
# Tag hcr.in_sweep.<key of a parent run>, of all runs that a sweep compares, reused ones too: the name of a run's point.
# Grouped by a single param MLflow would name a group by the bare value.
IN_SWEEP = "hcr.in_sweep"

TABLE, CHARTS, PARALLEL = "table", "charts", "parallel"  # the names of a sweep's views
MOST_SETTINGS = 20  # that a view shows; together with LONGEST_NAME it keeps the text within what MLflow stores
LONGEST_TEXT = 5_000  # characters of an experiment's tag that every server since MLflow 2 stores
CREATED = "attributes.`Created`"
TESTED = ("test/accuracy", "test/loss")
COSTS = ("model/params", "time/total_s")


@dataclass(frozen=True)
class Setting:
    """Something that differs between runs.

    Attributes:
        key: its name in MLflow.
        kind: where a run has it.
        drawn_as: the param that parallel coordinates have in place of a tag; None: none.
    """

    key: str
    kind: Literal["param", "tag"] = "param"
    drawn_as: str | None = None

    @property
    def column(self) -> str:
        """Its column."""
        return _column(f"{self.kind}s", self.key)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a view is of.

    Attributes:
        monitor: the validation metric that runs are compared by, such as val/loss.
        higher_is_better: true of that metric.
        settings: what differs between points.
        with_test: whether the runs are scored on test.
        replicates: the params in which the runs of a point differ.
    """

    monitor: str
    higher_is_better: bool
    settings: Sequence[Setting]
    with_test: bool
    replicates: Sequence[str] = ("seed",)

    @property
    def best(self) -> str:
        """The metric with the value at the best epoch."""
        return f"best/{self.monitor.replace('/', '_')}"

    @property
    def mean(self) -> str:
        """The metric with a point's mean, by which the leaderboard is sorted."""
        return f"sweep/mean_{self.monitor.replace('/', '_')}"

    @property
    def scores(self) -> tuple[str, ...]:
        """The metrics at the end of a run: the monitored one first."""
        others = [name for name in ("best/val_accuracy", "best/val_loss") if name != self.best]
        return (self.best, *others, *(TESTED if self.with_test else ()))


def sweep_views(key: str, shown: Shown) -> dict[str, str]:
    """The views of a sweep by name.

    Args:
        key: of its parent run.
        shown: with the axes as settings. Without any (only seeds differ) lines and bars are of single runs, and there
            are no parallel coordinates.
    """
    query = f"tags.`{IN_SWEEP}.{key}` LIKE '%'"
    settings = shown.settings[:MOST_SETTINGS]
    columns = [*(each.column for each in settings), *_columns("params", shown.replicates)]
    order = (_column("metrics", shown.mean), not shown.higher_is_better)
    metrics = _columns("metrics", (shown.mean, *shown.scores, *COSTS))
    views = {
        CHARTS: _charts(query, [*columns, *metrics], order, shown, f"{IN_SWEEP}.{key}" if settings else None),
        TABLE: _state(query, [*metrics, *columns], order),
    }
    drawn = [each.key if each.kind == "param" else each.drawn_as for each in settings]
    params = [param for param in drawn if param is not None]
    if params:
        views[PARALLEL] = _state(query, [*columns, *metrics], order) | _layout(
            [_parallel(params, shown)], columns=1, height_px=480
        )
    return {name: _text(state) for name, state in views.items()}


def runs_views(run_ids: Sequence[str], shown: Shown) -> dict[str, str]:
    """The charts and the table of these runs, one line and one bar a run."""
    quoted = ", ".join(f"'{each}'" for each in sorted(run_ids))
    query = f"attributes.run_id IN ({quoted})"
    settings = [each.column for each in shown.settings[:MOST_SETTINGS]]
    metrics = _columns("metrics", (*shown.scores, *COSTS))
    order = (_column("metrics", shown.best), not shown.higher_is_better)
    columns = [*metrics, *settings]
    views = {CHARTS: _charts(query, columns, order, shown, None), TABLE: _state(query, columns, order)}
    return {name: _text(state) for name, state in views.items()}


def overview(shown: Shown) -> str:
    """The table of all runs of an experiment, newest first; the runs of sweeps too, without the parents above them."""
    columns = [CREATED, "attributes.`Dataset`", *_columns("metrics", (*shown.scores, *COSTS))]
    columns += [each.column for each in shown.settings[:MOST_SETTINGS]]
    return _text(_state("tags.`hcr.kind` != 'sweep'", columns, (CREATED, False)))


def key_of(text: str) -> str:
    """The key of a view, by which links and tags name it: 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def view_link(key: str, name: str, experiment_id: str | None = None) -> str:
    """The link to a view on MLflow's pages, from its `#` on.

    Args:
        key, name: of the view.
        experiment_id: None: not known yet; `settled` replaces it.
    """
    mode = "" if name == TABLE else "&compareRunsMode=CHART"
    return f"{_runs_page(experiment_id)}?viewStateShareKey={key}{mode}"


def plain_link(experiment_id: str, query: str = "", order: str = "", *, ascending: bool = False) -> str:
    """The link to the runs of an experiment without a view, for a server that may not know views."""
    words = {"searchFilter": query, "orderByKey": order, "orderByAsc": str(ascending).lower() if order else ""}
    text = "&".join(f"{name}={quote(value, safe='')}" for name, value in words.items() if value)
    return _runs_page(experiment_id) + (f"?{text}" if text else "")


def plain_sweep_link(experiment_id: str, key: str, mean: str, *, ascending: bool) -> str:
    """The link to the runs of a sweep without a view, sorted as its leaderboard."""
    query = f"tags.`hcr.sweep` = '{key}' AND tags.`hcr.sweep_point` LIKE '%'"
    return plain_link(experiment_id, query, _column("metrics", mean), ascending=ascending)


def run_link(experiment_id: str, run_id: str) -> str:
    """The link to a run's page."""
    return f"{_runs_page(experiment_id)}/{run_id}"


def compare_link(experiment_ids: Sequence[str], run_ids: Sequence[str]) -> str:
    """The link to MLflow's own page that compares runs, of one or more experiments."""
    runs, experiments = (json.dumps(list(each), separators=(",", ":")) for each in (run_ids, experiment_ids))
    return f"#/compare-runs?runs={quote(runs, safe='')}&experiments={quote(experiments, safe='')}"


def settled(text: str, experiment_id: str) -> str:
    """The text with the experiment's id in the links that were written before it was known."""
    return text.replace(HERE, f"#/experiments/{experiment_id}/")


def keys_of(tags: Mapping[str, str]) -> dict[str, str]:
    """The keys of a sweep's views by name, from the tags of its parent run; empty if it has none."""
    try:
        keys = json.loads(tags.get(VIEWS, "{}"))
    except ValueError:
        return {}
    return {str(name): str(key) for name, key in keys.items()} if isinstance(keys, dict) else {}


def _runs_page(experiment_id: str | None) -> str:
    return f"{HERE}runs" if experiment_id is None else f"#/experiments/{experiment_id}/runs"


def _text(state: Mapping[str, Any]) -> str:
    return json.dumps(state, separators=(",", ":"), ensure_ascii=False)


def _column(kind: str, key: str) -> str:
    return f"{kind}.`{key}`"


def _columns(kind: str, keys: Sequence[str]) -> list[str]:
    return [_column(kind, key) for key in dict.fromkeys(keys)]


def _state(query: str, columns: Sequence[str], order: tuple[str, bool]) -> dict[str, Any]:
    """What the table shows. Every key is set, for a page keeps what a reader saw there before."""
    return {
        "searchFilter": query,
        "orderByKey": order[0],
        "orderByAsc": order[1],
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": list(dict.fromkeys(columns)),
        "groupBy": None,
        "runsHidden": [],
        "runsPinned": [],
    }


def _charts(
    query: str, columns: Sequence[str], order: tuple[str, bool], shown: Shown, point: str | None
) -> dict[str, Any]:
    """Curves, bars, and size against score; grouped by the tag `point`, whose values name the groups; None: of runs."""
    groups = point and {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": point}]}
    scores = [shown.best, *(["test/accuracy"] if shown.with_test else [])]
    charts = [
        *(_line(name) for name in ("val/loss", "val/accuracy", "train/loss")),
        *(_bar(name) for name in scores),
        _scatter("model/params", shown.best),
    ]
    grouping = {"groupBy": groups, "useGroupedValuesInCharts": groups is not None}
    return _state(query, columns, order) | grouping | _layout(charts, columns=2, height_px=320)


SECTION = "hcr"
OTHERS = ("best", "model", "sweep", "test", "time", "train", "val")  # first words of metrics' names


def _layout(charts: Sequence[dict[str, Any]], *, columns: int, height_px: int) -> dict[str, Any]:
    """One open section with these charts. MLflow adds a chart of every other metric, in sections that are folded."""
    open_one = {"uuid": SECTION, "name": "Comparison", "display": True, "columns": columns, "cardHeight": height_px}
    folded = [{"uuid": f"{SECTION}-{name}", "name": name, "display": False} for name in OTHERS]
    return {
        "hideEmptyCharts": True,
        "isAccordionReordered": True,
        "runsHiddenMode": "SHOW_ALL",
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0},
        "compareRunSections": [{**section, "isReordered": True} for section in (open_one, *folded)],
        "compareRunCharts": [
            {"uuid": f"{SECTION}-{number}", "metricSectionId": SECTION, "deleted": False, "isGenerated": False, **chart}
            for number, chart in enumerate(charts)
        ],
    }


def _line(metric: str) -> dict[str, Any]:
    return {
        "type": "LINE",
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "scaleType": "log" if metric.endswith("loss") else "linear",
        "xAxisKey": "step",
        "lineSmoothness": 0,
        "runsCountToCompare": 100,
    }


def _bar(metric: str) -> dict[str, Any]:
    return {"type": "BAR", "metricKey": metric, "runsCountToCompare": 100}


def _scatter(x: str, y: str) -> dict[str, Any]:
    axes = {"xaxis": {"key": x, "type": "METRIC"}, "yaxis": {"key": y, "type": "METRIC"}}
    return {"type": "SCATTER", "runsCountToCompare": 100, **axes}


def _parallel(params: Sequence[str], shown: Shown) -> dict[str, Any]:
    return {
        "type": "PARALLEL",
        "selectedParams": list(params),
        "selectedMetrics": [shown.best],
        "showAllRuns": True,
        "runsCountToCompare": 1000,
    }
