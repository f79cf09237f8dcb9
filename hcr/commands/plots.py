"""`hcr plots`: the pictures of a finished run, drawn from what it recorded."""

from collections.abc import Sequence

from hcr.commands.arguments import OneLineParser
from hcr.config.errors import TrackingError
from hcr.config.tracking import output_root
from hcr.importing import import_keras
from hcr.tracking.ended import upload_added
from hcr.tracking.events import last_event
from hcr.tracking.finding import find_run


def main(argv: Sequence[str]) -> int:
    """Draw the pictures of RUN, print their paths, and upload them.

    Raises:
        TrackingError: the run does not exist or has not finished, or its artifacts cannot be read.
    """
    parser = OneLineParser("plots", "Draw the pictures of a finished run, such as one of a sweep, and upload them.")
    parser.add_argument("run", metavar="RUN", help="a key, a prefix of one, a run id, a run name, latest or best")
    folder = find_run(output_root(), parser.parse_args(argv).run)
    if last_event(folder).get("status") != "FINISHED":
        raise TrackingError(f"run {folder.name}: expected a run that has finished, with predictions to draw")
    import_keras()
    from hcr.drawing import draw_finished

    drawn, why = draw_finished(folder)
    for path in drawn:
        print(path)
    if why is not None:
        print(f"note: pictures that need the images are not drawn: {why}", flush=True)
    upload_added(folder)
    return 0
