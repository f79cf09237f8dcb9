"""RUN, as the verbs take it, looked up: in the journals of this machine first, then in the store."""

import math
import os
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

from hcr.config.errors import TrackingError, one_line
from hcr.config.secrets import redact
from hcr.config.tracking import sqlite_path, tracking_uri
from hcr.tracking.events import JOURNAL, WITH_MODEL, best_metric, first_event, kind_of, read_events
from hcr.tracking.index import IndexedRun, indexed_runs
from hcr.tracking.status import run_labels
from hcr.tracking.stored import MODELS, StoredRun, find_stored, stored_names

EXPECTED = "expected a key, a unique prefix of one, a run id, a run name, latest, best, or models:/NAME@ALIAS"
WORDS = ("latest", "best")  # that mean a run
MOST_NAMED = 5  # runs in a message
MOST_COMPARED = 500  # runs whose names are compared with a misspelled one
CLOSE = 0.75  # similarity, from 0 to 1, of a misspelled name


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
        name: a key, a unique prefix of a key, an MLflow run id, a run name, the id of a sweep (its parent run), or

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
    if name in WORDS:
        runs = indexed_runs(root)
        latest = _latest(runs)
        return latest if latest is None or name == "latest" else _best(runs, latest)
    found = _with_key(root, name)
    if not found:
        runs = indexed_runs(root)
        found = [run.folder for run in runs if run.run_id == name]
        found = found or [run.folder for run in runs if run.header.get("name") == name and not run.is_removed]
        of_sweep = _newest([run for run in runs if run.tags.get("hcr.sweep_id") == name and not run.is_removed])
        found = found or [folder for folder in (of_sweep,) if folder is not None]
    if len(found) > 1:
        raise several(name, [folder.name for folder in found])
    return found[0] if found else None


def latest_sweep(root: Path) -> Path:
    """The folder of the parent run of the sweep under the output root that was written last.

    Raises:
        TrackingError: there is none.
    """
    sweeps = [run for run in indexed_runs(root) if kind_of(run.tags) == "sweep" and not run.is_removed]
    found = _newest(sweeps)
    if found is None:
        raise TrackingError(f"no sweep under {root / 'runs'}; `hcr train -m` makes one")
    return found


def latest_of_all(root: Path) -> Path | None:
    """The folder of what was started last under the output root, a run with a model or a whole sweep; None: neither."""
    kinds = (*WITH_MODEL, "sweep")
    alone = [run for run in indexed_runs(root) if run.header.get("parent") is None and kind_of(run.tags) in kinds]
    return _newest([run for run in alone if not run.is_removed])


def several(name: str, keys: list[str]) -> TrackingError:
    """The error for a name that several runs have."""
    listed = ", ".join(sorted(keys)[:MOST_NAMED])
    return TrackingError(f"{name!r} matches {len(keys)} runs ({listed}); expected the key of one")


def _with_key(root: Path, name: str) -> list[Path]:
    """The folder of the run whose key is `name`, or of each run whose key begins with it."""
    runs = root / "runs"
    if name in ("", ".", "..") or Path(name).name != name:
        return []
    if (runs / name / JOURNAL).exists():
        return [runs / name]
    try:
        keys = sorted(key for key in os.listdir(runs) if key.startswith(name))  # noqa: PTH208  # as in `run_folders`
    except OSError:
        return []
    return [runs / key for key in keys if (runs / key / JOURNAL).exists()]


def _newest(runs: Sequence[IndexedRun]) -> Path | None:
    """The folder of the run that started last; of several the one with the first key."""
    return max(runs, key=lambda run: run.begun_ms).folder if runs else None


def _latest(runs: Sequence[IndexedRun]) -> Path | None:
    return _newest([run for run in runs if kind_of(run.tags) in WITH_MODEL and not run.is_removed])


def _best(runs: Sequence[IndexedRun], latest: Path) -> Path:
    """The best of the runs on the data of the run `latest`, by the metric that it monitors; of equal ones the first."""
    data = first_event(latest).get("tags", {}).get("hcr.dataset_digest")
    params = (event["values"] for event, _ in read_events(latest) if event["event"] == "params")
    monitor = next((values["monitor"] for values in params if "monitor" in values), None)
    metric, choose = best_metric(monitor)
    values = {}
    for run in runs:
        is_candidate = kind_of(run.tags) in WITH_MODEL and run.tags.get("hcr.dataset_digest") == data
        if is_candidate and run.status == "FINISHED":
            value = run.best.get(metric, math.nan)
            if math.isfinite(value):
                values[run.folder] = (value, run.begun_ms)
    if data is None or not values:
        raise TrackingError(
            f"best: expected a finished run on the data of the latest run, {latest.name}; there is none"
        )
    best = choose(value for value, _ in values.values())
    equal = [(begun_ms, folder.name, folder) for folder, (value, begun_ms) in values.items() if value == best]
    return min(equal)[2]


def _find_in_store(root: Path, name: str) -> Path | StoredRun:
    uri = tracking_uri(None)
    where = f"under {root / 'runs'}"
    near = None if name in WORDS else closest(name, _names(root))
    if uri.startswith("sqlite:") and not sqlite_path(uri).exists():
        raise TrackingError(f"no run {name!r} {where}; {_remedy(name, near)}")
    try:
        found = find_stored(uri, name)
        if not found and near is None and name not in WORDS:
            near = closest(name, stored_names(uri))
    except TrackingError:
        raise
    except Exception as error:  # any error of the store
        why = f"the store at {redact(uri)} cannot be asked ({one_line(error)})"
        raise TrackingError(f"no run {name!r} {where}, and {why}") from error
    if not found:
        raise TrackingError(f"no run {name!r} {where} or in the store at {redact(uri)}; {_remedy(name, near)}")
    if len(found) > 1:
        raise several(name, [run.key for run in found])
    here = [run.folder for run in indexed_runs(root) if run.run_id == found[0].run_id]
    return here[0] if here else found[0]


def closest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that `name` may be a misspelling of; None if none is close."""
    near = get_close_matches(name, dict.fromkeys(names), n=1, cutoff=CLOSE)
    return near[0] if near else None


def _names(root: Path) -> list[str]:
    """What the newest runs of this machine can be called, and the words that mean a run."""
    return [*WORDS, *(word for label in run_labels(root)[:MOST_COMPARED] for word in label)]


def _remedy(name: str, near: str | None) -> str:
    if name in WORDS:
        return "`hcr train` records one"
    return EXPECTED if near is None else f"did you mean {near!r}?"
