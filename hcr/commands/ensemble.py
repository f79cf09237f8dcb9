"""`hcr ensemble`: one model of the best runs of a sweep, the mean of their probabilities."""

import argparse
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hcr import stopping
from hcr.commands.arguments import OneLineParser
from hcr.config.errors import ConfigError
from hcr.config.tracking import TrackingConfig, output_root
from hcr.importing import import_keras
from hcr.members import FEWEST, choose_members
from hcr.output import leaving_without_output, of_disk
from hcr.recorded import RecordedRun
from hcr.recorded_sweep import RecordedSweep, recorded_sweep
from hcr.tracking.journal import Journal
from hcr.tracking.session import recorded

if TYPE_CHECKING:
    from hcr.ensemble_card import EnsembleFacts


def main(argv: Sequence[str]) -> int:
    """Average the TOP best runs of SWEEP, score the result, and record it as a run with a model.

    Raises:
        ConfigError: the command line is wrong.
        TrackingError: there is no such sweep, runs of it are left to train, too few have finished, or a record of a
            member is damaged.
        DataError: the members do not share split, images or classes, or the images cannot be read.
    """
    arguments = _parse(argv)
    sweep = recorded_sweep(arguments.sweep)
    members = choose_members(sweep, arguments.top, allow_incomplete=arguments.allow_incomplete)
    print(f"{sweep.standing}; the {arguments.top} best by {sweep.monitor} become one model", flush=True)
    import_keras()
    from hcr.ensembling import make_ensemble
    from hcr.resuming import AlreadyFinished
    from hcr.scoring import score_later

    flags = [word for word in argv if word in ("--no-test", "--allow-incomplete")]
    command = ["hcr", "ensemble", sweep.key, "--top", str(arguments.top), *flags]  # `latest` is another one later
    stopping.set_line("interrupted; the same command makes the ensemble")
    with stopping.handled(), stopping.recording(), recorded(_tracking(sweep, members)) as journal:
        try:
            with leaving_without_output(lambda: f"`{shlex.join(command)}` makes the ensemble"):
                facts = make_ensemble(
                    sweep,
                    members,
                    journal,
                    with_test=not arguments.no_test,
                    new_run=arguments.new_run,
                    command=command,
                )
                _say_result(facts, journal)
        except AlreadyFinished as done:
            print(f"{done}; --new-run makes it again", flush=True)
            if not arguments.no_test:
                score_later(done.folder)
        except OSError as error:
            raise of_disk(error, output_root(), "make room; the same command makes the ensemble") from error
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = OneLineParser("ensemble", "Average the best runs of a sweep, chosen on validation, into one model.")
    sweep_help = "key of a sweep's parent run, a unique prefix of it, a run id, a run name, or latest"
    parser.add_argument("sweep", metavar="SWEEP", help=sweep_help)
    parser.add_argument("--top", metavar="K", type=int, required=True, help="number of runs to average, 2 or more")
    parser.add_argument("--no-test", action="store_true", help="leave the test set sealed")
    parser.add_argument("--allow-incomplete", action="store_true", help="also of a sweep with runs left to train")
    parser.add_argument("--new-run", action="store_true", help="make it again if it was made before")
    arguments = parser.parse_args(argv)
    if arguments.top < FEWEST:
        raise ConfigError(f"--top: expected {FEWEST} or more, got {arguments.top}; one run is a model already")
    return arguments


def _tracking(sweep: RecordedSweep, members: Sequence[RecordedRun]) -> TrackingConfig:
    """The store and the experiment of the sweep: the ensemble is found beside its members."""
    return members[0].cfg.tracking.replace(uri=sweep.uri, experiment_name=sweep.experiment, run_name=None)


def _say_result(facts: "EnsembleFacts", journal: Journal) -> None:
    from hcr.console import say
    from hcr.ensemble_card import gained, members_table
    from hcr.tracking.seeing import how_to_see

    print(members_table(facts.members, facts.gain, facts.val))
    say(gained(facts))
    if facts.test is not None:
        score = facts.test
        say(
            f"test accuracy {score.accuracy:.4f} (95 % interval {score.accuracy_low:.4f} to"
            f" {score.accuracy_high:.4f}, {score.num_images:,} images)"
        )
    say(f"run {journal.key} is in {journal.folder}")
    for line in how_to_see(journal.folder, journal.uri):
        say(line)
