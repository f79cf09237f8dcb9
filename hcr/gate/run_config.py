"""The one gate: whatever a config comes from, it becomes a RunConfig here or is refused here."""

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
from hcr.config.secrets import is_secret_name, without_secrets
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
    shown,
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

# What picks the best epoch, and whether more of it is better. All of them are measured on validation.
MONITORS: Mapping[str, bool] = MappingProxyType({"val/loss": False, "val/accuracy": True})

# A group whose kind is chosen by name: the key that holds the name, and the kinds there are.
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
# How runs are chosen, asked for and launched: no part of what they are.
HOW_IT_IS_ASKED = ("sweep", "launcher", "check_only", "resume", "new_run")
RUN_GROUPS = tuple(group for group in CHOICES if group not in HOW_IT_IS_ASKED)
OF_ALL_RUNS = (*HOW_IT_IS_ASKED, "tracking", FROM)  # the runs of a sweep share these
TAG_NAME = re.compile(r"(?!\.\.|/)[\w\-.: /]{1,250}")  # what MLflow takes

# What Hydra's `instantiate` would act on. Nothing here is ever instantiated, so none of them has a meaning.
INSTANTIATE_KEYS = ("_target_", "_partial_", "_args_", "_recursive_", "_convert_")


def _with_text_names(tags: object) -> object:
    """YAML has names that are whole numbers; they become text."""
    if not isinstance(tags, Mapping):
        return tags
    return {str(name) if type(name) is int else name: value for name, value in tags.items()}


class RunConfig(Settings):
    """One run, checked: every key known, typed and in range, and the parts fit together."""

    seed: Annotated[Seed, Field(description="decides split, initial weights, shuffling and dropout")]
    monitor: Annotated[str, Field(description="metric that picks the best epoch and stops early")]
    score_test: Annotated[
        bool | None,
        Field(description="score the sealed test images at the end; null: a single run does, runs of a sweep do not"),
    ]
    check_only: Annotated[
        bool, Field(description="true: a dry run that checks everything, prints what would run, and trains nothing")
    ]
    resume: Annotated[
        str,
        Expected("auto, never, or a run"),
        Field(
            pattern=r"\S",
            description="auto: resume the same run if interrupted; never: start anew; or a run (key, name, latest)",
        ),
    ]
    notes: Annotated[str | None, Field(description="why this run was made; shown as its description in MLflow")]
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
    new_run: Annotated[bool, Field(description="true: train again although the same run has finished")] = False
    from_run: Annotated[  # `from` in YAML, a word that Python keeps for itself
        str | None,
        Expected("a run, or null"),
        Field(
            alias=FROM,
            pattern=r"\S",
            description="a finished run (key, name, latest): start from its config instead of from these files",
        ),
    ] = None

    @model_validator(mode="after")
    def _fits_together(self) -> "RunConfig":
        if self.monitor.startswith("test"):
            raise ConfigError(
                f"monitor: expected a validation metric ({', '.join(MONITORS)}), got {shown('monitor', self.monitor)};"
                " test is scored once, at the end, and chooses nothing"
            )
        choose(MONITORS, self.monitor, key="monitor")
        for name in self.tags or {}:
            if name.startswith(("hcr.", "mlflow.")):
                raise ConfigError(
                    f"tags: expected names of your own, got {shown('', name)}; hcr. and mlflow. are reserved"
                )
            if TAG_NAME.fullmatch(name) is None or posixpath.normpath(name) != name:
                raise expected("names of letters, digits and _ - . : / and spaces, no path", "tags", name)
        self.split.check_dataset(self.dataset)
        self.model.check_image(self.dataset.image_shape)
        return self


def parse_config(raw: DictConfig | Mapping[str, Any]) -> RunConfig:
    """The gate.

    Args:
        raw: a composed config, without Hydra's own node; interpolations are resolved here.

    Raises:
        ConfigError: one line that names the key, what was expected and what came.
    """
    return _checked(_plain(raw))


def parse_resolved(values: Mapping[str, Any]) -> RunConfig:
    """The gate, for the plain values that `to_dict` gives: nothing in them is an interpolation any more.

    Raises:
        ConfigError: as `parse_config`.
    """
    return _checked(dict(values))


def parse_sweep(raw: DictConfig | Mapping[str, Any]) -> SweepConfig:
    """The gate for what a composed config says of a sweep.

    Raises:
        ConfigError: as `parse_config`.
    """
    return check(SweepConfig, _plain(raw)["sweep"])


def parse_launcher(raw: DictConfig | Mapping[str, Any]) -> LauncherConfig:
    """The gate for what a composed config says of where the trials of a sweep run.

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
    # How runs are chosen, and where they run, is no part of any of them.
    values.pop("launcher", None)
    if "sweep" in values:
        check(SweepConfig, values.pop("sweep"), unknown=keys.unknown)
    return RunConfig(**values)


def _check_kind(group: str, key: str, kind: type, table: Mapping[str, type], chosen: Mapping[str, Any]) -> None:
    """Refuse a name changed alone: the group's other settings are still those of another kind."""
    own = table.own if isinstance(table, Parts) else table
    others = [name for name, other in own.items() if _fits(other, chosen)]
    if others and not _fits(kind, chosen):
        raise ConfigError(
            f"{key}: the other settings here are those of {others[0]!r}; choose the whole group ({group}=...)"
            f" to have those of {chosen[key.rpartition('.')[2]]!r}"
        )


def _fits(kind: type, chosen: Mapping[str, Any]) -> bool:
    """Whether the keys of `chosen` are those of a part; one that has a default may be absent."""
    needed = {name for name, field in fields_of(kind).items() if field.is_required()}
    return needed <= set(chosen) <= set(names_of(kind))


def config_hints() -> dict[str, Any]:
    """The annotation of every top-level key that a config may have."""
    hints = {name: annotation_of(field) for name, field in fields_of(RunConfig).items()}
    return hints | {"sweep": SweepConfig, "launcher": LauncherConfig}


def to_dict(cfg: RunConfig) -> dict[str, Any]:
    """The resolved config as plain values, lists for tuples: what YAML and MLflow get."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, tuple) else value

    dumped = cfg.model_dump(by_alias=True, serialize_as_any=True)
    return {key: plain(value) for key, value in dumped.items()}


def to_yaml(cfg: RunConfig, *, secrets: bool = True) -> str:
    """The resolved config as YAML that the gate takes back; `secrets` False leaves out what is one."""

    def escape(value: Any) -> Any:
        """Text that looks like an interpolation, and is none any more."""
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
    """OmegaConf's error in one line of ours; of a value that is secret only its kind, as its grammar quotes values."""
    key = error.full_key or "config"
    told = f"cannot be resolved ({type(error).__name__})" if is_secret_name(key) else one_line(error)
    return ConfigError(f"{key}: {told}")


def as_param(value: Any) -> str:
    """A leaf as MLflow's params have it: as YAML and the command line write it, such as null, true, [1, 2]."""
    return value if isinstance(value, str) else json.dumps(value)


def _plain(raw: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    """Interpolations resolved, nothing missing."""
    restrict_resolvers()
    node = raw if isinstance(raw, DictConfig) else OmegaConf.create(dict(raw))
    try:
        values = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise of_omegaconf(error) from error
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _keys(values: object, parent: str = "") -> Iterator[str]:
    """Every dotted key at every depth, inside lists too."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            key = join(parent, str(name))
            yield key
            yield from _keys(value, key)
    elif isinstance(values, list):
        for i, value in enumerate(values):
            yield from _keys(value, f"{parent}[{i}]")
