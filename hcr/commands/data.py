"""`hcr data`: the contents of a data set, and its split; or the YAML that reads a file or folder."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcr.commands.arguments import OneLineParser
from hcr.commands.data_facts import facts_of
from hcr.commands.data_pictures import draw_data
from hcr.commands.data_tables import print_inspection
from hcr.commands.data_yaml import print_yaml
from hcr.config.errors import ConfigError
from hcr.config.text import printable
from hcr.console import PlainConsole, wrap
from hcr.data.dataset import Dataset
from hcr.data.files import is_file, is_folder
from hcr.data.inspection.checks import DESCRIPTIONS, failed_checks
from hcr.data.inspection.inspect import inspect_splits
from hcr.data.loading import load_dataset
from hcr.data.splitting import load_splits
from hcr.gate.compose import Composer
from hcr.gate.resolve import fill_from_data
from hcr.gate.run_config import RunConfig

HELP_WIDTH = 96  # columns

DESCRIPTION = (
    "Show a data set and its split, before anything is trained: images of each class, sizes, ink, copies within and"
    " across training, validation and test, suspicious labels, digests, and pictures. Labels of the sealed test are"
    " counted, but not judged.",
    "With the PATH of a file or folder, tell its format and print the YAML that reads it:"
    " `hcr data scans > conf/dataset/scans.yaml`, then `hcr train dataset=scans`.",
)


def main(argv: Sequence[str]) -> int:
    """Load and split the data that `hcr train OVERRIDES` would train on; print what it holds, and draw it.

    Returns:
        1 if a check fails, with one line for each on standard error; else 0.

    Raises:
        ConfigError, DataError, TrackingError: as in `hcr train`.
    """
    parser = OneLineParser("data", _description())
    parser.add_argument(
        "overrides", nargs="*", metavar="OVERRIDES|PATH", help="as for `hcr train`; or a file or folder of images"
    )
    parser.add_argument("--config-dir", help="a folder of your own YAML (default: HCR_CONF_DIR, or ./conf)")
    parser.add_argument("--json", action="store_true", help="print the same as JSON, and nothing else")
    arguments = parser.parse_args(argv)
    composer = Composer(arguments.config_dir)
    path, overrides = _path_and_overrides(arguments.overrides)
    if path is not None:
        if arguments.json:
            raise ConfigError(f"hcr data: expected no --json with {path}, of which it prints YAML")
        print_yaml(composer, path, overrides)
        return 0
    cfg = _single(composer, overrides)
    data = load_dataset(cfg.dataset)
    splits = load_splits(cfg.dataset, cfg.split, cfg.seed)
    found = inspect_splits(splits, _source_sizes(data))
    failed = failed_checks(found)
    if arguments.json:
        pictures = draw_data(cfg, splits, found)
        facts = facts_of(cfg, splits, found, failed)
        facts["pictures"] = {what: str(file) for what, file in pictures.items()}
        print(json.dumps(facts, ensure_ascii=True, allow_nan=False, indent=1))
    else:
        print_inspection(cfg, splits, found, failed)
        for what, file in draw_data(cfg, splits, found).items():
            print(printable(f"{what:<14} {file}"))
        from hcr.evaluation.fonts import note_on_names

        note = note_on_names(splits.class_names)
        if note is not None:
            PlainConsole().say(f"note: {note}")
    sys.stdout.flush()
    for line in failed:
        print(printable(f"hcr: {line}"), file=sys.stderr)
    return 1 if failed else 0


def _description() -> str:
    paragraphs = ["\n".join(wrap(text, HELP_WIDTH)) for text in DESCRIPTION]
    checks = "\n".join("\n    ".join(wrap(f"- {text}", HELP_WIDTH - 4)) for text in DESCRIPTIONS)
    checks = "\n".join(f"  {line}" for line in checks.splitlines())
    return "\n\n".join([*paragraphs, f"The exit code is 1 if a check fails:\n{checks}"])


def _source_sizes(data: Dataset) -> NDArray[np.integer[Any]] | None:
    """Height and width of the stored images, (N, 2) or (1, 2) if all are alike; None if they are as prepared."""
    if data.sizes is not None or data.source_shape is None:
        return data.sizes
    stored, prepared = data.source_shape[:2], data.images.shape[1:3]
    return None if stored == prepared else np.array([stored])


def _path_and_overrides(words: Sequence[str]) -> tuple[Path | None, list[str]]:
    """The file or folder among the words, if there is one, and the overrides.

    Raises:
        ConfigError: a word is neither, or there are two paths.
    """
    plain = [word for word in words if "=" not in word and not word.startswith("~")]
    if len(plain) > 1:
        raise ConfigError(f"hcr data: expected one file or folder, got {plain[0]!r} and {plain[1]!r}")
    if plain and not (is_file(Path(plain[0])) or is_folder(Path(plain[0]))):
        raise ConfigError(
            f"{plain[0]}: expected a file or folder, and found none there; or overrides such as dataset=mnist"
        )
    return (Path(plain[0]) if plain else None), [word for word in words if word not in plain]


def _single(composer: Composer, overrides: Sequence[str]) -> RunConfig:
    checked = composer.check(overrides)
    if checked.multirun:
        raise ConfigError("hcr data: expected the overrides of one run, got those of a sweep")
    (cfg,) = checked.configs
    return fill_from_data(cfg)
