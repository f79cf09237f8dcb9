"""`hcr compare`: whether one run or point is better than another, and what differs between them."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from hcr.commands.arguments import OneLineParser
from hcr.config.errors import ConfigError
from hcr.config.text import csv_line, printable
from hcr.console import PlainConsole
from hcr.evaluation.statistics import Kind

if TYPE_CHECKING:
    from hcr.comparing import Compared
    from hcr.evaluation.comparison import Comparison

PARTS = {"val": "validation", "test": "test"}
MOST_SETTINGS = 20  # rows of what differs in a terminal


def main(argv: Sequence[str]) -> int:
    """Print what differs between the sides, and a sentence for each pair.

    Raises:
        ConfigError: fewer than two sides.
        TrackingError: a side is not found, has not finished, or has other data.
    """
    parser = OneLineParser(
        "compare",
        "Say whether one is better than the other, paired over the images that both held out, with the noise of\n"
        "images and of seeds. A side is a RUN, SWEEP/N (a point), or SWEEP (its best point).",
    )
    parser.add_argument("sides", nargs="+", metavar="RUN_OR_SWEEP", help="two or more; the first is compared with each")
    parser.add_argument("--on", choices=("val", "test"), default="val", help="images; a look at test is counted")
    parser.add_argument("--metric", choices=("accuracy", "loss"), default="accuracy", help="(default: accuracy)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print the pairs as CSV")
    form.add_argument("--json", action="store_true", help="print the pairs and what differs as JSON")
    arguments = parser.parse_args(argv)
    if len(arguments.sides) < 2:
        raise ConfigError(f"hcr compare: expected two or more runs or points, got {len(arguments.sides)}")
    from hcr.comparing import compare_sides, compared_sides, count_looks, differences

    sides = compared_sides(arguments.sides)
    if arguments.on == "test":
        count_looks(sides)
    found = compare_sides(sides, arguments.on, Kind.LOSS if arguments.metric == "loss" else Kind.ACCURACY)
    differing = differences(sides)
    if arguments.json:
        print(
            json.dumps({"differs": differing, "pairs": _rows(found), "on": arguments.on}, indent=2, ensure_ascii=False)
        )
    elif arguments.csv:
        rows = _rows(found)
        lines: list[Sequence[object]] = [list(rows[0]), *(list(row.values()) for row in rows)]
        sys.stdout.write("".join(map(csv_line, lines)))
    else:
        _print(sides, found, differing, arguments.on)
    return 0


def _rows(found: "Comparison") -> list[dict[str, object]]:
    """The pairs as plain values; differences and intervals of losses are ratios."""
    rows: list[dict[str, object]] = []
    for pair, sentence in zip(found.pairs, found.verdict(), strict=True):
        low, high = pair.interval
        rows.append(
            {
                "first": pair.first,
                "second": pair.second,
                "images": pair.num_images,
                "mean_first": pair.means[0],
                "mean_second": pair.means[1],
                "low": low,
                "high": high,
                "p": pair.p,
                "p_adjusted": pair.p_adjusted,
                "basis": str(pair.basis),
                "verdict": sentence,
            }
        )
    return rows


def _print(sides: "Sequence[Compared]", found: "Comparison", differing: Mapping[str, Sequence[str]], part: str) -> None:
    console = PlainConsole()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("differs", *(side.label for side in sides)):
        table.add_column(printable(name))
    for key, values in list(differing.items())[:MOST_SETTINGS]:
        table.add_row(*map(printable, (key, *values)))
    means = {pair.first: pair.means[0] for pair in found.pairs} | {pair.second: pair.means[1] for pair in found.pairs}
    table.add_row(f"{part}/{found.kind}", *(f"{means[side.label]:.4f}" for side in sides))
    console.print_table(table)
    console.say(f"on {found.pairs[0].num_images:,} {PARTS[part]} images that both were scored on:")
    for sentence in found.verdict():
        console.say(printable(f"{sentence}."))
