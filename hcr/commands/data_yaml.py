"""`hcr data PATH`: the YAML that reads a file or folder."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from hcr.config.errors import ConfigError, DataError
from hcr.config.text import printable
from hcr.data.formats import FORMATS
from hcr.data.sniffing import sniff
from hcr.data.splitting import Splits, load_splits
from hcr.gate.compose import Composer
from hcr.gate.dataset_yaml import dataset_yaml, training_for
from hcr.gate.resolve import fill_from_data
from hcr.gate.run_config import RunConfig

LONGEST_NAME = 40  # characters of a made name
MOST_NAMED = 8  # classes in a line
_SUFFIXES = re.compile(r"(\.(gz|csv|tsv|mat|npz|npy|parquet|idx\d?|idx\d-ubyte))+$", re.IGNORECASE)


def print_yaml(composer: Composer, path: Path, overrides: Sequence[str] = ()) -> None:
    """Print the YAML that reads `path` on standard output, and what it is on standard error.

    Args:
        overrides: as for `hcr train`; those of the data set become part of the YAML.

    Raises:
        ConfigError: an override is refused.
        DataError: the format is unknown, or the data cannot be read or split.
    """
    kind = sniff(path)
    known = sorted(set(FORMATS) - {"arrays", "sklearn", "sklearn_digits"})
    if kind is None or kind not in FORMATS:
        raise DataError(
            f"{path}: expected images and labels in a known format ({', '.join(known)}), and recognised none; pictures"
            " need a folder for each class, and what is in one of these formats is shown by hcr data dataset=FORMAT"
            " dataset.path=..."
        )
    name = name_of(path)
    # The real path is set afterwards: it may have any character, and Hydra's grammar gives many of them a meaning.
    checked = composer.check([f"dataset={kind}", f"dataset.name={name}", "dataset.path=here", *overrides])
    if checked.multirun:
        raise ConfigError("hcr data: expected the overrides of one run, got those of a sweep")
    (cfg,) = checked.configs
    cfg = cfg.replace(dataset=cfg.dataset.replace(path=str(path.resolve())))
    cfg = fill_from_data(cfg)
    splits = load_splits(cfg.dataset, cfg.split, cfg.seed)
    for line in _seen(path, cfg, splits):
        print(printable(line), file=sys.stderr)
    heading = f"{name}: {_images(cfg, splits)}. Save it as conf/dataset/{name}.yaml; then hcr train dataset={name}"
    training = training_for(len(splits.train))
    print(dataset_yaml(cfg.dataset, split=cfg.split.name, heading=heading, training=training), end="")


def name_of(path: Path) -> str:
    """A name for the data set in `path`: letters, digits, `_` and `-`; never that of a format."""
    stem = _SUFFIXES.sub("", path.absolute().name)
    name = re.sub(r"[^\w-]+", "_", stem, flags=re.ASCII).strip("_-")[:LONGEST_NAME].rstrip("_-")
    if not re.search(r"[a-zA-Z]", name):
        name = f"data_{name}".rstrip("_")
    return f"{name}_data" if name in FORMATS or name in ("true", "false", "null", "nan", "inf") else name


def _images(cfg: RunConfig, splits: Splits) -> str:
    total = sum(map(len, (splits.train, splits.val, splits.test)))
    size = "x".join(map(str, splits.train.images.shape[1:]))
    return f"{total:,} images of {size} in {len(splits.class_names)} classes, format {cfg.dataset.format}"


def _seen(path: Path, cfg: RunConfig, splits: Splits) -> list[str]:
    """The lines about what was recognised."""
    names = splits.class_names
    more = f" and {len(names) - MOST_NAMED} more" if names[MOST_NAMED:] else ""
    sides = ", ".join(
        f"{len(subset):,} {side}"
        for side, subset in (("training", splits.train), ("validation", splits.val), ("test", splits.test))
    )
    has = [
        "official test images" if cfg.dataset.has_official_test else "no official test images",
        "groups" if cfg.dataset.has_groups else "no groups",
    ]
    return [
        f"{path}: {_images(cfg, splits)}",
        f"classes: {', '.join(names[:MOST_NAMED])}{more}",
        f"split={cfg.split.name}: {sides}; {', '.join(has)}",
        *(f"note: {note}" for note in splits.notes),
    ]
