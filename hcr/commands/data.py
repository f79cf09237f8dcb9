"""`hcr data`: the contents of a data set, and its split."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich import box
from rich.table import Table

from hcr.commands.arguments import OneLineParser
from hcr.config.errors import ConfigError, TrackingError, one_line
from hcr.config.naming import safe_file_name
from hcr.config.text import printable
from hcr.config.tracking import output_root
from hcr.console import PlainConsole, say
from hcr.data.splitting import Splits, load_splits
from hcr.gate.compose import Composer
from hcr.gate.resolve import fill_from_data
from hcr.gate.run_config import RunConfig, image_and_classes

MOST_ROWS = 20  # more classes than this are shown in several blocks side by side
MOST_BLOCKS = 4
PARTS = ("train", "val", "test")


def main(argv: Sequence[str]) -> int:
    """Load and split the data that `hcr train OVERRIDES` would train on; print a summary and draw it.

    Raises:
        ConfigError, DataError, TrackingError: as in `hcr train`.
    """
    parser = OneLineParser("data", "Show a data set and its split: a table of counts, and two pictures.")
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDES", help="as for `hcr train`")
    parser.add_argument("--config-dir", help="a folder of your own YAML (default: HCR_CONF_DIR, or ./conf)")
    arguments = parser.parse_args(argv)
    checked = Composer(arguments.config_dir).check(arguments.overrides)
    if checked.multirun:
        raise ConfigError("hcr data: expected the overrides of one run, got those of a sweep")
    (cfg,) = map(fill_from_data, checked.configs)
    splits = load_splits(cfg.dataset, cfg.split, cfg.seed)
    print_data(cfg, splits)
    for what, file in draw_data(cfg, splits).items():
        print(printable(f"{what:<14} {file}"))
    from hcr.evaluation.fonts import note_on_names

    note = note_on_names(splits.class_names)
    if note is not None:
        say(f"note: {note}")
    return 0


def print_data(cfg: RunConfig, splits: Splits, console: PlainConsole | None = None) -> None:
    """Print the number of images of each class in each part, the source, the digests and the duplicates."""
    console = console or PlainConsole()
    names = splits.class_names
    counts = np.stack([np.bincount(getattr(splits, part).labels, minlength=len(names)) for part in PARTS])
    blocks = min(MOST_BLOCKS, -(-len(names) // MOST_ROWS))
    rows = -(-len(names) // blocks)
    height, width, channels = image_and_classes(cfg)[0]
    title = (
        f"{cfg.dataset.name}: {counts.sum():,} images of {height}x{width}x{channels}, {len(names)} classes;"
        f" split {cfg.split.name}, seed {cfg.seed}"
    )
    console.print(printable(title), style="bold")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for _ in range(blocks):
        table.add_column("class")
        for part in (*PARTS, "all"):
            table.add_column(part, justify="right")
    for row in range(rows):
        cells = []
        for k in range(row, len(names), rows):
            cells += [printable(names[k]), *_numbers(counts[:, k])]
        table.add_row(*cells)
    table.add_section()
    table.add_row("all", *_numbers(counts.sum(axis=1)))
    console.print_table(table)
    console.print(printable(f"from           {splits.source}"))
    console.print(f"dataset digest {splits.dataset_digest}")
    console.print(f"split digest   {splits.split_digest}")
    console.print(f"duplicates     {splits.warning or 'no validation or test image is also in training'}")
    for note in splits.data_notes:
        console.print(printable(f"note: {note}"))


def _numbers(counts: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> list[str]:
    return [f"{count:,}" for count in (*counts, counts.sum())]


def draw_data(cfg: RunConfig, splits: Splits) -> dict[str, Path]:
    """Write pictures of samples and of class balance; return their paths.

    Raises:
        TrackingError: the folder cannot be written.
    """
    from hcr.evaluation.canvas import save_figure
    from hcr.evaluation.class_plots import class_balance_info, draw_class_balance
    from hcr.evaluation.pictures import draw_samples, samples_info
    from hcr.evaluation.style import default_style

    names = splits.class_names
    labels = {part: getattr(splits, part).labels for part in PARTS}
    folder = output_root() / "data"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with default_style():
            figures = {
                "samples": draw_samples(samples_info(splits.train.images, splits.train.labels, names)),
                "balance": draw_class_balance(class_balance_info(labels, names)),
            }
            files = {what: folder / f"{safe_file_name(cfg.dataset.name)}-{what}.png" for what in figures}
            for what, figure in figures.items():
                partial = files[what].with_suffix(".partial.png")
                try:
                    save_figure(figure, partial)
                    partial.replace(files[what])
                finally:
                    partial.unlink(missing_ok=True)
    except OSError as error:
        raise TrackingError(
            f"{folder}: expected a folder that can be written ({one_line(error)}); HCR_OUTPUT_DIR names another"
        ) from error
    return files
