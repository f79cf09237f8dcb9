"""What tells a run's model apart from others: the settings that MLflow shows with it, and the images that it reads."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hcr.config.replicates import REPLICATE_KEYS
from hcr.gate import RunConfig
from hcr.gate.run_config import HOW_IT_IS_ASKED, flatten, image_and_classes, to_dict

POINT = "sweep."  # prefix of the tags that hold a point's settings, such as sweep.model.depth
ALWAYS = ("dataset.name", "model.name", "optimizer.name", "training.epochs")
PREPARATION = ("pixels", "invert", "color", "image_size", "fit", "made_as")  # keys of `dataset`
GIVEN = re.compile(r"\+{0,2}([\w.]+)=(.*)", re.DOTALL)  # an override that sets a value
NO_SETTINGS = ("tracking", "notes", "tags", "hydra", "from", *HOW_IT_IS_ASKED)  # they change no model


def run_settings(cfg: RunConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """The settings of a single run by key: names of its parts, epochs, seed, fold, and what the command line changed.

    Args:
        overrides: the arguments of `hcr train`. Of a group without a name of its own, such as experiment=speedrun, the
            argument itself is a setting.
    """
    flat = flatten(to_dict(cfg))
    settings = {key: flat[key] for key in (*ALWAYS, *reversed(REPLICATE_KEYS)) if key in flat}
    for word in overrides:
        found = GIVEN.fullmatch(word)
        if found is None or found[1].split(".")[0] in NO_SETTINGS:
            continue
        if found[1] in flat:
            settings[found[1]] = flat[found[1]]
        elif "." not in found[1] and f"{found[1]}.name" not in flat:
            settings[found[1]] = found[2]
    return settings


def point_settings(cfg: RunConfig, tags: Mapping[str, str]) -> dict[str, Any]:
    """The settings of a run of a sweep by key: its point's, seed and fold.

    Args:
        tags: the run's.
    """
    flat = flatten(to_dict(cfg))
    point = {name.removeprefix(POINT): value for name, value in tags.items() if name.startswith(POINT)}
    return point | {key: flat[key] for key in reversed(REPLICATE_KEYS) if key in flat}


def what_it_reads(cfg: RunConfig) -> dict[str, Any]:
    """The images and classes of a run's model, as plain values.

    Returns:
        `classes` in label order, `image_shape` (height, width, channels) of uint8 images from 0 (black) to 255 (white),
        and the `preparation` that made them: the settings of the data set.
    """
    values = to_dict(cfg)["dataset"]
    names = cfg.dataset.kept_classes
    assert names is not None, "`fill_from_data` fills them"
    return {
        "dataset": cfg.dataset.name,
        "classes": list(names),
        "image_shape": list(image_and_classes(cfg)[0]),
        "preparation": {key: values[key] for key in PREPARATION if key in values},
    }
