"""Hydra's own node, behind the gate: what Hydra would import or call for a config has to be on a list of ours.

Hydra acts on this node before any task function runs: it instantiates callbacks, launcher and sweeper, hands the
logging nodes to `logging.config.dictConfig` (which imports what `()`, `class` and `ext://` name), and sets
environment variables. So it is checked after composing and before Hydra proper is started.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hcr.config.errors import ConfigError
from hcr.config.schema import join

PLUGINS = frozenset(
    {
        "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
        "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
        "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
    }
)
LOG_CLASSES = frozenset({"logging.StreamHandler", "logging.FileHandler", "logging.Formatter"})
LOG_FACTORIES = frozenset({"colorlog.ColoredFormatter"})
LOG_STREAMS = frozenset({"ext://sys.stdout", "ext://sys.stderr"})
LOG_FILE = "${hydra.runtime.output_dir}/${hydra.job.name}.log"


def check_hydra_node(node: DictConfig) -> None:
    """Refuse whatever in the `hydra` node could make Hydra run code that is not on the lists above.

    Raises:
        ConfigError: names the key.
    """
    values = OmegaConf.to_container(node, resolve=False)
    assert isinstance(values, dict)
    if values.get("callbacks"):
        raise ConfigError("hydra.callbacks: not allowed; Hydra would import and call what it names")
    if (values.get("job") or {}).get("env_set"):
        raise ConfigError("hydra.job.env_set: not allowed in a config; set the environment where you call hcr")
    for key, name, value in _leaves(values, "hydra"):
        if name == "_target_" and value not in PLUGINS:
            raise ConfigError(f"{key}: {value!r} is not allowed (expected one of {', '.join(sorted(PLUGINS))})")
        if key.startswith(("hydra.job_logging.", "hydra.hydra_logging.")):
            _check_logging(key, name, value)


def _check_logging(key: str, name: str, value: Any) -> None:
    allowed: frozenset[str] | None = {"class": LOG_CLASSES, "()": LOG_FACTORIES}.get(name)
    if allowed is not None and value not in allowed:
        raise ConfigError(f"{key}: {value!r} is not allowed (expected one of {', '.join(sorted(allowed))})")
    if isinstance(value, str) and "://" in value and value not in LOG_STREAMS:
        raise ConfigError(f"{key}: {value!r} is not allowed (expected one of {', '.join(sorted(LOG_STREAMS))})")
    if isinstance(value, str) and "${" in value and value != LOG_FILE:
        raise ConfigError(f"{key}: {value!r} is not allowed; logging takes no interpolations")


def _leaves(values: Any, parent: str) -> Iterator[tuple[str, str, Any]]:
    """Dotted key, last name and value of everything that is not a group."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            key = join(parent, str(name))
            if isinstance(value, Mapping | list):
                yield from _leaves(value, key)
            else:
                yield key, str(name), value
    elif isinstance(values, list):
        for i, value in enumerate(values):
            yield from (
                _leaves(value, f"{parent}[{i}]")
                if isinstance(value, Mapping | list)
                else [(f"{parent}[{i}]", "", value)]
            )
