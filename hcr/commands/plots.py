"""`hcr plots`: the pictures of a finished run, drawn from what it recorded."""

import os
from collections.abc import Sequence

from hcr.commands.arguments import OneLineParser
from hcr.config.errors import TrackingError, one_line
from hcr.config.tracking import output_root
from hcr.tracking.journal import last_event, lock_ended_run
from hcr.tracking.replay import Replay
from hcr.tracking.status import find_run


def main(argv: Sequence[str]) -> int:
    """Draw the pictures of RUN, print where they are, and upload them.

    Raises:
        TrackingError: no such run, one that has not finished, or artifacts that cannot be read.
    """
    parser = OneLineParser("plots", "Draw the pictures of a finished run, such as one of a sweep, and upload them.")
    parser.add_argument("run", metavar="RUN", help="a key, a unique prefix of one, a run id, a run name, or latest")
    folder = find_run(output_root(), parser.parse_args(argv).run)
    if last_event(folder).get("status") != "FINISHED":
        raise TrackingError(f"run {folder.name}: expected a run that has finished, with predictions to draw")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from hcr.drawing import draw_finished

    drawn, why = draw_finished(folder)
    for path in drawn:
        print(path)
    if why is not None:
        print(f"note: pictures that need the images are not drawn: {why}", flush=True)
    try:
        with lock_ended_run(folder):
            Replay(folder).deliver()
    except Exception as error:  # the store's, of many kinds; nothing is lost
        raise TrackingError(f"run {folder.name}: not uploaded yet ({one_line(error)}); `hcr sync` does it") from error
    return 0
