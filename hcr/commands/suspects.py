"""`hcr suspects`: the images whose labels are probably wrong."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from hcr.commands.arguments import OneLineParser
from hcr.config.errors import ConfigError, DataError, TrackingError, one_line
from hcr.config.text import csv_line, printable
from hcr.config.tracking import output_root
from hcr.importing import import_needed
from hcr.tracking.events import ARTIFACTS, read_events
from hcr.tracking.finding import find_run
from hcr.tracking.journal import add_events
from hcr.tracking.lock import lock_ended_run

if TYPE_CHECKING:
    from hcr.data.origins import Origin
    from hcr.evaluation.mosaic import Images
    from hcr.evaluation.suspects import Suspects
    from hcr.held_out import HeldOut

NEEDS_CLEANLAB = "hcr suspects: needs cleanlab, which is not installed; pip install 'hcr[suspects]'"
CSV, PICTURE = "suspects/suspects.csv", "suspects/suspects.png"  # artifacts of the run
COLUMNS = ("path", "source", "row", "index", "given", "suggested", "quality", "probability")
MOST_ROWS = 10  # of the table that is printed; the CSV has all
DESCRIPTION = """\
List the images whose labels are probably wrong, worst first: labels that are contradicted too
confidently by a model that was not trained on these images (confident learning, Northcutt et al. 2021).
Of a sweep over all folds of split=kfold, all images outside test are judged; of a run, its validation
images."""


def main(argv: Sequence[str]) -> int:
    """Find the suspects of RUN_OR_SWEEP, record them in it as CSV and picture, and print the worst.

    Raises:
        ConfigError: an argument is invalid, or cleanlab is missing.
        TrackingError: a run does not exist, has not finished or cannot be read, or folds are missing.
        DataError: there are too few classes.
    """
    parser = OneLineParser("suspects", DESCRIPTION)
    parser.add_argument("run", metavar="RUN_OR_SWEEP", help="a key, a unique prefix, a name or latest; or SWEEP/RANK")
    parser.add_argument("-o", "--output", metavar="FILE", help="also write the CSV to FILE")
    arguments = parser.parse_args(argv)
    output = None if arguments.output is None else _checked(Path(arguments.output))
    if find_spec("cleanlab") is None:
        raise ConfigError(NEEDS_CLEANLAB)
    folder, point = _find(arguments.run)
    from hcr.held_out import held_out

    held = held_out(folder, point)
    import_needed("cleanlab")
    from hcr.evaluation.suspects import find_suspects

    try:
        found = find_suspects(held.probabilities, held.labels)
    except ValueError as error:
        raise DataError(f"run {folder.name}: {error}") from error
    sources = _sources(held, found)
    table, picture = _csv(held, found, sources).encode("utf-8"), _draw(held, found, sources)
    kept = _record(folder, {CSV: table} | ({} if picture is None else {PICTURE: picture}))
    if output is not None:
        _write(output, table)
    _print(held, found, sources.names)
    for file in [*([] if output is None else [output]), *kept]:
        print(printable(str(file)))
    _print_advice(found, sources.why)
    from hcr.tracking.ended import upload_added

    upload_added(folder)
    return 0


def _checked(output: Path) -> Path:
    if output.is_dir() or not output.parent.is_dir():
        got = "a folder" if output.is_dir() else f"no folder {str(output.parent)!r}"
        raise ConfigError(f"hcr suspects: --output: expected a file in a folder that exists, got {got}")
    if output.exists():
        raise ConfigError(f"hcr suspects: --output: expected a new file, but {output} exists")
    return output


def _find(name: str) -> tuple[Path, int | None]:
    """The folder of a run or sweep, and the number of a point."""
    point = re.fullmatch(r"(.+)/(\d+)", name)
    return find_run(output_root(), point[1] if point else name), int(point[2]) if point else None


@dataclass(frozen=True)
class _Sources:
    """Where M suspects are from.

    Attributes:
        path: of the data set; empty if its images are not at hand.
        images: (M, H, W, C); None if they are not at hand.
        origins: (M,), in the data set's files; None if they are not at hand.
        names: (M,), short names.
        why: why the images are not at hand; None: they are.
    """

    path: str
    images: "Images | None"
    origins: "Sequence[Origin] | None"
    names: Sequence[str]
    why: str | None


def _sources(held: "HeldOut", found: "Suspects") -> _Sources:
    from hcr.data.loading import load_dataset
    from hcr.data.origins import origins_of

    index = held.index[found.place]
    try:
        splits = held.run.load_splits()  # refuses data that changed
        data = load_dataset(held.run.cfg.dataset)
        assert data.rows is not None, "of every data set that `assemble` makes"
        origins = origins_of(held.run.cfg.dataset, data.rows[index])
    except DataError as error:
        return _Sources("", None, None, [f"image {place}" for place in index], one_line(error))
    names = [Path(source).name if row is None else f"{source}[{row}]" for source, row in origins]
    return _Sources(splits.source, data.images[index], origins, names, None)


def _csv(held: "HeldOut", found: "Suspects", sources: _Sources) -> str:
    lines, classes = [csv_line(COLUMNS)], held.run.class_names
    for i, place in enumerate(found.place):
        origin = (None, None) if sources.origins is None else sources.origins[i]
        labels = (classes[found.given[i]], classes[found.suggested[i]])
        chances = (f"{found.quality[i]:.6g}", f"{found.probability[i]:.6g}")
        lines.append(csv_line([sources.path, *origin, held.index[place], *labels, *chances]))
    return "".join(lines)


def _draw(held: "HeldOut", found: "Suspects", sources: _Sources) -> bytes | None:
    """The picture of the worst, as PNG; None without images."""
    from hcr.evaluation.canvas import save_figure
    from hcr.evaluation.inspection_pictures import contradicted_info, draw_contradicted
    from hcr.evaluation.style import default_style

    if sources.images is None:
        return None
    info = contradicted_info(sources.images, sources.names, found, held.run.class_names)
    with default_style(), TemporaryDirectory() as folder:
        save_figure(draw_contradicted(info), Path(folder) / "suspects.png")
        return (Path(folder) / "suspects.png").read_bytes()


def _record(folder: Path, wanted: Mapping[str, bytes]) -> list[Path]:
    """Keep these files as artifacts of the run in `folder`; what it has already is not recorded again."""
    try:
        lock = lock_ended_run(folder)
    except BlockingIOError:
        raise TrackingError(f"run {folder.name}: another process holds it; expected a run that has ended") from None
    with lock:
        known = {event.get("path") for event, _ in read_events(folder) if event["event"] == "artifact"}
        new = []
        for path, data in wanted.items():
            file = folder / ARTIFACTS / path
            if not (path in known and file.is_file() and file.read_bytes() == data):
                _write(file, data)
                new.append(path)
        try:
            if new:
                add_events(folder, [{"event": "artifact", "path": path} for path in new])
        except OSError as error:
            raise TrackingError(f"{folder}: cannot be written ({one_line(error)})") from error
    return [folder / ARTIFACTS / path for path in wanted]


def _write(file: Path, data: bytes) -> None:
    """Write a whole file or nothing."""
    partial = file.with_name(f"{file.name}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise TrackingError(f"{file}: cannot be written ({one_line(error)})") from error


def _print(held: "HeldOut", found: "Suspects", names: Sequence[str]) -> None:
    from rich import box
    from rich.table import Table

    from hcr.console import PlainConsole
    from hcr.evaluation.labels import counted

    console, classes = PlainConsole(), held.run.class_names
    console.say(held.what)
    share = 100 * found.estimated / found.num_images
    console.say(
        f"an estimated {found.estimated:,} of {found.num_images:,} labels are wrong ({share:.1f} %);"
        f" {counted(len(found), 'suspect')}, worst first:"
    )
    if not len(found):
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("image", "given", "suggested", "quality", "probability"):
        table.add_column(name, justify="right" if name in ("quality", "probability") else "left")
    for i in range(min(MOST_ROWS, len(found))):
        words = [names[i], classes[found.given[i]], classes[found.suggested[i]]]
        table.add_row(*map(printable, words), f"{found.quality[i]:.4f}", f"{found.probability[i]:.4f}")
    if len(found) > MOST_ROWS:
        table.caption, table.caption_justify = f"and {len(found) - MOST_ROWS:,} more", "left"
    console.print_table(table)


def _print_advice(found: "Suspects", why: str | None) -> None:
    from hcr.console import PlainConsole

    console = PlainConsole()
    if why is not None:
        console.say(f"note: no picture, and no sources in the CSV, as the images are not at hand: {why}")
    if len(found):
        console.say(
            "next: look at each image, correct the wrong labels in the source, and train again; unusual images of the"
            " right label are listed too, and belong to the data"
        )
