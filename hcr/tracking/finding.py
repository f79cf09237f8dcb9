"""RUN, as the verbs take it, looked up: in the journals of this machine first, then in the store."""

import math
from pathlib import Path

from hcr.config.errors import TrackingError, one_line
from hcr.config.secrets import redact
from hcr.config.tracking import sqlite_path, tracking_uri
from hcr.tracking.events import (
    WITH_MODEL,
    best_metric,
    first_event,
    is_removed,
    kind_of,
    last_event,
    read_events,
)
from hcr.tracking.status import read_position, run_folders
from hcr.tracking.stored import MODELS, StoredRun, find_stored

EXPECTED = "expected a key, a unique prefix of one, a run id, a run name, latest, best, or models:/NAME@ALIAS"
MOST_NAMED = 5  # runs in a message


def find_run(root: Path, name: str) -> Path:
    """The folder of the run of this machine called `name`, as `look_up` finds it under the output root `root`.

    Raises:
        TrackingError: as `look_up`; or only the store has the run.
    """
    found = look_up(root, name)
    if isinstance(found, StoredRun):
        raise TrackingError(
            f"run {found.key} is only in the store at {redact(found.uri)}; expected a run whose folder is under"
            f" {root / 'runs'}"
        )
    return found


def look_up(root: Path, name: str) -> Path | StoredRun:
    """Find the run called `name`: its folder under the output root `root`, or in the store if only that has it.

    The store is that of MLFLOW_TRACKING_URI, or the default one.

    Args:
        name: a key, a unique prefix of a key, an MLflow run id, a run name, or

            latest            the training run or ensemble that was written last
            best              the one with the best monitored metric among those that finished on the data of the latest
            models:/NAME@ALIAS, models:/NAME/VERSION, models:/MODEL_ID    the run that made a model

    Raises:
        TrackingError: no run matches, or several do; or the store cannot be asked.
    """
    local = None if name.startswith(MODELS) else find_folder(root, name)
    return local if local is not None else _find_in_store(root, name)


def find_folder(root: Path, name: str) -> Path | None:
    """The folder of the run called `name` under the output root, by its journal; None if there is none.

    Raises:
        TrackingError: several match.
    """
    folders = run_folders(root)
    if name == "latest" and (latest := _latest(folders)) is not None:
        return latest
    if name == "best" and (latest := _latest(folders)) is not None:
        return _best(folders, latest)
    found = [folder for folder in folders if folder.name == name]
    found = found or [folder for folder in folders if name and folder.name.startswith(name)]
    found = found or [folder for folder in folders if read_position(folder).get("run_id") == name]
    found = found or [each for each in folders if first_event(each).get("name") == name and not is_removed(each)]
    if len(found) > 1:
        raise several(name, [folder.name for folder in found])
    return found[0] if found else None


def latest_sweep(root: Path) -> Path:
    """The folder of the parent run of the sweep under the output root that was written last.

    Raises:
        TrackingError: there is none.
    """
    folders = sorted(run_folders(root), key=_begun_ms, reverse=True)
    found = next((each for each in folders if kind_of(_tags(each)) == "sweep" and not is_removed(each)), None)
    if found is None:
        raise TrackingError(f"no sweep under {root / 'runs'}; `hcr train -m` makes one")
    return found


def latest_of_all(root: Path) -> Path | None:
    """The folder of what was started last under the output root, a run with a model or a whole sweep; None: neither."""
    newest = sorted(run_folders(root), key=_begun_ms, reverse=True)
    kinds = (*WITH_MODEL, "sweep")
    alone = (each for each in newest if first_event(each).get("parent") is None and kind_of(_tags(each)) in kinds)
    return next((each for each in alone if not is_removed(each)), None)


def several(name: str, keys: list[str]) -> TrackingError:
    """The error for a name that several runs have."""
    listed = ", ".join(sorted(keys)[:MOST_NAMED])
    return TrackingError(f"{name!r} matches {len(keys)} runs ({listed}); expected the key of one")


def _latest(folders: list[Path]) -> Path | None:
    newest = sorted(folders, key=_begun_ms, reverse=True)
    return next((each for each in newest if kind_of(_tags(each)) in WITH_MODEL and not is_removed(each)), None)


def _begun_ms(folder: Path) -> int:
    """When a run started; events that are added to it later do not make it the latest."""
    return int(first_event(folder).get("time_ms", 0))


def _best(folders: list[Path], latest: Path) -> Path:
    """The best of the runs on the data of the run `latest`, by the metric that it monitors; of equal ones the first."""
    data = _tags(latest).get("hcr.dataset_digest")
    params = (event["values"] for event, _ in read_events(latest) if event["event"] == "params")
    monitor = next((values["monitor"] for values in params if "monitor" in values), None)
    metric, choose = best_metric(monitor)
    values = {}
    for folder in folders:
        tags = _tags(folder)
        is_candidate = kind_of(tags) in WITH_MODEL and tags.get("hcr.dataset_digest") == data
        if is_candidate and last_event(folder).get("status") == "FINISHED":
            value = _last_value(folder, metric)
            if math.isfinite(value):
                values[folder] = value
    if data is None or not values:
        raise TrackingError(
            f"best: expected a finished run on the data of the latest run, {latest.name}; there is none"
        )
    best = choose(values.values())
    equal = [folder for folder, value in values.items() if value == best]
    return min(equal, key=lambda folder: (first_event(folder)["time_ms"], folder.name))


def _tags(folder: Path) -> dict[str, str]:
    return dict(first_event(folder).get("tags", {}))


def _last_value(folder: Path, metric: str) -> float:
    value = math.nan
    for event, _ in read_events(folder):
        if event["event"] == "metrics" and metric in event["values"]:
            value = float(event["values"][metric])
    return value


def _find_in_store(root: Path, name: str) -> Path | StoredRun:
    uri = tracking_uri(None)
    where = f"under {root / 'runs'}"
    if uri.startswith("sqlite:") and not sqlite_path(uri).exists():
        raise TrackingError(f"no run {name!r} {where}; {EXPECTED}")
    try:
        found = find_stored(uri, name)
    except TrackingError:
        raise
    except Exception as error:  # any error of the store
        why = f"the store at {redact(uri)} cannot be asked ({one_line(error)})"
        raise TrackingError(f"no run {name!r} {where}, and {why}") from error
    if not found:
        raise TrackingError(f"no run {name!r} {where} or in the store at {redact(uri)}; {EXPECTED}")
    if len(found) > 1:
        raise several(name, [run.key for run in found])
    here = [folder for folder in run_folders(root) if read_position(folder).get("run_id") == found[0].run_id]
    return here[0] if here else found[0]
