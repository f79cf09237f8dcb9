"""The description of a run of this machine, as MLflow shows it now."""

import contextlib
from pathlib import Path

from hcr.config.errors import TrackingError
from hcr.tracking.events import DESCRIPTION, first_event, read_events
from hcr.tracking.place import store_of
from hcr.tracking.reading import reading_store, search
from hcr.tracking.status import is_delivered


def description_of(folder: Path) -> str:
    """The present description: that of the store, where people edit it, unless the journal has newer ones to upload."""
    rows = []
    with contextlib.suppress(TrackingError):
        if is_delivered(folder):
            with reading_store(store_of(folder, first_event(folder))) as client:
                rows = search(client, key=folder.name, top=1)
    if rows:
        return rows[0].tags.get(DESCRIPTION, "")
    description = ""
    for event, _ in read_events(folder):
        if event["event"] in ("run", "tags"):
            description = event["tags" if event["event"] == "run" else "values"].get(DESCRIPTION, description)
    return description
