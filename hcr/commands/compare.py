"""`hcr compare`: whether one run or point is better than another, and what differs between them."""

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from hcr import stopping
from hcr.commands.arguments import OneLineParser
from hcr.config.errors import ConfigError, TrackingError, one_line
from hcr.config.text import printable
from hcr.config.tracking import output_root
from hcr.console import PlainConsole
from hcr.evaluation.statistics import Kind
from hcr.importing import import_needed
from hcr.output import leaving_without_output

if TYPE_CHECKING:
    from hcr.comparing.sides import Compared
    from hcr.comparing.story import Compare

MOST_ROWS = 20  # of what differs in a terminal

DESCRIPTION = (
    "Say whether one is better than the other, paired over the images that both held out, with the noise of\n"
    "images and of seeds, and what differs in config, code, data and environment. A side is a RUN, SWEEP/N\n"
    "(the point of rank N in its leaderboard), or SWEEP (its best point). The comparison is recorded as a run of\n"
    "its own, which every compared run names; the same one is recorded once."
)


def main(argv: Sequence[str]) -> int:
    """Print what differs between the sides, and a sentence for each pair; record it, and write the page if asked.

    Raises:
        ConfigError: fewer than two sides, or the page cannot be written.
        TrackingError: a side is not found, has not finished, or has other data.
    """
    parser = OneLineParser("compare", DESCRIPTION)
    parser.add_argument("sides", nargs="+", metavar="RUN_OR_SWEEP", help="two or more; all pairs are compared")
    parser.add_argument("--on", choices=("val", "test"), default="val", help="images; a look at test is counted")
    parser.add_argument("--metric", choices=("accuracy", "loss"), default="accuracy", help="(default: accuracy)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print the pairs as CSV")
    form.add_argument("--json", action="store_true", help="print the pairs and what differs as JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with tables and pictures")
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")
    parser.add_argument(
        "--no-record", action="store_true", help="record no run; a look at test is counted all the same"
    )
    arguments = parser.parse_args(argv)
    if len(arguments.sides) < 2:
        raise ConfigError(f"hcr compare: expected two or more runs or points, got {len(arguments.sides)}")
    from hcr.comparing.page import check_page, page, write_page
    from hcr.comparing.pictures import Drawn, draw_comparison
    from hcr.comparing.recording import is_recorded, key_of, point_back, record, tracking_of
    from hcr.comparing.sides import compared_sides, count_looks, require_comparable
    from hcr.comparing.story import compare_runs
    from hcr.comparing.tables import as_csv, as_json
    from hcr.tracking.seeing import how_to_see

    if arguments.html is not None:
        check_page(arguments.html, force=arguments.force)
    sides = compared_sides(arguments.sides)
    require_comparable(sides, arguments.on)
    if arguments.on == "test":
        count_looks(sides)
    compared = compare_runs(sides, arguments.on, Kind.LOSS if arguments.metric == "loss" else Kind.ACCURACY)
    is_kept = not arguments.no_record
    if is_kept or arguments.on == "test":
        import_needed("mlflow")
    tracking = tracking_of(compared)
    key = key_of(compared, tracking) if is_kept else None
    is_new = key is not None and not is_recorded(key)
    if arguments.json:
        print(json.dumps(as_json(compared, key), indent=2, ensure_ascii=False, allow_nan=False))
    elif arguments.csv:
        sys.stdout.write(as_csv(compared))
    else:
        _print(compared)
    sys.stdout.flush()
    command = _command(sides, arguments.on, arguments.metric)
    notes: list[str] = []
    with stopping.recording(), leaving_without_output():
        drawn = draw_comparison(compared) if is_new or arguments.html is not None else Drawn()
        if arguments.html is not None:
            write_page(arguments.html, page(compared, drawn, command, key), force=arguments.force)
        if key is not None:
            if is_new:
                record(compared, drawn, tracking, key, command)
            notes += point_back(compared, key)
    if arguments.on == "test" and key is None:
        notes += _upload_counts(sides)
    where = sys.stderr if arguments.json or arguments.csv else sys.stdout
    for line in [*drawn.notes, *compared.differing.notes, *notes]:
        print(printable(f"note: {line}"), file=where)
    if arguments.html is not None:
        print(printable(f"page: {arguments.html}"), file=where)
    if key is not None:
        which = "" if is_new else ", recorded before"
        print(printable(f"run {key} is in {output_root() / 'runs' / key}{which}"), file=where)
        for line in how_to_see(output_root() / "runs" / key, str(tracking.uri)):
            print(line, file=where)
    return 0


def _command(sides: "Sequence[Compared]", part: str, metric: str) -> str:
    """The command line that compares the same again, by keys."""
    names = [side.again for side in sides]
    options = [*(["--on", part] if part != "val" else []), *(["--metric", metric] if metric != "accuracy" else [])]
    return shlex.join(["hcr", "compare", *names, *options])


def _upload_counts(sides: "Sequence[Compared]") -> list[str]:
    """Upload the counts of looks; a store that cannot be reached gets them by `hcr sync`."""
    from hcr.tracking.ended import upload_added

    notes = []
    for run in {run.key: run for side in sides for run in side.runs}.values():
        if run.folder is not None:
            try:
                upload_added(run.folder)
            except TrackingError as error:
                notes.append(one_line(error))
    return notes


def _print(compared: "Compare") -> None:
    from hcr.comparing.words import relation, told_images, told_tests

    console, found = PlainConsole(), compared.found
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("differs", *compared.labels):
        table.add_column(printable(name))
    rows = [(key, values) for section in compared.differing.sections.values() for key, values in section.items()]
    for key, values in rows[:MOST_ROWS]:
        table.add_row(*map(printable, (key, *values)))
    table.add_row(f"{compared.part}/{found.kind}", *(f"{compared.means[label]:.4f}" for label in compared.labels))
    console.print_table(table)
    if rows[MOST_ROWS:]:
        console.say(f"{len(rows) - MOST_ROWS:,} more differ: --json and --html show them")
    console.say(f"{told_images(compared)}:")
    for pair, sentence in zip(found.pairs, found.verdict(), strict=True):
        console.say(printable(f"{sentence}."))
        for line in told_tests(compared, pair):
            console.say(printable(f"  {line}"))
    console.say(relation(compared))
