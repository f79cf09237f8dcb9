"""`hcr unbundle`: the runs of a bundle, brought here and uploaded, once."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from hcr import stopping
from hcr.bundling.unpack import name_best_run, unpack
from hcr.commands.arguments import OneLineParser
from hcr.config.errors import TrackingError, one_line
from hcr.config.text import printable
from hcr.config.tracking import output_root, tracking_uri
from hcr.console import say
from hcr.importing import import_needed
from hcr.tracking.events import first_event, kind_of
from hcr.tracking.lock import lock_run
from hcr.tracking.place import store_of
from hcr.tracking.replay import Replay
from hcr.tracking.seeing import how_to_see
from hcr.tracking.stores import Survey, upload_all

DESCRIPTION = (
    "Bring the runs of a bundle into the output root, and upload them to the store of MLFLOW_TRACKING_URI\n"
    "or the default one. A run that is here already is left as it is. Nothing in the bundle is executed,\n"
    "and a bundle that is damaged, or made to do harm, changes nothing."
)


def main(argv: Sequence[str]) -> int:
    """Unbundle FILE.

    Raises:
        TrackingError: the bundle is damaged or hostile, or a run is here with other contents: nothing was changed. Or
            an upload failed: `hcr sync` completes it.
    """
    parser = OneLineParser("unbundle", DESCRIPTION)
    parser.add_argument("file", metavar="FILE", type=Path, help="a file of `hcr bundle`")
    arguments = parser.parse_args(argv)
    root, uri = output_root(), tracking_uri(None)
    stopping.set_line("interrupted; the same command brings the rest")
    found = unpack(root, arguments.file, uri)
    for folder in found.placed:
        say(printable(f"run {folder.name} ({first_event(folder).get('name')}) is in {folder}"))
    for folder in found.there:
        say(printable(f"run {folder.name} ({first_event(folder).get('name')}) is here already; left as it is"))
    import_needed("mlflow")
    _upload([*found.placed, *found.there])
    both = [*found.placed, *found.there]
    shown = next((folder for folder in both if kind_of(first_event(folder).get("tags", {})) == "sweep"), both[0])
    for line in how_to_see(shown, store_of(shown, first_event(shown))):
        say(line)
    return 0


def _upload(folders: Sequence[Path]) -> None:
    """Upload what the store lacks of the runs, as `hcr sync` does."""
    survey = Survey(folders, take_over=False, whole=False)
    for line in survey.lines:
        say(printable(line))
    uploaded = upload_all(survey)
    for folder in folders:
        with contextlib.suppress(BlockingIOError), lock_run(folder):
            if not survey.failed and name_best_run(folder):
                Replay(folder).upload()
    say(f"{uploaded} uploaded, {len(survey.failed)} not uploaded")
    if survey.failed:
        key, first = survey.failed[0]
        raise TrackingError(
            f"not uploaded: {key}: {one_line(first)}; nothing is lost, `hcr sync` uploads the rest"
        ) from first
