"""The gate: every config, whatever its origin, becomes a RunConfig here or is refused."""

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BeforeValidator, Field, model_validator

from hcr.config.errors import ConfigError, one_line
from hcr.config.launcher import LAUNCHERS, LauncherConfig
from hcr.config.parts import Parts
from hcr.config.secrets import is_secret_name, shown, without_secrets
from hcr.config.settings import (
    Settings,
    annotation_of,
    check,
    check_names,
    choose,
    expected,
    fields_of,
    join,
    names_of,
)
from hcr.config.sweep import SweepConfig
from hcr.config.tracking import TrackingConfig
from hcr.config.training import TrainingConfig
from hcr.config.words import Expected
from hcr.data.formats import FORMATS, DataFormat
from hcr.data.splits import SPLITS, Seed, Split
from hcr.gate.keys import Keys
from hcr.gate.resolvers import restrict_resolvers
from hcr.model.architectures import ARCHITECTURES, Architecture
from hcr.model.augmentations import AUGMENTATIONS, Augmentation
from hcr.model.optimizers import OPTIMIZERS, Optimizer
from hcr.model.schedules import SCHEDULES, Schedule

# Metrics that can choose the best epoch; True if higher is better. All are measured on validation.
MONITORS: Mapping[str, bool] = MappingProxyType({"val/loss": False, "val/accuracy": True})

# Groups whose class is chosen by name: the key that holds the name, and the classes by name.
CHOICES: Mapping[str, tuple[str, Mapping[str, type]]] = MappingProxyType(
    {
        "dataset": ("format", FORMATS),
        "split": ("name", SPLITS),
        "augmentation": ("name", AUGMENTATIONS),
        "model": ("name", ARCHITECTURES),
        "optimizer": ("name", OPTIMIZERS),
        "schedule": ("name", SCHEDULES),
        "launcher": ("name", LAUNCHERS),
    }
)

FROM = "from"
# Keys that say how runs are chosen and launched; they are not part of a run.
HOW_IT_IS_ASKED = ("sweep", "launcher", "check_only", "resume", "new_run")
RUN_GROUPS = tuple(group for group in CHOICES if group not in HOW_IT_IS_ASKED)
OF_ALL_RUNS = (*HOW_IT_IS_ASKED, "tracking", FROM)  # the runs of a sweep share these
TAG_NAME = re.compile(r"(?!\.\.|/)[\w\-.: /]{1,250}")  # as MLflow accepts

# Keys of Hydra's `instantiate`. hcr instantiates nothing, so they are refused.
INSTANTIATE_KEYS = ("_target_", "_partial_", "_args_", "_recursive_", "_convert_")


def _with_text_names(tags: object) -> object:
    """Turn tag names that YAML reads as integers into text."""
    if not isinstance(tags, Mapping):
        return tags
    return {str(name) if type(name) is int else name: value for name, value in tags.items()}


class RunConfig(Settings):
    """The validated config of one run: every key is known, typed and in range, and the parts fit together."""

    seed: Annotated[Seed, Field(description="seed of split, initial weights, shuffling and dropout")]
    monitor: Annotated[str, Field(description="metric for the best epoch and early stopping")]
    score_test: Annotated[
        bool | None,
        Field(description="score test at the end; null: only in single runs, not in runs of a sweep"),
    ]
    check_only: Annotated[bool, Field(description="true: a dry run that checks everything and trains nothing")]
    resume: Annotated[
        str,
        Expected("auto, never, or a run"),
        Field(
            pattern=r"\S",
            description="auto: resume the interrupted run; never: start anew; or a run (key, name, latest)",
        ),
    ]
    notes: Annotated[str | None, Field(description="notes on the run, shown in its description in MLflow")]
    tags: Annotated[
        dict[str, str | bool | int | float] | None,
        BeforeValidator(_with_text_names),
        Field(description="your own tags for the run: 'tags={team: ocr, paper: true}'"),
    ]
    dataset: DataFormat
    split: Split
    augmentation: Augmentation
    model: Architecture
    optimizer: Optimizer
    schedule: Schedule
    training: TrainingConfig
    tracking: TrackingConfig
    new_run: Annotated[bool, Field(description="true: train again even if the same run has finished")] = False
    from_run: Annotated[  # `from` in YAML, a keyword in Python
        str | None,
        Expected("a run, or null"),
        Field(
            alias=FROM,
            pattern=r"\S",
            description="a finished run (key, name, latest) whose config replaces these files",
        ),
    ] = None

    @model_validator(mode="after")
    def _fits_together(self) -> "RunConfig":
        if self.monitor.startswith("test"):
            raise ConfigError(
                f"monitor: expected a validation metric ({', '.join(MONITORS)}), got {shown('monitor', self.monitor)};"
                " test is scored once, at the end, and must not choose an epoch"
            )
        choose(MONITORS, self.monitor, key="monitor")
        for name in self.tags or {}:
            if name.startswith(("hcr.", "mlflow.")):
                raise ConfigError(
                    f"tags: expected names without a reserved prefix (hcr., mlflow.), got {shown('', name)}"
                )
            if TAG_NAME.fullmatch(name) is None or posixpath.normpath(name) != name:
                raise expected("names of letters, digits, spaces and _ - . : /, and no path", "tags", name)
        self.split.check_dataset(self.dataset)
        if self.dataset.input_shape is not None:  # else the model is checked once the data is read
            self.model.check_image(self.dataset.input_shape)
        return self


def image_and_classes(cfg: RunConfig) -> tuple[tuple[int, int, int], int]:
    """Height, width, channels of a model's images, and the number of its classes; the config must be resolved."""
    shape, classes = cfg.dataset.input_shape, cfg.dataset.kept_classes
    assert shape is not None and classes is not None, "`fill_from_data` fills them"
    return shape, len(classes)


def parse_config(raw: DictConfig | Mapping[str, Any]) -> RunConfig:
    """Validate a config: the gate.

    Args:
        raw: a composed config without Hydra's own node; its interpolations are resolved here.

    Raises:
        ConfigError: one line with the key, the expected value and the actual one.
    """
    return _checked(_plain(raw))


def parse_resolved(values: Mapping[str, Any]) -> RunConfig:
    """Validate plain values from `to_dict`, which contain no interpolations.

    Raises:
        ConfigError: as `parse_config`.
    """
    return _checked(dict(values))


def parse_sweep(raw: DictConfig | Mapping[str, Any]) -> SweepConfig:
    """Validate the sweep settings of a composed config.

    Raises:
        ConfigError: as `parse_config`.
    """
    return check(SweepConfig, _plain(raw)["sweep"])


def parse_launcher(raw: DictConfig | Mapping[str, Any]) -> LauncherConfig:
    """Validate the launcher settings of a composed config.

    Raises:
        ConfigError: as `parse_config`.
    """
    values = _plain(raw)["launcher"]
    return check(choose(LAUNCHERS, values["name"], key="launcher.name"), values)


def _checked(values: dict[str, Any]) -> RunConfig:
    for key in _keys(values):
        if key.rsplit(".", 1)[-1] in INSTANTIATE_KEYS:
            raise ConfigError(f"{key}: not allowed; YAML names things (model.name, ...), it never imports them")
    hints = config_hints()
    keys = Keys(dict(values), hints, CHOICES)
    check_names(values, hints, unknown=keys.unknown)
    for group, (selector, table) in CHOICES.items():
        chosen = values.get(group)
        if isinstance(chosen, Mapping):
            key = join(group, selector)
            if selector not in chosen:
                raise ConfigError(f"{key}: missing; expected one of {', '.join(sorted(table))}")
            kind = choose(table, chosen[selector], key=key)
            _check_kind(group, key, kind, table, chosen)
            values[group] = check(kind, chosen, unknown=keys.unknown)
    for group in ("training", "tracking"):
        if group in values:
            values[group] = check(hints[group], values[group], unknown=keys.unknown)
    # Sweep and launcher settings are not part of a run.
    values.pop("launcher", None)
    if "sweep" in values:
        check(SweepConfig, values.pop("sweep"), unknown=keys.unknown)
    return RunConfig(**values)


def _check_kind(group: str, key: str, kind: type, table: Mapping[str, type], chosen: Mapping[str, Any]) -> None:
    """Refuse a changed name if the group's other settings still belong to another part."""
    own = table.own if isinstance(table, Parts) else table
    others = [name for name, other in own.items() if _fits(other, chosen)]
    if others and not _fits(kind, chosen):
        raise ConfigError(
            f"{key}: the other settings of this group belong to {others[0]!r}; choose the whole group ({group}=...)"
            f" to get those of {chosen[key.rpartition('.')[2]]!r}"
        )


def _fits(kind: type, chosen: Mapping[str, Any]) -> bool:
    """True if the keys of `chosen` are those of `kind`; keys with a default may be missing."""
    needed = {name for name, field in fields_of(kind).items() if field.is_required()}
    return needed <= set(chosen) <= set(names_of(kind))


def config_hints() -> dict[str, Any]:
    """The annotation of every top-level key of a config."""
    hints = {name: annotation_of(field) for name, field in fields_of(RunConfig).items()}
    return hints | {"sweep": SweepConfig, "launcher": LauncherConfig}


def to_dict(cfg: RunConfig) -> dict[str, Any]:
    """The resolved config as plain values for YAML and MLflow, with lists for tuples."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, tuple) else value

    dumped = cfg.model_dump(by_alias=True, serialize_as_any=True)
    return {key: plain(value) for key, value in dumped.items()}


def to_yaml(cfg: RunConfig, *, secrets: bool = True) -> str:
    """The resolved config as YAML that the gate accepts again; with `secrets` False, secrets are redacted."""

    def escape(value: Any) -> Any:
        """Escape text that looks like an interpolation."""
        if isinstance(value, dict):
            return {key: escape(item) for key, item in value.items()}
        if isinstance(value, list):
            return [escape(item) for item in value]
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value

    values = to_dict(cfg) if secrets else without_secrets(to_dict(cfg))
    return OmegaConf.to_yaml(OmegaConf.create(escape(values)))


def flatten(values: Mapping[str, Any], parent: str = "") -> dict[str, Any]:
    """Dotted keys to leaves; lists and empty groups are leaves."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = join(parent, name)
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, key)
        else:
            flat[key] = value
    return flat


def of_omegaconf(error: OmegaConfBaseException) -> ConfigError:
    """OmegaConf's error as a one-line ConfigError; for a secret without its message, which quotes the value."""
    key = error.full_key or "config"
    problem = f"cannot be resolved ({type(error).__name__})" if is_secret_name(key) else one_line(error)
    return ConfigError(f"{key}: {problem}")


def as_param(value: Any) -> str:
    """A leaf as an MLflow param, in the notation of YAML and the command line, such as null, true, [1, 2]."""
    return value if isinstance(value, str) else json.dumps(value)


def _plain(raw: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    """`raw` as plain values, with interpolations resolved; refuses missing values."""
    restrict_resolvers()
    node = raw if isinstance(raw, DictConfig) else OmegaConf.create(dict(raw))
    try:
        values = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise of_omegaconf(error) from error
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _keys(values: object, parent: str = "") -> Iterator[str]:
    """Every dotted key at every depth, including inside lists."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            key = join(parent, str(name))
            yield key
            yield from _keys(value, key)
    elif isinstance(values, list):
        for i, value in enumerate(values):
            yield from _keys(value, f"{parent}[{i}]")
