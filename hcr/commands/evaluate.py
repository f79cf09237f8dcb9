"""`hcr evaluate`: the model of a finished run, scored on its test images or on another data set."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hcr import stopping
from hcr.commands.arguments import OneLineParser
from hcr.config.errors import TrackingError, one_line
from hcr.config.places import check_places
from hcr.config.text import printable
from hcr.console import say
from hcr.evaluating.asked import read_asked
from hcr.importing import import_keras
from hcr.output import leaving_without_output
from hcr.recorded import RecordedRun, recorded_run
from hcr.tracking.ended import upload_added
from hcr.tracking.journal import Journal
from hcr.tracking.seeing import how_to_see
from hcr.tracking.session import recorded

if TYPE_CHECKING:
    from hcr.evaluating.images import EvaluatedImages
    from hcr.evaluating.story import EvaluationResult

DESCRIPTION = (
    "Score the model of a finished run on its own test images. With dataset=NAME, on another data set\n"
    "with classes of the same names: on its official test images if it has any, else on all of its\n"
    "images; with split=NAME, on the test images of that split. Images are prepared as the model's were.\n"
    "The result is recorded as a run of its own, and each look is counted with the model's run."
)


def main(argv: Sequence[str]) -> int:
    """Evaluate the model of RUN, and print and record what was found.

    Raises:
        ConfigError: an override is refused.
        DataError: the images cannot be read, changed, or have no class of the model.
        TrackingError: the run does not exist or has not finished, or a folder cannot be written.
    """
    parser = OneLineParser("evaluate", DESCRIPTION)
    parser.add_argument("run", metavar="RUN", help="a key, a unique prefix of one, a run id, a run name, or latest")
    parser.add_argument(
        "overrides", nargs="*", metavar="OVERRIDES", help="dataset, split, notes, tags and tracking, as for `hcr train`"
    )
    parser.add_argument("--config-dir", help="a folder of your own YAML (default: HCR_CONF_DIR, or ./conf)")
    arguments = parser.parse_args(argv)
    run = recorded_run(arguments.run)
    asked = read_asked(run, arguments.overrides, arguments.config_dir)
    check_places(asked.cfg.tracking)
    from hcr.evaluating.images import images_of

    seen = images_of(run, asked)
    import_keras()
    from hcr.evaluating.story import evaluate_run

    which = "its own test images" if seen.is_own else seen.what
    say(printable(f"evaluating run {run.key} ({run.name}) on {which}: {len(seen.part):,} images"))
    sys.stdout.flush()
    with stopping.recording(), leaving_without_output():
        with recorded(asked.cfg.tracking) as journal:
            result = evaluate_run(run, asked, seen, journal)
        for line in _report(run, seen, result, journal):
            say(printable(line))
        for line in how_to_see(journal.folder, journal.uri):
            say(printable(line))
        if run.folder is not None:
            _upload_count(run)
    return 0


def _report(run: RecordedRun, seen: "EvaluatedImages", result: "EvaluationResult", journal: Journal) -> list[str]:
    found = result.evaluation
    look = (
        f"note: only the store has run {run.key}, so this look is not counted with it"
        if result.look is None
        else f"look {result.look} at {seen.what} with this model"
    )
    return [
        look,
        f"accuracy {found.accuracy:.4f} (95 % interval {found.accuracy_low:.4f} to {found.accuracy_high:.4f},"
        f" {found.num_images:,} images), macro F1 {found.macro_f1:.4f}, loss {found.loss:.4f},"
        f" calibration error {found.ece:.4f}",
        *(f"note: {note}" for note in result.notes),
        f"run {journal.key} is in {journal.folder}",
    ]


def _upload_count(run: RecordedRun) -> None:
    """Upload the count of looks; a store that cannot be reached gets it by `hcr sync`."""
    assert run.folder is not None
    try:
        upload_added(run.folder)
    except TrackingError as error:
        print(f"hcr: {one_line(error)}", file=sys.stderr)
