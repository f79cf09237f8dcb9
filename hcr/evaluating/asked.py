"""What an evaluation is asked to do: overrides of the run's own config, checked before anything heavy is imported."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf

from hcr.config import ConfigError
from hcr.config.secrets import override_without_secrets
from hcr.config.tracking import tracking_uri
from hcr.gate import RunConfig, parse_config
from hcr.gate.compose import Composer
from hcr.gate.run_config import to_yaml
from hcr.recorded import RecordedRun
from hcr.tracking.events import first_event
from hcr.tracking.place import store_of
from hcr.verbs import VERBS

ALLOWED = VERBS["evaluate"].keys
# Fits every data set: it takes the official test images if there are any.
ANY_SPLIT = {"name": "auto", "validation": 0.1, "test": 0.2, "test_seed": 0, "seed": None}


@dataclass(frozen=True)
class Asked:
    """A checked request.

    Attributes:
        cfg: the run's config with the data set to evaluate on, prepared to the size and colour that the model takes.
        overrides: as given.
        changes_data: True if another data set, split or preparation is named.
        names_split: True if a split is named.
        notes: what is said about the preparation, one line each.
    """

    cfg: RunConfig
    overrides: tuple[str, ...]
    changes_data: bool
    names_split: bool
    notes: tuple[str, ...]


def read_asked(run: RecordedRun, overrides: Sequence[str], config_dir: str | None = None) -> Asked:
    """Check `overrides`, in Hydra's grammar, of the config of `run`.

    Args:
        config_dir: a folder of the user's own YAML; None: that of `user_config_dir`.

    Raises:
        ConfigError: an override is refused, or the data set cannot be prepared for the model.
    """
    keys = [_checked_key(word) for word in overrides]
    groups = {_group(key) for key in keys}
    composer = Composer(config_dir, config_of_run=lambda _: _config_of(run))
    job = composer.compose_from(run.key, overrides)
    changes_data, names_split = bool(groups & {"dataset", "split"}), "split" in groups
    notes: list[str] = []
    if changes_data:
        notes = _prepare_for(run, job, keys)
        if not names_split:
            job.split = ANY_SPLIT
    _choose_store(run, job, keys)
    return Asked(parse_config(job), tuple(overrides), changes_data, names_split, tuple(notes))


def _checked_key(word: str) -> str:
    key, equals, _ = word.partition("=")
    shown = override_without_secrets(word)
    if not equals or word.startswith("~"):
        raise ConfigError(f"hcr evaluate: expected overrides such as dataset=usps after the run, got {shown!r}")
    key = key.lstrip("+")
    if _group(key) not in ALLOWED:
        raise ConfigError(
            f"{key}: not part of an evaluation, which takes the trained model as it is; expected"
            f" {', '.join(ALLOWED[:-1])} or {ALLOWED[-1]}"
        )
    return key


def _group(key: str) -> str:
    return re.split("[.@]", key, maxsplit=1)[0]


def _config_of(run: RecordedRun) -> DictConfig:
    config = OmegaConf.create(to_yaml(run.cfg))
    assert isinstance(config, DictConfig)
    return config


def _prepare_for(run: RecordedRun, job: DictConfig, keys: Sequence[str]) -> list[str]:
    """Have the data set prepared as the run's was, unless `keys` say otherwise; returns notes."""
    dataset = job.dataset
    height, width, channels = run.image_shape
    color = "gray" if channels == 1 else "rgb"
    for name, needed in (("image_size", [height, width]), ("color", color)):
        own = dataset.get(name)
        if f"dataset.{name}" in keys and own not in (None, needed):
            raise ConfigError(f"dataset.{name}: expected {needed}, which the model of run {run.key} takes, got {own}")
    stored = dataset.get("image_shape")
    if stored is None or list(stored) != [height, width, channels] or dataset.get("image_size") is not None:
        dataset.image_size, dataset.color = [height, width], color
    else:
        dataset.color = None
    own_fit, fit = run.cfg.dataset.fit, dataset.get("fit", "pad")
    if fit == own_fit:
        return []
    if "dataset.fit" in keys:
        return [f"images are prepared with fit={fit}; those that the model was trained on with fit={own_fit}"]
    dataset.fit = own_fit
    return [
        f"images are prepared with fit={own_fit}, as for training; dataset.fit={fit} does it as {dataset.name} has it"
    ]


def _choose_store(run: RecordedRun, job: DictConfig, keys: Sequence[str]) -> None:
    """Record the evaluation where the run is, so that links between them work, unless `keys` say otherwise."""
    if run.folder is None or "tracking" in keys:
        return
    header = first_event(run.folder)
    uri = store_of(run.folder, header)
    if "tracking.uri" not in keys and uri != tracking_uri(job.tracking.uri):
        job.tracking.uri = uri
    if "tracking.experiment_name" not in keys:
        job.tracking.experiment_name = header["experiment"]
