"""`hcr note`: a note on a finished run, at the top of its description in MLflow."""

from collections.abc import Sequence
from pathlib import Path

from hcr.card import LONGEST
from hcr.commands.arguments import OneLineParser
from hcr.config.errors import ConfigError, TrackingError
from hcr.config.secrets import redact
from hcr.config.text import is_recordable
from hcr.config.tracking import output_root
from hcr.importing import import_needed
from hcr.tracking.described import description_of
from hcr.tracking.ended import upload_added
from hcr.tracking.events import DESCRIPTION, last_event
from hcr.tracking.finding import look_up
from hcr.tracking.journal import add_events
from hcr.tracking.lock import lock_ended_run
from hcr.tracking.reading import describe
from hcr.tracking.stored import StoredRun

BETWEEN = "\n\n---\n\n"  # a note and what follows it
LONGEST_NOTE = 2_000  # characters


def main(argv: Sequence[str]) -> int:
    """Put TEXT, which may be Markdown, above the run's description, and upload it.

    Raises:
        ConfigError: the text is empty, too long, or cannot be recorded.
        TrackingError: the run does not exist, is still running, or was not uploaded.
    """
    parser = OneLineParser("note", "Put a note above a run's description in MLflow.")
    parser.add_argument("run", metavar="RUN", help="a key, a run id, a run name, latest, best, or models:/NAME@ALIAS")
    parser.add_argument("text", metavar="TEXT", nargs="+", help="the note; Markdown is rendered")
    arguments = parser.parse_args(argv)
    text = " ".join(arguments.text).strip()
    if not text or len(text) > LONGEST_NOTE or not is_recordable(text):
        raise ConfigError(f"TEXT: expected 1 to {LONGEST_NOTE:,} characters without control codes, got {len(text):,}")
    found = look_up(output_root(), arguments.run)
    import_needed("mlflow")
    if isinstance(found, StoredRun):
        describe(found, lambda description: _with_note(text, description))
        key = found.key
    else:
        key = found.name
        _note(found, text)
        upload_added(found)
    print(f"noted on run {key}: {redact(text)}")
    return 0


def _note(folder: Path, text: str) -> None:
    if last_event(folder).get("event") != "end":
        raise TrackingError(f"run {folder.name}: expected a run that has ended; notes='...' notes one when it starts")
    try:
        lock = lock_ended_run(folder)
    except BlockingIOError:
        raise TrackingError(f"run {folder.name}: another process holds it; expected a run that has ended") from None
    with lock:
        description = description_of(folder)
        add_events(folder, [{"event": "tags", "values": {DESCRIPTION: _with_note(text, description)}}])


def _with_note(text: str, description: str) -> str:
    """The description with a note above it, at most LONGEST characters; what is cut is its end."""
    whole = f"{redact(text)}{BETWEEN}{description}" if description else redact(text)
    return whole if len(whole) <= LONGEST else whole[: LONGEST - 2].rstrip() + " …"
