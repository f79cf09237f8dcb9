"""Which runs are alive, which have ended, and which only seem to run: the journals and their locks know."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hcr.config.errors import TrackingError
from hcr.tracking.journal import JOURNAL, Event, end_dead_run, is_of_this_host, last_event, lock_run, read_events

POSITION = "delivered.json"


def read_position(folder: Path) -> dict[str, Any]:
    """How far the journal in `folder` has been delivered: `offset`, `run_id`, `ended`."""
    try:
        position = json.loads((folder / POSITION).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or cut short: replaying from the start does no harm
        return {}
    return position if isinstance(position, dict) else {}


def undelivered(root: Path) -> list[Path]:
    """The folders of the runs under the output root whose end is not in the store yet."""
    return [path.parent for path in (root / "runs").glob(f"*/{JOURNAL}") if not is_delivered(path.parent)]


def end_dead_runs(root: Path) -> list[Path]:
    """End as FAILED every run whose process is gone without having ended it; the folders of these.

    The lock tells: a run that is alive holds it, on this host, and is left alone; so are the runs of other hosts.
    """
    ended = []
    for folder in filter(is_ours, undelivered(root)):
        try:
            with lock_run(folder):
                if end_dead_run(folder):
                    ended.append(folder)
        except (OSError, TrackingError):  # alive, not ours to write, or damaged: `hcr sync` says which
            continue
    return ended


def is_ours(folder: Path) -> bool:
    """Whether the run in `folder` is of this host, so that its lock tells whether it is alive."""
    return is_of_this_host(first_event(folder))


def unfinished(root: Path) -> Iterator[tuple[Path, Event]]:
    """Runs that can be resumed, newest first, each with its first event: they have the folder of their checkpoints.

    A run that has finished has it no more.
    """
    found = []
    for folder in (path.parent for path in (root / "runs").glob(f"*/{JOURNAL}")):
        header = first_event(folder)
        scratch = header.get("scratch")
        if scratch is None or not (folder / Path(str(scratch)).name).is_dir():
            continue
        try:
            events = [event for event, _ in read_events(folder)]
        except (OSError, TrackingError):
            continue
        if events[-1].get("status") != "FINISHED":  # killed before it took its checkpoints away
            found.append((int(header["time_ms"]), folder, header))
    for _, folder, header in sorted(found, key=lambda row: row[0], reverse=True):
        yield folder, header


def finished_runs(root: Path, *, uri: str, experiment: str) -> dict[str, Path]:
    """The folders of the runs under the output root that have finished in one experiment of a store, by fingerprint."""
    found = {}
    for folder in sorted(path.parent for path in (root / "runs").glob(f"*/{JOURNAL}")):
        header = first_event(folder)
        mark = header.get("tags", {}).get("hcr.fingerprint")
        is_here = (header.get("uri"), header.get("experiment")) == (uri, experiment)
        if mark is not None and is_here and last_event(folder).get("status") == "FINISHED":
            found[str(mark)] = folder
    return found


def find_run(root: Path, name: str) -> Path:
    """The folder of the run under the output root that `name` means: a key, a unique prefix of one, a run id of
    MLflow's, a run name, or `latest`, which is none of a sweep's own.

    Raises:
        TrackingError: there is none, or there are several.
    """
    journals = [path.parent for path in (root / "runs").glob(f"*/{JOURNAL}")]
    if name == "latest":
        newest = sorted(journals, key=lambda folder: (folder / JOURNAL).stat().st_mtime, reverse=True)
        trained = (folder for folder in newest if "hcr.sweep_id" not in first_event(folder).get("tags", {}))
        if (latest := next(trained, None)) is not None:
            return latest
    found = [folder for folder in journals if folder.name == name]
    found = found or [folder for folder in journals if folder.name.startswith(name)]
    found = found or [folder for folder in journals if read_position(folder).get("run_id") == name]
    found = found or [folder for folder in journals if first_event(folder).get("name") == name]
    if len(found) == 1:
        return found[0]
    if not found:
        raise TrackingError(f"no run {name!r} under {root / 'runs'}; expected a key, a run id, a run name or latest")
    keys = ", ".join(sorted(folder.name for folder in found)[:5])
    raise TrackingError(f"{name!r} means {len(found)} runs ({keys}); expected the key of one")


def first_event(folder: Path) -> Event:
    """What the run in `folder` began with; nothing where its journal cannot be read."""
    try:
        return next(read_events(folder))[0]
    except (OSError, StopIteration, TrackingError):
        return {}


def is_delivered(folder: Path) -> bool:
    """Whether the whole journal in `folder`, its end too, is in the store."""
    position = read_position(folder)
    try:
        return bool(position.get("ended")) and position.get("offset") == (folder / JOURNAL).stat().st_size
    except OSError:  # it has been taken away in between
        return True
