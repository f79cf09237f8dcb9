"""A run without its places: what of its folder goes into a bundle, and is the same on every machine."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hcr.config.errors import TrackingError, one_line
from hcr.tracking.events import ARTIFACTS, JOURNAL, Event, read_events
from hcr.tracking.journal import PLACES

PLAN = f"{ARTIFACTS}/plan.json"  # of a sweep; names its store
RUN_ID_OF_BEST = "hcr.best_run_id"  # a tag of a sweep: another store gives its runs other ids


def files_of(folder: Path) -> tuple[list[str], list[str]]:
    """The files that a run's journal names, by their paths in its folder; and those of the names that are gone.

    A file that the journal does not name was never completed, and is left out.

    Raises:
        TrackingError: the journal is damaged, or a name is a link.
    """
    named = [event["path"] for event, _ in read_events(folder) if event["event"] in ("artifact", "model")]
    found, gone = {JOURNAL}, set()
    for path in named:
        place = folder / ARTIFACTS / path
        if not place.exists():
            gone.add(path)
        for file in [place] if place.is_file() else place.rglob("*"):
            if file.is_symlink():
                raise TrackingError(f"{file}: expected a file of the run, got a link")
            if file.is_file():
                found.add(file.relative_to(folder).as_posix())
    return sorted(found), sorted(gone)


def portable_bytes(folder: Path, name: str) -> bytes | None:
    """The contents of the file `name` of a run without its places; None if they are those of the file itself."""
    if name == JOURNAL:
        return b"".join(_line(event) for event in portable_events(folder))
    if name == PLAN:
        try:
            return json.dumps(json.loads((folder / PLAN).read_text(encoding="utf-8")) | {"uri": ""}, indent=1).encode()
        except (ValueError, TypeError) as error:
            raise TrackingError(f"{folder / PLAN}: expected the plan of a sweep ({one_line(error)})") from error
    return None


def portable_events(folder: Path) -> Iterator[Event]:
    """The events of a run's journal, without its store, its machine and its folders."""
    for event, _ in read_events(folder):
        if event["event"] == "run":
            yield {name: value for name, value in event.items() if name not in PLACES}
        elif event["event"] == "tags":
            values = {name: value for name, value in event["values"].items() if name != RUN_ID_OF_BEST}
            if values:
                yield event | {"values": values}
        else:
            yield event


def placed_journal(portable: bytes, places: dict[str, Any]) -> bytes:
    """A portable journal at a place: `places` has values for `PLACES`."""
    first, rest = portable.split(b"\n", 1)
    return _line(json.loads(first) | places) + rest


def _line(event: Event) -> bytes:
    return (json.dumps(event) + "\n").encode()
