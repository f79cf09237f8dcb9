"""The one gate: whatever a config comes from, it becomes a RunConfig here or is refused here."""

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from types import MappingProxyType
from typing import Any, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hcr.config.augmentation import AUGMENTATIONS, AugmentationConfig
from hcr.config.data import DATASETS, SPLITS, DatasetConfig, SplitConfig
from hcr.config.errors import ConfigError, one_line
from hcr.config.extensions import ExtendedTable
from hcr.config.keys import Keys
from hcr.config.launcher import LAUNCHERS, LauncherConfig
from hcr.config.model import MODELS, ModelConfig
from hcr.config.optimizer import OPTIMIZERS, SCHEDULES, OptimizerConfig, ScheduleConfig
from hcr.config.resolvers import restrict_resolvers
from hcr.config.schema import build, check_names, choose, convert, join, require, shown
from hcr.config.secrets import is_secret_name, without_secrets
from hcr.config.sweep import SweepConfig
from hcr.config.tracking import TrackingConfig
from hcr.config.training import TrainingConfig

# What picks the best epoch, and whether more of it is better. All of them are measured on validation.
MONITORS: Mapping[str, bool] = MappingProxyType({"val/loss": False, "val/accuracy": True})

# A group whose kind is chosen by name: the key that holds the name, and the kinds there are.
CHOICES: Mapping[str, tuple[str, Mapping[str, type]]] = MappingProxyType(
    {
        "dataset": ("format", ExtendedTable(DATASETS, DatasetConfig, "hcr.formats", "load")),
        "split": ("name", SPLITS),
        "augmentation": ("name", AUGMENTATIONS),
        "model": ("name", ExtendedTable(MODELS, ModelConfig, "hcr.models", "build")),
        "optimizer": ("name", ExtendedTable(OPTIMIZERS, OptimizerConfig, "hcr.optimizers", "build")),
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


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run, checked: every key known, typed and in range, and the parts fit together."""

    seed: int
    monitor: str
    score_test: bool | None
    check_only: bool
    resume: str
    notes: str | None
    tags: dict[str, str | bool | int | float] | None
    dataset: DatasetConfig
    split: SplitConfig
    augmentation: AugmentationConfig
    model: ModelConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    training: TrainingConfig
    tracking: TrackingConfig
    new_run: bool = False
    from_run: str | None = None  # `from` in YAML, a word that Python keeps for itself

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**32, "seed", "an integer from 0 to 4294967295", self.seed)
        if self.monitor.startswith("test"):
            raise ConfigError(
                f"monitor: expected a validation metric ({', '.join(MONITORS)}), got {shown('monitor', self.monitor)};"
                " test is scored once, at the end, and chooses nothing"
            )
        choose(MONITORS, self.monitor, key="monitor")
        require(bool(self.resume.strip()), "resume", "auto, never, or a run", self.resume)
        require(self.from_run is None or bool(self.from_run.strip()), "from", "a run, or null", self.from_run)
        for name in self.tags or {}:
            if name.startswith(("hcr.", "mlflow.")):
                raise ConfigError(
                    f"tags: expected names of your own, got {shown('', name)}; hcr. and mlflow. are reserved"
                )
            good = TAG_NAME.fullmatch(name) is not None and posixpath.normpath(name) == name
            require(good, "tags", "names of letters, digits and _ - . : / and spaces, no path", name)
        if self.split.name == "official" and not self.dataset.has_official_test:
            raise ConfigError(
                f"split.name: expected a data set with test images of its own, and {self.dataset.name!r} has none;"
                " use split=stratified"
            )
        if self.split.name == "grouped" and not self.dataset.has_groups:
            raise ConfigError(
                "split.name: expected a data set whose images are in groups (dataset.has_groups), and"
                f" {self.dataset.name!r} has none; use split=stratified"
            )
        self.model.check_image(self.dataset.image_shape)


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
    return build(SweepConfig, _plain(raw)["sweep"], key="sweep")


def parse_launcher(raw: DictConfig | Mapping[str, Any]) -> LauncherConfig:
    """The gate for what a composed config says of where the trials of a sweep run.

    Raises:
        ConfigError: as `parse_config`.
    """
    values = _plain(raw)["launcher"]
    return build(choose(LAUNCHERS, values["name"], key="launcher.name"), values, key="launcher")


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
            values[group] = build(kind, chosen, key=group, unknown=keys.unknown)
    for group in ("training", "tracking"):
        if group in values:
            values[group] = build(hints[group], values[group], key=group, unknown=keys.unknown)
    if FROM in values:
        values["from_run"] = convert(str | None, values.pop(FROM), key=FROM)
    # How runs are chosen, and where they run, is no part of any of them.
    values.pop("launcher", None)
    if "sweep" in values:
        build(SweepConfig, values.pop("sweep"), key="sweep", unknown=keys.unknown)
    return build(RunConfig, values)


def _check_kind(group: str, key: str, kind: type, table: Mapping[str, type], chosen: Mapping[str, Any]) -> None:
    """Refuse a name changed alone: the group's other settings are still those of another kind."""
    own = table.own if isinstance(table, ExtendedTable) else table
    others = [name for name, other in own.items() if _fits(other, chosen)]
    if others and not _fits(kind, chosen):
        raise ConfigError(
            f"{key}: the other settings here are those of {others[0]!r}; choose the whole group ({group}=...)"
            f" to have those of {chosen[key.rpartition('.')[2]]!r}"
        )


def _fits(kind: type, chosen: Mapping[str, Any]) -> bool:
    """Whether the keys of `chosen` are those of the dataclass `kind`; one that has a default may be absent."""
    known = {field.name for field in fields(kind)}
    needed = {field.name for field in fields(kind) if field.default is MISSING}
    return needed <= set(chosen) <= known


def config_hints() -> dict[str, Any]:
    """The annotation of every top-level key that a config may have."""
    hints = get_type_hints(RunConfig)
    hints |= {"sweep": SweepConfig, "launcher": LauncherConfig}
    return {FROM if name == "from_run" else name: hint for name, hint in hints.items()}


def to_dict(cfg: RunConfig) -> dict[str, Any]:
    """The resolved config as plain values, lists for tuples: what YAML and MLflow get."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, tuple) else value

    return {FROM if key == "from_run" else key: plain(value) for key, value in asdict(cfg).items()}


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
