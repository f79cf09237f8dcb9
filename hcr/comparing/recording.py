"""A comparison recorded as a run of its own, once, and found again from each run that it compares."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from hcr.card import LONGEST, plain, shortened
from hcr.comparing.page import page
from hcr.comparing.pictures import Drawn
from hcr.comparing.story import Compare
from hcr.comparing.tables import as_csv, as_json, difference_of
from hcr.comparing.words import told_images
from hcr.config import TrackingError
from hcr.config.errors import one_line
from hcr.config.secrets import redact
from hcr.config.tracking import TrackingConfig, output_root, tracking_uri
from hcr.record import record_text, source_tags, writing
from hcr.tracking.described import description_of
from hcr.tracking.ended import upload_added
from hcr.tracking.events import DESCRIPTION, KIND, first_event, last_event, read_events
from hcr.tracking.journal import Journal, add_events
from hcr.tracking.known import ask, deleted_keys
from hcr.tracking.lock import lock_ended_run, lock_run
from hcr.tracking.place import store_of
from hcr.tracking.session import recorded
from hcr.tracking.status import is_delivered, read_position

COMPARES = "hcr.compares"  # tag of a comparison: the keys of the runs, side by side, " against " between sides
COMPARED = "hcr.compared"  # tag of a compared run: the keys of its comparisons, the latest last
PAGE, TABLE, NUMBERS = "comparison/comparison.html", "comparison/comparison.csv", "comparison/comparison.json"
MOST_KEPT = 300  # keys in a tag: MLflow stores 5,000 characters
LONGEST_NAME, LONGEST_SENTENCE = 120, 400  # characters


def tracking_of(compared: Compare) -> TrackingConfig:
    """Where the comparison is recorded: where the first side's first run is."""
    run = compared.sides[0].runs[0]
    if run.folder is None:
        return run.cfg.tracking.replace(uri=tracking_uri(None), run_name=None)
    header = first_event(run.folder)
    return run.cfg.tracking.replace(
        uri=store_of(run.folder, header), experiment_name=header["experiment"], run_name=None
    )


def key_of(compared: Compare, tracking: TrackingConfig) -> str:
    """The key of the comparison's run, from what is compared and what was found: the same again has the same key.

    A comparison that was removed, or deleted in MLflow, is not brought back: the same again has another key then.
    """
    sides = [sorted(side.keys) for side in compared.sides]
    content = [sides, compared.part, str(compared.found.kind), compared.found.verdict()]
    uri = tracking_uri(tracking.uri)
    root, number = output_root(), 0
    while True:
        digest = hashlib.sha256(json.dumps(["compare", number, *content]).encode()).hexdigest()
        key = "abcdef"[int(digest[0], 16) % 6] + digest[1:12]  # as `Journal` has it: begins with a letter
        if key not in deleted_keys(root, uri, ask(uri, tracking.timeout_s, {key: None})):
            return key
        number += 1


def is_recorded(key: str) -> bool:
    """True if the comparison with this key has been recorded to its end."""
    return last_event(output_root() / "runs" / key).get("status") == "FINISHED"


def record(compared: Compare, drawn: Drawn, tracking: TrackingConfig, key: str, command: str) -> None:
    """Record the comparison as the run `key`; one that was interrupted is completed.

    Raises:
        TrackingError: another process records it, or it cannot be written.
    """
    folder = output_root() / "runs" / key
    with recorded(tracking) as journal, writing(journal):
        _begin(journal, compared, folder, key, command)
        journal.params(_params(compared))
        journal.metrics(_metrics(compared), step=0)
        journal.tags({DESCRIPTION: _card(compared, command)})
        for path, data in drawn.png.items():
            journal.artifact(path).write_bytes(data)
            journal.artifact_written(path)
        record_text(journal, PAGE, page(compared, drawn, command, key))
        record_text(journal, TABLE, as_csv(compared))
        record_text(journal, NUMBERS, json.dumps(as_json(compared, key), indent=2, allow_nan=False) + "\n")


def point_back(compared: Compare, key: str) -> list[str]:
    """Have every compared run name the comparison in a tag, and link it in its description; once.

    Returns:
        What could not be done, one line each.
    """
    sentence = f"{' against '.join(compared.labels)}: {'; '.join(compared.found.verdict())}"
    run_id = read_position(output_root() / "runs" / key).get("run_id")
    notes, runs = [], {run.key: run.folder for side in compared.sides for run in side.runs}
    runs |= {side.sweep.name: side.sweep for side in compared.sides if side.sweep is not None}
    for name, folder in runs.items():
        if folder is None:
            notes.append(f"only the store has run {name}, so it does not name this comparison")
            continue
        try:
            if not _points(folder, key, run_id):
                with _held(folder):
                    _add_pointer(folder, key, run_id, sentence)
            if not is_delivered(folder):
                upload_added(folder)
        except TrackingError as error:
            notes.append(one_line(error))
    return notes


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    try:
        lock = lock_ended_run(folder)
    except BlockingIOError:
        raise TrackingError(f"run {folder.name} is alive, so it does not name this comparison") from None
    with lock:
        if last_event(folder).get("event") != "end":
            raise TrackingError(f"run {folder.name} has not ended, so it does not name this comparison")
        yield


def _points(folder: Path, key: str, run_id: str | None) -> bool:
    """True if the run in `folder` names the comparison and has linked it."""
    tags = _tags(folder)
    is_linked = run_id is None or f"(#/runs/{run_id})" in tags.get(DESCRIPTION, [""])[-1]
    return is_linked and key in tags.get(COMPARED, [""])[-1].split()


def _add_pointer(folder: Path, key: str, run_id: str | None, sentence: str) -> None:
    """Add what the run lacks: the key to its tag, the link to its description."""
    known = _tags(folder).get(COMPARED, [""])[-1].split()
    tags: dict[str, str] = {}
    if key not in known:
        tags[COMPARED] = " ".join([*known, key][-MOST_KEPT:])
    if run_id is not None:
        link, description = f"(#/runs/{run_id})", description_of(folder)
        line = f"**Compared:** [{plain(sentence, LONGEST_SENTENCE)}]{link}"
        whole = f"{description}\n\n{line}" if description else line
        if link not in description and len(whole) <= LONGEST:  # else the tag alone names it
            tags[DESCRIPTION] = whole
    if tags:
        add_events(folder, [{"event": "tags", "values": tags}])


def _tags(folder: Path) -> dict[str, list[str]]:
    """All values that each tag of a run has had, the last one last."""
    found: dict[str, list[str]] = {}
    for event, _ in read_events(folder):
        values = event["tags"] if event["event"] == "run" else event["values"] if event["event"] == "tags" else {}
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    return found


def _begin(journal: Journal, compared: Compare, folder: Path, key: str, command: str) -> None:
    if folder.exists() and not first_event(folder):  # it was killed before its first event
        shutil.rmtree(folder)
    if folder.exists():
        try:
            journal.resume(folder, lock=lock_run(folder))
        except BlockingIOError:
            raise TrackingError(f"run {key}: another process is recording this comparison") from None
        return
    first = compared.sides[0].runs[0]
    tags = source_tags(command) | {
        KIND: "compare",
        COMPARES: " against ".join(" ".join(side.keys) for side in compared.sides),
        "hcr.dataset_digest": first.tags.get("hcr.dataset_digest", ""),
    }
    name = shortened(redact(" against ".join(compared.labels)), LONGEST_NAME)
    journal.begin(name=name, tags=tags, key=key)


def _params(compared: Compare) -> dict[str, str]:
    sides = {f"side_{number}": side for number, side in enumerate(compared.sides, start=1)}
    labels = {name: redact(side.label) for name, side in sides.items()}
    seeds = {f"{name}_seeds": " ".join(str(run.cfg.seed) for run in side.runs) for name, side in sides.items()}
    return labels | seeds | {"on": compared.part, "metric": str(compared.found.kind)}


def _metrics(compared: Compare) -> dict[str, float]:
    """The numbers of each pair; with several pairs, by the numbers of their sides."""
    found: dict[str, float] = {}
    numbers = {label: number for number, label in enumerate(compared.labels, start=1)}
    for pair in compared.found.pairs:
        name = f"{numbers[pair.first]}-{numbers[pair.second]}/" if len(compared.found.pairs) > 1 else ""
        difference, low, high = difference_of(pair)
        values: Mapping[str, float] = {
            "difference": difference,
            "low": low,
            "high": high,
            "p": pair.p,
            "p_adjusted": pair.p_adjusted,
            "images": float(pair.num_images),
        }
        found |= {f"compare/{name}{key}": value for key, value in values.items() if abs(value) < float("inf")}
    return found


def _card(compared: Compare, command: str) -> str:
    """The description in MLflow: the verdicts, links to the runs, what differs, and the command."""
    verdicts = "\n\n".join(f"**{plain(sentence, LONGEST_SENTENCE)}.**" for sentence in compared.found.verdict()[:6])
    rows = [_links(side.label, [(run.key, run.folder) for run in side.runs]) for side in compared.sides]
    differing = list(chain(*(rows for rows in compared.differing.sections.values())))
    shown = ", ".join(plain(name) for name in differing[:12]) + (" …" if len(differing) > 12 else "")
    facts = [
        plain(f"{told_images(compared)}.", LONGEST_SENTENCE),
        "\n".join(f"- {row}" for row in rows),
        f"Differs: {shown or 'nothing that was recorded'}. `{PAGE}` has tables and pictures.",
        f"**Again**{' (counts as a further look)' if compared.part == 'test' else ''}\n\n````\n{redact(command)}\n````",
    ]
    return shortened("\n\n".join([verdicts, *facts]), LONGEST)


def _links(label: str, runs: Sequence[tuple[str, Path | None]]) -> str:
    links = []
    for key, folder in runs:
        run_id = None if folder is None else read_position(folder).get("run_id")
        links.append(f"`{key}`" if run_id is None else f"[`{key}`](#/runs/{run_id})")
    return f"{plain(label)}: {' '.join(links)}"
