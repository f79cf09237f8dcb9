"""`hcr bundle`: a run or a sweep as one file, for another machine."""

from collections.abc import Sequence
from pathlib import Path

from hcr import stopping
from hcr.bundling.pack import pack
from hcr.commands.arguments import OneLineParser
from hcr.config.text import printable
from hcr.config.tracking import output_root
from hcr.console import say
from hcr.evaluation.labels import counted
from hcr.tracking.finding import find_run

DESCRIPTION = (
    "Write a run, or a sweep with all of its runs, into one file that `hcr unbundle` reads on any machine:\n"
    "config, journal, artifacts and model; no checkpoints. A run of a sweep brings the sweep's parent run.\n"
    "It tells what the runs tell: who trained them, on which host, with which command and data."
)


def main(argv: Sequence[str]) -> int:
    """Bundle a run or a sweep.

    Raises:
        TrackingError: no such run, it is alive, or FILE exists or cannot be written.
    """
    parser = OneLineParser("bundle", DESCRIPTION)
    parser.add_argument(
        "run", metavar="SWEEP_OR_RUN", help="a key, a unique prefix of one, a run id, a name, or latest"
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the new file, such as sweep.tar.gz")
    arguments = parser.parse_args(argv)
    root = output_root()
    asked = find_run(root, arguments.run)
    with stopping.recording():  # a signal removes what is half written
        bundled = pack(root, asked, arguments.file)
    for note in bundled.notes:
        say(printable(f"note: {note}"))
    runs, files = counted(len(bundled.folders), "run"), counted(bundled.num_files, "file")
    say(printable(f"{arguments.file}: {runs}, {files}, {bundled.size_bytes / 1e6:,.1f} MB"))
    return 0
