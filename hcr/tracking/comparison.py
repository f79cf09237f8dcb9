"""Comparison of a run's journal with its run in MLflow."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hcr.tracking.events import ARTIFACTS, LONGEST_DIGEST, read_events
from hcr.tracking.logged_model import MLMODEL, outputs_of
from hcr.tracking.pages import views_tag
from hcr.tracking.views import TAG, VIEWS, key_of

if TYPE_CHECKING:
    from mlflow.entities import FileInfo, Run
    from mlflow.tracking import MlflowClient

MOST_NAMED = 3
NO_VIEWS = views_tag({})
LARGEST = 1.7976931348623157e308  # MLflow stores this in place of an infinite value

Row = tuple[int, int, float]  # step, milliseconds since 1970, value


@dataclass
class JournalContents:
    """The contents of a run, by its journal.

    Attributes:
        status: "RUNNING" as long as the journal has no end.
        params: names.
        tags: last values by name.
        metrics: rows by name.
        datasets: name and digest, cut to the length that MLflow stores.
        artifacts: sizes in bytes by path, of the files that are on disk.
        model: the same of the run's model, by path inside its folder; empty if it has none, or its files are gone.
        of_model: (metric, step) of the metrics that measure the model.
        views: the texts of its views of MLflow's pages.
    """

    status: str = "RUNNING"
    params: set[str] = field(default_factory=set)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, set[Row]] = field(default_factory=dict)
    datasets: set[tuple[str, str]] = field(default_factory=set)
    artifacts: dict[str, int] = field(default_factory=dict)
    model: dict[str, int] = field(default_factory=dict)
    of_model: set[tuple[str, int]] = field(default_factory=set)
    views: set[str] = field(default_factory=set)


def read_contents(folder: Path) -> JournalContents:
    """Read the journal of the run in `folder`.

    Raises:
        OSError, TrackingError: the journal cannot be read, or is damaged.
    """
    contents = JournalContents()
    for event, _ in read_events(folder):
        kind = event["event"]
        if kind == "run":
            contents.tags |= event["tags"]
        elif kind == "params":
            contents.params |= set(event["values"])
        elif kind == "tags":
            contents.tags |= event["values"]
        elif kind == "metrics":
            for name, value in event["values"].items():
                contents.metrics.setdefault(name, set()).add((event["step"], event["time_ms"], _as_stored(value)))
            contents.of_model |= {(name, event["step"]) for name in event.get("of_model", {})}
        elif kind == "system":
            for step, (time_ms, values) in enumerate(event["samples"], start=event["step"]):
                for name, value in values.items():
                    contents.metrics.setdefault(name, set()).add((step, time_ms, _as_stored(value)))
        elif kind == "dataset":
            contents.datasets.add((event["name"], event["digest"][:LONGEST_DIGEST]))
        elif kind == "datasets":
            contents.datasets |= {(data["name"], data["digest"][:LONGEST_DIGEST]) for data in event["datasets"]}
        elif kind == "artifact":
            contents.artifacts |= _sizes(folder / ARTIFACTS, event["path"])
        elif kind == "model":
            contents.model = _sizes(folder / ARTIFACTS / event["path"], ".")
        elif kind == "views":
            contents.views = set(event["views"].values())
            contents.tags[VIEWS] = views_tag(event["views"])
        elif kind == "resume":
            contents.status = "RUNNING"
            contents.tags.pop("hcr.error", None)
        elif kind == "end":
            contents.status = event["status"]
    return contents


def missing(contents: JournalContents, run: "Run") -> list[str]:
    """Describe what `run`, as a search returns it, lacks. Of each metric only the last step is compared.

    Tags outside `hcr.` only have to exist: people may edit them.
    """
    lacks = []
    if run.info.status != contents.status:
        lacks.append(f"status {contents.status} (it has {run.info.status})")
    lacks += _listing("param", contents.params - run.data.params.keys())
    tags = run.data.tags
    if tags.get(VIEWS) == NO_VIEWS:  # the server refuses views
        tags = tags | {VIEWS: contents.tags.get(VIEWS, NO_VIEWS)}
    changed = {name for name, value in contents.tags.items() if name.startswith("hcr.") and tags.get(name) != value}
    lacks += _listing("tag", changed | (contents.tags.keys() - tags.keys()))
    latest = {metric.key: metric.step for metric in run.data._metric_objs}
    absent = {name for name, rows in contents.metrics.items() if latest.get(name, -math.inf) < max(rows)[0]}
    lacks += _listing("metric", absent)
    inputs = run.inputs.dataset_inputs if run.inputs is not None else []
    there = {(entry.dataset.name, entry.dataset.digest) for entry in inputs}
    lacks += _listing("data set", {name for name, _ in contents.datasets - there})
    return lacks + (["its model"] if contents.model and not outputs_of(run) else [])


def missing_inside(contents: JournalContents, run: "Run", client: "MlflowClient") -> list[str]:
    """Describe the metric values, files, views and model that `run` lacks; a request for each metric and folder."""
    lacks = []
    for name, rows in sorted(contents.metrics.items()):
        history = client.get_metric_history(run.info.run_id, name)
        there = {(metric.step, metric.timestamp, _as_stored(metric.value)) for metric in history}
        if gone := rows - there:
            lacks.append(f"{len(gone)} of {len(rows)} values of metric {name}")
    tops = {Path(path).parts[0] for path in contents.artifacts}
    there_files = _list_files(partial(client.list_artifacts, run.info.run_id), tops)
    lacks += _listing("artifact", _differing(contents.artifacts, there_files))
    if contents.views and run.data.tags.get(VIEWS) != NO_VIEWS:
        tags = client.get_experiment(run.info.experiment_id).tags
        num_gone = sum(tags.get(f"{TAG}{key_of(text)}") != text for text in contents.views)
        lacks += [f"{num_gone} of {len(contents.views)} views"] if num_gone else []
    # A run has several models if one was deleted and uploaded again.
    of_models = [_missing_of_model(contents, client, id) for id in outputs_of(run) if contents.model]
    return lacks + min(of_models, key=len, default=[])


def _missing_of_model(contents: JournalContents, client: "MlflowClient", model_id: str) -> list[str]:
    from mlflow.exceptions import MlflowException

    try:
        model = client.get_logged_model(model_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return [f"its model {model_id}"]
    # The MLmodel file got the ids of run and model when it was uploaded.
    own = {path: size for path, size in contents.model.items() if path != MLMODEL}
    there = _list_files(
        partial(client.list_logged_model_artifacts, model_id), {Path(p).parts[0] for p in contents.model}
    )
    lacks = _listing("file", _differing(own, there) | (set() if MLMODEL in there else {MLMODEL}))
    linked = {(metric.key, metric.step) for metric in model.metrics or []}
    lacks += _listing("metric", {name for name, _ in contents.of_model - linked})
    lacks += [] if str(model.status) == "READY" else ["its end"]
    return [f"of its model: {lack}" for lack in lacks]


def _differing(sizes: Mapping[str, int], there: Mapping[str, int | None]) -> set[str]:
    """The files that are not there, or with another size."""
    return {path for path, size in sizes.items() if there.get(path, -1) not in (size, None)}


def _as_stored(value: float) -> float:
    """The value as MLflow stores it."""
    if math.isnan(value):
        return 0.0  # MLflow stores a flag beside it
    return max(-LARGEST, min(LARGEST, value))


def _sizes(root: Path, path: str) -> dict[str, int]:
    target = root / path
    files = (file for file in target.rglob("*") if file.is_file()) if target.is_dir() else (target,)
    # A file that is gone from the disk cannot be uploaded.
    return {file.relative_to(root).as_posix(): file.stat().st_size for file in files if file.is_file()}


def _list_files(list_folder: "Callable[[str | None], list[FileInfo]]", tops: set[str]) -> dict[str, int | None]:
    """The files that the store has at `tops` and below, with their sizes if it knows them."""
    found: dict[str, int | None] = {}
    folders: list[str | None] = [None]
    while folders:
        for entry in list_folder(folders.pop()):
            if entry.path.split("/")[0] not in tops:
                continue
            if entry.is_dir:
                folders.append(entry.path)
            else:
                found[entry.path] = entry.file_size
    return found


def _listing(what: str, names: set[str]) -> list[str]:
    if not names:
        return []
    shown = ", ".join(sorted(names)[:MOST_NAMED])
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return [f"{what}{'s' if len(names) > 1 else ''} {shown}{more}"]
