"""The status of runs on disk, from their journals and locks: alive, ended, dead, uploaded."""

import json
import math
import os
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

from hcr.config.errors import TrackingError
from hcr.tracking.events import JOURNAL, UNBUNDLED, Event, first_event, read_events
from hcr.tracking.index import POSITION, IndexedRun, indexed_runs
from hcr.tracking.journal import end_dead_run
from hcr.tracking.lock import is_of_this_host, lock_run
from hcr.tracking.place import read_choice

ENDED = ("FINISHED", "REMOVED")  # a run that was killed before it deleted its checkpoints has finished all the same


def read_position(folder: Path) -> dict[str, Any]:
    """The upload position of the journal in `folder`.

    Returns:
        `offset`, `run_id`, `experiment_id`, `ended`, creation time of the `database`; empty if nothing was uploaded.
    """
    try:
        position = json.loads((folder / POSITION).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # missing or truncated: replaying from the start is safe
        return {}
    return position if isinstance(position, dict) else {}


def run_folders(root: Path) -> list[Path]:
    """The folders of all runs under the output root `root` that have a journal, sorted by key."""
    runs = root / "runs"
    try:
        names = sorted(os.listdir(runs))  # noqa: PTH208  # a Path for each name would take as long as the rest
    except OSError:
        return []
    return [runs / name for name in names if os.path.exists(f"{runs}/{name}/{JOURNAL}")]  # noqa: PTH110


def undelivered(root: Path) -> list[Path]:
    """The folders of the runs under the output root that are not completely uploaded."""
    return [run.folder for run in indexed_runs(root) if not run.is_delivered]


def end_dead_runs(root: Path) -> list[Path]:
    """Mark every run of this host FAILED whose process died without ending it; return their folders.

    A live run holds its lock and is skipped; so are the runs of other hosts.
    """
    ended = []
    for folder in [run.folder for run in indexed_runs(root) if not run.is_delivered and is_of_this_host(run.header)]:
        try:
            with lock_run(folder):
                if end_dead_run(folder):
                    ended.append(folder)
        except (OSError, TrackingError):  # alive, not writable, or damaged: `hcr sync` says which
            continue
    return ended


def is_ours(folder: Path) -> bool:
    """True if the run in `folder` belongs to this host, so that its lock says whether it is alive."""
    return is_of_this_host(first_event(folder))


def unfinished(root: Path) -> Iterator[tuple[Path, Event]]:
    """Yield the folders and first events of runs that can be resumed, newest first.

    They still have the scratch folder with their checkpoints; a finished run has none.
    """
    found = []
    for run in indexed_runs(root):
        folder, scratch = run.folder, run.header.get("scratch")
        if scratch is None or run.status in ENDED or not (folder / Path(str(scratch)).name).is_dir():
            continue
        try:
            events = [event for event, _ in read_events(folder)]
        except (OSError, TrackingError):
            continue
        if events[-1].get("status") not in ENDED:
            found.append((run.begun_ms, folder, events[0]))
    for _, folder, header in sorted(found, key=lambda row: row[0], reverse=True):
        yield folder, header


def finished_runs(root: Path, *, uri: str, experiment: str, without: Container[str] = frozenset()) -> dict[str, Path]:
    """The folders of the finished runs under the output root, by fingerprint, of one store and experiment.

    A run that came in a bundle is left out: nobody here has seen that its numbers are those of its config.

    Args:
        without: keys of runs to leave out, such as deleted ones.
    """
    found = {}
    for run in indexed_runs(root):
        mark = run.tags.get("hcr.fingerprint")
        if mark is not None and run.key not in without and _is_finished(run, uri, experiment):
            found[mark] = run.folder
    return found


def finished_with(fingerprint: str, root: Path, *, uri: str, experiment: str) -> list[Path]:
    """The folders of the finished runs with this fingerprint, of one store and experiment, sorted by key."""
    same = [run for run in indexed_runs(root) if run.tags.get("hcr.fingerprint") == fingerprint]
    return [run.folder for run in same if _is_finished(run, uri, experiment)]


def _is_finished(run: IndexedRun, uri: str, experiment: str) -> bool:
    is_here = run.header.get("experiment") == experiment and run.store == uri
    return run.status == "FINISHED" and is_here and UNBUNDLED not in run.header


def earlier_uris(root: Path, uri: str) -> list[str]:
    """The earlier URIs of the store at `uri`, from before its output root was moved, by the journals of sweeps."""
    found = set()
    for run in indexed_runs(root):
        if "hcr.sweep_id" in run.tags and run.header.get("uri") != uri and run.store == uri:
            found.add(str(run.header["uri"]))
    return sorted(found)


def run_labels(root: Path) -> list[tuple[str, str]]:
    """Key and name of every run under the output root `root`, newest first, from the journals.

    A run whose journal has no readable first event is left out.
    """
    found = [(run.begun_ms, run.key, str(run.header["name"])) for run in indexed_runs(root) if "name" in run.header]
    return [(key, name) for _, key, name in sorted(found, reverse=True)]


def test_accuracy(folder: Path) -> float | None:
    """Test accuracy of the run in `folder`, in [0, 1]; None if test was not scored."""
    for event, _ in read_events(folder):
        if event["event"] == "metrics" and "test/accuracy" in event["values"]:
            return float(event["values"]["test/accuracy"])
    return None


def is_delivered(folder: Path) -> bool:
    """True if the complete journal in `folder`, with its end, is uploaded, or its upload was given up."""
    if read_choice(folder).get("forgotten"):
        return True
    position = read_position(folder)
    try:
        return bool(position.get("ended")) and position.get("offset") == (folder / JOURNAL).stat().st_size
    except OSError:  # it was deleted in the meantime
        return True


def oldest_first(folders: Sequence[Path]) -> list[Path]:
    """Sort runs by their start: a parent begins before its children, or in the same millisecond, and is uploaded first.

    A journal with a damaged first line comes last; the upload reports it. An empty journal is left out.
    """
    begun: list[tuple[float, bool, Path]] = []
    for folder in folders:
        try:
            first = next(read_events(folder), None)
        except (OSError, TrackingError):
            begun.append((math.inf, False, folder))
            continue
        if first is not None:
            begun.append((first[0]["time_ms"], first[0].get("parent") is not None, folder))
    return [folder for *_, folder in sorted(begun)]
