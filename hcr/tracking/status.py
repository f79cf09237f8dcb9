"""Which runs are alive, which have ended, and which only seem to run: the journals and their locks know."""

import json
import math
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

from hcr.config.errors import TrackingError
from hcr.tracking.events import JOURNAL, Event, first_event, last_event, read_events
from hcr.tracking.journal import end_dead_run
from hcr.tracking.lock import is_of_this_host, lock_run
from hcr.tracking.place import read_choice, store_of

POSITION = "delivered.json"


def read_position(folder: Path) -> dict[str, Any]:
    """How far the journal in `folder` is delivered: `offset`, `run_id`, `ended`, and when its `database` was made."""
    try:
        position = json.loads((folder / POSITION).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or cut short: replaying from the start does no harm
        return {}
    return position if isinstance(position, dict) else {}


def run_folders(root: Path) -> list[Path]:
    """The folders of all runs under the output root `root`, by key: each has a journal."""
    return sorted(path.parent for path in (root / "runs").glob(f"*/{JOURNAL}"))


def undelivered(root: Path) -> list[Path]:
    """The folders of the runs under the output root whose end is not in the store yet."""
    return [folder for folder in run_folders(root) if not is_delivered(folder)]


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
    for folder in run_folders(root):
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


def finished_runs(root: Path, *, uri: str, experiment: str, without: Container[str] = frozenset()) -> dict[str, Path]:
    """The folders of the runs under the output root that have finished in one experiment of a store, by fingerprint.

    Args:
        without: keys of runs that do not count, such as deleted ones.
    """
    found = {}
    for folder in run_folders(root):
        header = first_event(folder)
        mark = header.get("tags", {}).get("hcr.fingerprint")
        is_here = header.get("experiment") == experiment and store_of(folder, header) == uri
        if (
            mark is not None
            and is_here
            and folder.name not in without
            and last_event(folder).get("status") == "FINISHED"
        ):
            found[str(mark)] = folder
    return found


def earlier_uris(root: Path, uri: str) -> list[str]:
    """What the store at `uri` was called before the output root around it was moved, by the journals of sweeps."""
    found = set()
    for folder in run_folders(root):
        header = first_event(folder)
        is_sweep = "hcr.sweep_id" in header.get("tags", {})
        if is_sweep and header.get("uri") != uri and store_of(folder, header) == uri:
            found.add(str(header["uri"]))
    return sorted(found)


def find_run(root: Path, name: str) -> Path:
    """The folder of the run under the output root that `name` means: a key, a unique prefix of one, a run id of
    MLflow's, a run name, or `latest`, which is none of a sweep's own.

    Raises:
        TrackingError: there is none, or there are several.
    """
    journals = run_folders(root)
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


def run_labels(root: Path) -> list[tuple[str, str]]:
    """Key and name of every run under the output root `root`, newest first; read from the journals alone.

    A folder whose journal has no readable first event is left out.
    """
    found = []
    for folder in run_folders(root):
        try:
            event, _ = next(read_events(folder))
            found.append((int(event["time_ms"]), str(event["key"]), str(event["name"])))
        except (OSError, StopIteration, TrackingError, KeyError):
            continue
    return [(key, name) for _, key, name in sorted(found, reverse=True)]


def test_accuracy(folder: Path) -> float | None:
    """Test accuracy of the run in `folder`; None where test was not scored."""
    for event, _ in read_events(folder):
        if event["event"] == "metrics" and "test/accuracy" in event["values"]:
            return float(event["values"]["test/accuracy"])
    return None


def is_delivered(folder: Path) -> bool:
    """Whether the whole journal in `folder`, its end too, has been delivered, or shall never be."""
    if read_choice(folder).get("forgotten"):
        return True
    position = read_position(folder)
    try:
        return bool(position.get("ended")) and position.get("offset") == (folder / JOURNAL).stat().st_size
    except OSError:  # it has been taken away in between
        return True


def oldest_first(folders: Sequence[Path]) -> list[Path]:
    """A parent begins before its children, so it is there when they are delivered. A journal that is damaged from
    its first line on comes last, and is told when it is tried; one without a line is left out."""
    begun: list[tuple[float, Path]] = []
    for folder in folders:
        try:
            first = next(read_events(folder), None)
        except (OSError, TrackingError):
            begun.append((math.inf, folder))
            continue
        if first is not None:
            begun.append((first[0]["time_ms"], folder))
    return [folder for _, folder in sorted(begun)]
