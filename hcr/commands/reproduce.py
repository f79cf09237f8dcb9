"""`hcr reproduce`: a recorded run, trained again from its record, and compared number by number."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from hcr import stopping
from hcr.commands.arguments import OneLineParser
from hcr.config.errors import DataError, TrackingError
from hcr.config.places import check_places
from hcr.config.text import printable
from hcr.console import PlainConsole, say
from hcr.environment import recorded_settings
from hcr.evaluation.labels import counted
from hcr.gate import parse_config
from hcr.output import leaving_without_output
from hcr.recorded import read_record
from hcr.reproducing.differences import Differences, find_differences
from hcr.reproducing.original import Original, read_original
from hcr.reproducing.story import REPRODUCTION, config_here, train_again
from hcr.reproducing.verdict import Verdict, compare
from hcr.tracking.ended import upload_added
from hcr.tracking.journal import add_events
from hcr.tracking.lock import lock_ended_run
from hcr.tracking.seeing import how_to_see

DESCRIPTION = (
    "Train a run again from what it recorded: its config, its data by digest, its code (uncommitted and\n"
    "untracked files too) and its environment variables. First it says what differs here. It ends with\n"
    "'bit-identical', or with a table of the numbers that differ and exit code 1. Code that was not\n"
    "recorded by this machine, such as that of a bundle or of a server's run, needs --trust."
)


def main(argv: Sequence[str]) -> int:
    """Reproduce RUN.

    Returns:
        0 if every number is the same, else 1; with `--check` 0.

    Raises:
        DataError: the data is not here.
        TrackingError: the run does not exist, has not finished or was not trained; its record is incomplete; its code
            is a stranger's; or the reproduction failed.
    """
    parser = OneLineParser("reproduce", DESCRIPTION)
    parser.add_argument("run", metavar="RUN", help="a key, a unique prefix of one, a run id, a run name, or latest")
    parser.add_argument("--check", action="store_true", help="only say what differs here; run nothing")
    parser.add_argument("--trust", action="store_true", help="run code that this machine did not record")
    parser.add_argument("--data", type=Path, metavar="PATH", help="where the run's data is here (default: as recorded)")
    arguments = parser.parse_args(argv)
    original = read_original(arguments.run)
    config = config_here(original, arguments.data)
    differences = find_differences(original, config)
    say(printable(f"run {original.key} ({original.record.name})"))
    for line in differences.lines or ["nothing that decides its numbers differs here"]:
        say(printable(line))
    _require_data(differences)
    is_trusted = original.is_own or arguments.trust
    if differences.needs_own_code and not is_trusted:
        why = (
            f"run {original.key} was not recorded by this machine, and its code differs from the installed one;"
            " --trust runs it with your rights, so read its code/source.tar.gz before"
        )
        if not arguments.check:
            raise TrackingError(why)
        say(f"note: {why}")
    if arguments.check:
        return 0
    if differences.needs_own_code:
        say("its own code is used, from its code/source.tar.gz")
    if differences.cfg is not None:
        check_places(parse_config(config).tracking)
    if recorded_settings(original.record.tags) and not is_trusted:
        say("note: its environment variables are not set: this machine did not record them; --trust sets them")
    with stopping.recording(), leaving_without_output():
        folder = train_again(original, config, own_code=differences.needs_own_code, settings=is_trusted)
        return _compare(original, folder)


def _require_data(differences: Differences) -> None:
    if differences.data_problem is not None and (not differences.needs_own_code or differences.reads_alike):
        raise DataError(f"data: {differences.data_problem}; --data PATH says where it is")


def _compare(original: Original, folder: Path) -> int:
    again = read_record(folder)
    verdict = compare(original.record, again, with_test=original.config.get("score_test") is not False)
    is_same = not verdict.differences
    told = (
        "bit-identical"
        if is_same
        else f"{counted(len(verdict.differences), 'number')} differ{'s' * (len(verdict.differences) == 1)}"
    )
    with lock_ended_run(folder):
        add_events(folder, [{"event": "tags", "values": {REPRODUCTION: told}}])
    upload_added(folder)
    for note in verdict.notes:
        say(f"note: {note}")
    if original.record.tags.get("hcr.fingerprint") != again.tags.get("hcr.fingerprint"):
        say("note: the fingerprints differ: code, packages, variables or settings are not those of the run")
    say(f"run {again.key} is in {folder}; `hcr plots {again.key}` draws its pictures")
    for line in how_to_see(folder, original.uri):
        say(line)
    if not is_same:
        _print_table(verdict)
        return 1
    metrics, epochs = counted(verdict.num_metrics, "metric"), counted(verdict.num_epochs, "epoch")
    say(f"bit-identical: {metrics} of {epochs} and the end, {', '.join(verdict.files)}")
    return 0


def _print_table(verdict: Verdict) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("differs", "from epoch", "recorded", "here"):
        table.add_column(column)
    for each in verdict.differences:
        table.add_row(each.what, "" if each.epoch is None else str(each.epoch), each.recorded, each.here)
    PlainConsole().print_table(table)
