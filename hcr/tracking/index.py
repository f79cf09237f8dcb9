"""The index of an output root: what every journal under it says in short, so that a question about few runs reads few.

`<output root>/index.json` is derived from the journals, which stay the only record. A row is used only as long as the
run's journal and folder have the size and the times that they had when it was read; other rows are read again. If the
file is missing, damaged or cannot be written, everything is read from the journals.
"""

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from hcr.tracking.events import JOURNAL, UNBUNDLED, Event
from hcr.tracking.place import read_choice, store_of_choice

INDEX = "index.json"
VERSION = 1
SETTLED_NS = 10_000_000_000  # a file changed more recently may change again without another time
MOST_STALE = 50  # rows that are read again each time; with more, the file is written
POSITION = "delivered.json"
BEST, REUSED_BY = "best/", "hcr.reused_by."
TAGS = ("hcr.kind", "hcr.sweep_id", "hcr.sweep_run", "hcr.fingerprint", "hcr.dataset_digest")  # of the first event


@dataclass(frozen=True, kw_only=True)
class IndexedRun:
    """A run, by its journal and the small files beside it.

    Attributes:
        folder: the run's; its name is the key.
        header: some values of its first event: time_ms, name, parent, uri, experiment, root, host, boot, scratch,
            unbundled, tags; empty if it cannot be read.
        status: of its last event; None if that does not end the run.
        has_ended: its last event ends it.
        best: the last value of each metric that begins with "best/".
        reused_by: keys of the parent runs of sweeps that reuse it.
        run_id: its id in the store; None before its upload.
        is_delivered: it is completely uploaded, or its upload was given up.
        choice: as `read_choice` returns it.
    """

    folder: Path
    header: Event = field(default_factory=dict)
    status: str | None = None
    has_ended: bool = False
    best: dict[str, float] = field(default_factory=dict)
    reused_by: list[str] = field(default_factory=list)
    run_id: str | None = None
    is_delivered: bool = False
    choice: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The run's key."""
        return self.folder.name

    @property
    def tags(self) -> dict[str, str]:
        """Those of TAGS that its first event has."""
        return dict(self.header.get("tags", {}))

    @property
    def begun_ms(self) -> int:
        """When it started; events that are added later do not make it newer."""
        return int(self.header.get("time_ms", 0))

    @property
    def is_removed(self) -> bool:
        """True if the user removed it."""
        return self.status == "REMOVED"

    @property
    def store(self) -> str:
        """The URI of the store that it belongs to, as `store_of` finds it."""
        return store_of_choice(self.folder, self.choice, self.header)


_kept: dict[Path, dict[str, tuple[list[int], IndexedRun]]] = {}  # rows by output root and key, with their marks


def indexed_runs(root: Path) -> list[IndexedRun]:
    """Every run under the output root `root` that has a journal, sorted by key."""
    known = _kept.get(root)
    if known is None:
        known = _read_index(root)
    rows: dict[str, tuple[list[int], IndexedRun]] = {}
    stale = 0
    now_ns = time.time_ns()
    for folder, mark in _marks(root):
        row = known.get(folder.name)
        if row is None or row[0] != mark:
            is_settled = max(mark[1:]) < now_ns - SETTLED_NS
            row = (mark if is_settled else [], _read_run(folder))
            stale += 1
        rows[folder.name] = row
    _kept[root] = rows
    if stale > MOST_STALE:
        _write_index(root, rows)
    return [rows[key][1] for key in sorted(rows)]


def _marks(root: Path) -> Iterator[tuple[Path, list[int]]]:
    """The folder of each run with what changes when its files do: size and time of the journal, time of the folder."""
    try:
        entries = os.scandir(root / "runs")
    except OSError:
        return
    with entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # no run, or removed in the meantime
                journal = os.stat(f"{entry.path}/{JOURNAL}")  # noqa: PTH116  # a Path would take as long as the call
                mark = [journal.st_size, journal.st_mtime_ns, entry.stat().st_mtime_ns]
                yield Path(entry.path), mark


def _read_run(folder: Path) -> IndexedRun:
    """The row of the run in `folder`, from its files."""
    try:
        data = (folder / JOURNAL).read_bytes()
    except OSError:
        data = b""
    lines = data.split(b"\n")[:-1]  # a last line without a newline is still being written
    first, last = (_event(lines[0]), _event(lines[-1])) if lines else ({}, {})
    best: dict[str, float] = {}
    reused_by = [name for name in first.get("tags", {}) if name.startswith(REUSED_BY)]
    for line in lines[1:]:
        if b'"best/' in line or b'"hcr.reused_by.' in line:
            event = _event(line)
            values = event.get("values", {})
            if event.get("event") == "metrics":
                best |= {name: float(value) for name, value in values.items() if name.startswith(BEST)}
            elif event.get("event") == "tags":
                reused_by += [name for name in values if name.startswith(REUSED_BY)]
    position, choice = _read_json(folder / POSITION), read_choice(folder)
    kept = ("time_ms", "name", "parent", "uri", "experiment", "root", "host", "boot", "scratch", UNBUNDLED)
    header = {name: first[name] for name in kept if name in first}
    if header:
        tags = first.get("tags", {})
        header["tags"] = {name: tags[name] for name in TAGS if name in tags}
    is_complete = bool(position.get("ended")) and position.get("offset") == len(data)
    return IndexedRun(
        folder=folder,
        header=header,
        status=last.get("status"),
        has_ended=last.get("event") == "end",
        best=best,
        reused_by=[name.removeprefix(REUSED_BY) for name in reused_by],
        run_id=position.get("run_id"),
        is_delivered=is_complete or bool(choice.get("forgotten")),
        choice=choice,
    )


def _event(line: bytes) -> Event:
    """The event on a line of a journal; empty if the line is damaged."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) and "event" in event else {}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _read_index(root: Path) -> dict[str, tuple[list[int], IndexedRun]]:
    """The rows of the file; none if it is missing, damaged or of another version."""
    found = _read_json(root / INDEX)
    if found.get("version") != VERSION:
        return {}
    runs = root / "runs"
    try:
        return {key: (mark, IndexedRun(folder=runs / key, **row)) for key, (mark, row) in found["runs"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _write_index(root: Path, rows: dict[str, tuple[list[int], IndexedRun]]) -> None:
    """Write the rows of files that will not change unnoticed, all at once; a folder that cannot be written stays."""
    content = {key: (mark, {name: getattr(row, name) for name in _FIELDS}) for key, (mark, row) in rows.items() if mark}
    with contextlib.suppress(OSError):
        handle, name = tempfile.mkstemp(prefix=f".{INDEX}-", dir=root)  # its owner's: a URI may hold a password
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(json.dumps({"version": VERSION, "runs": content}))  # faster than json.dump
            Path(name).replace(root / INDEX)
        except BaseException:
            Path(name).unlink()
            raise


_FIELDS = tuple(each.name for each in fields(IndexedRun) if each.name != "folder")
