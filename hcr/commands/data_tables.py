"""What `hcr data` prints: a table of counts, the facts, and tables of copies and suspicious labels."""

from collections.abc import Sequence

import numpy as np
from rich import box
from rich.table import Table

from hcr.config.text import printable
from hcr.console import PlainConsole, wrap
from hcr.data.inspection.checks import DESCRIPTIONS, NAMES
from hcr.data.inspection.copies import NEAR
from hcr.data.inspection.counts import Sizes
from hcr.data.inspection.inspect import Inspection
from hcr.data.inspection.suspicious import NEIGHBOURS
from hcr.data.splitting import Splits
from hcr.gate.run_config import RunConfig

MOST_ROWS = 20  # more classes than this are shown in several blocks side by side
MOST_BLOCKS = 4
MOST_SUSPICIOUS = 8  # rows of suspicious labels; the picture has more
INDENT = 15  # columns before a fact


def print_inspection(
    cfg: RunConfig, splits: Splits, found: Inspection, failed: Sequence[str], console: PlainConsole | None = None
) -> None:
    """Print what a data set holds."""
    console = console or PlainConsole()
    counts = found.counts
    height, width, channels = found.prepared
    title = (
        f"{cfg.dataset.name}: {counts.num_images:,} images of {height}x{width}x{channels}, {len(counts.class_names)}"
        f" classes; split {cfg.split.name}, seed {cfg.split.seed_for(cfg.seed)}"
    )
    console.print(printable(title), style="bold")
    console.print_table(_counts_table(found))
    console.print(printable(f"{'from':<{INDENT}}{splits.source}"))
    console.print(f"{'dataset digest':<{INDENT}}{splits.dataset_digest}")
    console.print(f"{'split digest':<{INDENT}}{splits.split_digest}")
    if splits.preparation_digest is not None:
        console.print(f"{'prepared':<{INDENT}}{splits.preparation_digest}")
    facts = {
        "sizes": _sizes(found.source_sizes, found.prepared),
        "imbalance": _imbalance(found),
        "groups": _groups(splits),
        "ink": _ink(found),
        "duplicates": _duplicates(splits, found),
    }
    for name, text in facts.items():
        if text:
            _print_fact(console, name, text)
    console.print_table(_copies_table(found))
    _print_fact(console, "labels", _labels(found))
    if found.suspicions.found:
        console.print_table(_suspicious_table(splits, found))
    passed = len(DESCRIPTIONS) - len(failed)
    _print_fact(console, "checks", f"{len(failed)} failed" if failed else f"all {passed} passed")
    for note in splits.data_notes:
        console.print(printable(f"note: {note}"))


def _print_fact(console: PlainConsole, name: str, text: str) -> None:
    """Print a fact in lines that fit the terminal, below one another."""
    for i, line in enumerate(wrap(printable(text), max(40, console.width - INDENT))):
        console.print(f"{'' if i else name:<{INDENT}}{line}")


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)


def _counts_table(found: Inspection) -> Table:
    names, images = found.counts.class_names, found.counts.images
    blocks = min(MOST_BLOCKS, -(-len(names) // MOST_ROWS))
    rows = -(-len(names) // blocks)
    table = _table()
    for _ in range(blocks):
        table.add_column("class")
        for side in (*found.counts.sides, "all"):
            table.add_column(side, justify="right")
    for row in range(rows):
        cells = []
        for k in range(row, len(names), rows):
            cells += [printable(names[k]), *_numbers(images[:, k])]
        table.add_row(*cells)
    table.add_section()
    table.add_row("all", *_numbers(images.sum(axis=1)))
    return table


def _numbers(counts: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> list[str]:
    return [f"{count:,}" for count in (*counts, counts.sum())]


def _sizes(source: Sizes | None, prepared: tuple[int, int, int]) -> str:
    height, width, _ = prepared
    if source is None:
        return f"all images are {height}x{width}"
    pairs = {"smallest": source.smallest, "median": source.median, "largest": source.largest}
    sizes = ", ".join(f"{name} {pair[0]}x{pair[1]}" for name, pair in pairs.items())
    return f"{source.num_different:,} different: {sizes} (height and width apart); prepared to {height}x{width}"


def _imbalance(found: Inspection) -> str:
    of_class, names = found.counts.of_class, found.counts.class_names
    most, least = int(of_class.argmax()), int(of_class.argmin())
    if not of_class[least]:
        return f"there is no image of {names[least]}"
    if of_class[most] == of_class[least]:
        return f"none: {of_class[most]:,} images of each class"
    times = f"{found.counts.imbalance:.1f} times"
    return f"{names[most]} has {of_class[most]:,} images, {times} the {of_class[least]:,} of {names[least]}"


def _groups(splits: Splits) -> str:
    """How many groups there are, and how many of validation and test are also in training; empty without groups."""
    sides = [subset.groups for subset in (splits.train, splits.val, splits.test)]
    if any(groups is None for groups in sides):
        return ""
    sizes = np.unique(np.concatenate([groups for groups in sides if groups is not None]), return_counts=True)[1]
    return (
        f"{len(sizes):,} groups of {sizes.min():,} to {sizes.max():,} images; {splits.groups_val:,} of validation and"
        f" {splits.groups_test:,} of test are also in training"
    )


def _ink(found: Inspection) -> str:
    ink, names = found.ink, found.counts.class_names
    means = np.where(np.isnan(ink.class_means), ink.mean, ink.class_means)
    most, least = int(means.argmax()), int(means.argmin())
    usual, other = ("dark on light", "light on dark")[:: 1 if ink.dark_on_light else -1]
    return (
        f"{usual}, {_share(ink.bright_share)} of the pixels are bright, {_share(ink.border_bright_share)} of those at"
        f" the border; mean {ink.mean:.0f} of 255, sd {ink.sd:.0f}, by class {means[least]:.0f} ({names[least]}) to"
        f" {means[most]:.0f} ({names[most]}); {int(ink.turned.sum()):,} images are {other}, {int(ink.blank.sum()):,}"
        " blank"
    )


def _duplicates(splits: Splits, found: Inspection) -> str:
    text = splits.warning or "no validation or test image is also in training"
    if len(found.conflicts):
        share = _share(len(found.conflicts) / found.num_open)
        text += (
            f"; {len(found.conflicts):,} training and validation images ({share}) are identical to one with another"
            " label"
        )
    return text


def _copies_table(found: Inspection) -> Table:
    table = _table()
    for name in ("copies", "images", "identical", "nearly", "share"):
        table.add_column(name, justify="left" if name == "copies" else "right")
    for copies in found.copies:
        where = f"within {NAMES[copies.side]}" if copies.side == copies.other else (
            f"{NAMES[copies.side]} in {NAMES[copies.other]}"
        )  # fmt: skip
        sampled = copies.num_near and copies.num_compared < copies.num_images - copies.num_identical
        near = f"{copies.num_near:,} of {copies.num_compared:,}" if sampled else f"{copies.num_near:,}"
        table.add_row(where, f"{copies.num_images:,}", f"{copies.num_identical:,}", near, _share(copies.share))
    table.caption = f"nearly: the pixels have a correlation of {NEAR} or more"
    table.caption_justify = "left"
    return table


def _labels(found: Inspection) -> str:
    suspicions = found.suspicions
    if not suspicions.num_judged:
        return "too few images to compare labels with those of the nearest images"
    of_all = "" if suspicions.num_judged == suspicions.num_images else f" of {suspicions.num_images:,}"
    return (
        f"{len(suspicions.found):,} suspicious among {suspicions.num_judged:,}{of_all} of training and validation"
        f" ({_share(suspicions.share)}), compared with the {NEIGHBOURS} nearest of {suspicions.num_references:,}"
        f" images; agreement with the nearest {suspicions.agreement:.2f} (0: chance, 1: always)"
    )


def _suspicious_table(splits: Splits, found: Inspection) -> Table:
    subsets = {"train": splits.train, "val": splits.val}
    names = found.counts.class_names
    table = _table()
    for name in ("image", "side", "labelled", "neighbours say", "how many", "own label further"):
        table.add_column(name, justify="right" if name in ("image", "how many", "own label further") else "left")
    for one in found.suspicions.found[:MOST_SUSPICIOUS]:
        side, place = found.side_of(one.index)
        table.add_row(
            str(subsets[side].index[place]),
            side,
            printable(names[one.label]),
            printable(names[one.neighbours_label]),
            f"{one.agreement} of {NEIGHBOURS}",
            f"{one.ratio:.1f}x",
        )
    return table


def _share(share: float) -> str:
    """A share in percent; "< 0.1 %" only if it is not 0."""
    return "< 0.1%" if 0 < share < 0.0005 else f"{share:.1%}"
