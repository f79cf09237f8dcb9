"""Checks Hydra's own node: whatever Hydra would import or call for a config has to be on an allow-list.

Hydra acts on this node even when it only prints something: it passes the logging nodes to `logging.config.dictConfig`,
which imports the values of `()`, `class` and `ext://`, and it imports packages in the search path. Callbacks, launcher
and sweeper are never instantiated, since hcr runs the composed config itself, but they are refused too. The node is
checked after composing (the search path before), and before Hydra acts on it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hcr.config.errors import ConfigError, one_line
from hcr.config.secrets import shown
from hcr.config.settings import join, unknown_key

# The allowed values of the keys that Hydra or `dictConfig` would import.
ALLOWED: Mapping[str, frozenset[str]] = {
    "_target_": frozenset(
        {
            "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
            "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
        }
    ),
    "class": frozenset({"logging.StreamHandler", "logging.FileHandler", "logging.Formatter", "logging.NullHandler"}),
    "()": frozenset({"colorlog.ColoredFormatter"}),
}
LOG_STREAMS = frozenset({"ext://sys.stdout", "ext://sys.stderr"})

# Nodes that Hydra passes on to be instantiated. In these, an interpolation may only name another hydra value, so that
# Hydra sees the same values that are checked here.
HANDED_ON = ("callbacks", "hydra_logging", "job_logging", "launcher", "sweeper")
PLAIN_REFERENCE = re.compile(r"\$\{hydra\.[\w.]+\}")
PLACES = ("run.dir", "sweep.dir", "output_subdir")

# Hydra's groups for running jobs, and hcr's replacements.
ENGINES: Mapping[str, str] = {
    "hydra/launcher": "launcher=local, ray or slurm",
    "hydra/sweeper": "sweep.sampler=grid, tpe, random, cmaes or gp",
}
NO_ENGINE = "basic"  # Hydra's default


def check_hydra_node(node: DictConfig) -> None:
    """Refuse everything in the `hydra` node that could make Hydra run code outside the lists above.

    Raises:
        ConfigError: a value is not allowed; names the key.
    """
    from hydra.conf import HydraConf

    values = OmegaConf.to_container(node, resolve=False)
    assert isinstance(values, dict)
    chosen = (values.get("runtime") or {}).get("choices") or {}
    for group in ENGINES:
        if chosen.get(group, NO_ENGINE) != NO_ENGINE:
            raise engine_refusal(group)
    known = [*HydraConf.__dataclass_fields__, "env"]
    for name in map(str, values):
        if name not in known:
            raise ConfigError(unknown_key(f"hydra.{name}", [f"hydra.{key}" for key in known]))
    for name in HANDED_ON:
        if not isinstance(values.get(name, {}), Mapping):
            raise ConfigError(f"hydra.{name}: expected a group of settings, got {shown(f'hydra.{name}', values[name])}")
    if values.get("callbacks"):
        raise ConfigError("hydra.callbacks: not allowed; Hydra would import and call what it names")
    if (values.get("job") or {}).get("chdir"):
        raise ConfigError("hydra.job.chdir: expected false; paths are relative to the folder in which hcr is called")
    if (values.get("job") or {}).get("env_set"):
        raise ConfigError("hydra.job.env_set: not allowed in a config; set the variables in the shell")
    if values.get("sweeper", {}).get("max_batch_size") is not None:
        raise ConfigError("hydra.sweeper.max_batch_size: hcr runs its sweeps itself; expected launcher.workers=NUMBER")
    for key, name, value in _leaves(values, "hydra"):
        _check_leaf(key, name, value)
    for place in PLACES:
        try:
            OmegaConf.select(node, place)
        except OmegaConfBaseException as error:
            raise ConfigError(f"hydra.{place}: {one_line(error)}") from error


def check_engines(overrides: Sequence[str]) -> None:
    """Refuse one of Hydra's launchers or sweepers on the command line, before composing would look for it.

    Raises:
        ConfigError: an override chooses one; names the group.
    """
    for override in overrides:
        group = re.split("[=@]", override.lstrip("+~"), maxsplit=1)[0].strip()
        if group in ENGINES:
            raise engine_refusal(group)


def engine_refusal(group: str) -> ConfigError:
    """The error for a choice of `group`, a key of ENGINES."""
    return ConfigError(f"{group}: hcr runs its sweeps itself; expected {ENGINES[group]}")


def check_search_path(entries: object) -> None:
    """Refuse a `hydra.searchpath` that is not a list of folders: `pkg://` would import a package.

    Raises:
        ConfigError: an entry is no folder; names the entry.
    """
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise ConfigError(f"hydra.searchpath: expected a list of folders, got {shown('', entries)}")
    for entry in entries:
        folder = str(entry).removeprefix("file://")
        if "://" in folder or not Path(folder).is_dir():
            raise ConfigError(
                f"hydra.searchpath: expected folders, such as file:///home/you/conf, got {shown('', str(entry))}"
            )


def _check_leaf(key: str, name: str, value: Any) -> None:
    allowed = ALLOWED.get(name)
    if allowed is not None and value not in allowed:
        raise ConfigError(f"{key}: {shown(key, value)} is not allowed (expected one of {', '.join(sorted(allowed))})")
    if not isinstance(value, str):
        return
    if value.startswith(("ext://", "cfg://")) and value not in LOG_STREAMS:
        raise ConfigError(
            f"{key}: {shown(key, value)} is not allowed (expected one of {', '.join(sorted(LOG_STREAMS))})"
        )
    if "${" in PLAIN_REFERENCE.sub("", value) and key.split(".")[1] in HANDED_ON:
        raise ConfigError(f"{key}: {shown(key, value)} is not allowed; expected no interpolation but ${{hydra.KEY}}")


def _leaves(values: Any, parent: str) -> Iterator[tuple[str, str, Any]]:
    """Dotted key, last name and value of every leaf."""
    named = values.items() if isinstance(values, Mapping) else ((f"[{i}]", value) for i, value in enumerate(values))
    for name, value in named:
        key = join(parent, str(name)) if isinstance(values, Mapping) else f"{parent}{name}"
        if isinstance(value, Mapping | list):
            yield from _leaves(value, key)
        else:
            yield key, str(name), value
