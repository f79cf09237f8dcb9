"""Turns Hydra's errors into one-line ConfigErrors: the key, what was expected, and what to write instead."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hcr.config.errors import ConfigError, one_line
from hcr.config.secrets import is_secret_name, override_without_secrets, shown
from hcr.config.settings import is_group, unknown_key
from hcr.config.spelling import did_you_mean
from hcr.gate.hydra_node import ENGINES, engine_refusal
from hcr.gate.keys import Keys
from hcr.gate.loading import Loader
from hcr.gate.remedies import FORM, several_values, unreadable, write
from hcr.gate.run_config import CHOICES, INSTANTIATE_KEYS, config_hints, of_omegaconf

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override


def explain(error: Exception, overrides: Sequence[str], multirun: bool, loader: Loader) -> ConfigError:
    """Hydra's error as a one-line ConfigError that names the key."""
    from hydra.errors import HydraException, MissingConfigException, OverrideParseException

    if isinstance(error, OverrideParseException):
        words = list(overrides)
        if error.override in words:
            return ConfigError(unreadable(words, words.index(error.override), keys_behind(words, loader)))
        # An override that a config adds, such as in hydra.overrides.
        return ConfigError(f"{override_without_secrets(str(error.override))!r}: {FORM}")
    if (engine := next((group for group in ENGINES if group in str(error)), None)) is not None:
        return engine_refusal(engine)  # a config chooses one that is not installed
    if isinstance(error, MissingConfigException):
        return _missing(error, loader)
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return ConfigError(f"{mark.name}, line {mark.line + 1}: expected YAML ({getattr(error, 'problem', error)})")
    if isinstance(error, OmegaConfBaseException):
        return of_omegaconf(error)
    found = _override(overrides, multirun, loader)
    if found is None and isinstance(error, HydraException):
        found = one_line(error).removesuffix(".") + _cause(error)
    return ConfigError(found or f"config: {one_line(error)}")


def _missing(error: Exception, loader: Loader) -> ConfigError:
    missing = str(getattr(error, "missing_cfg_file", None) or "")
    options = list(getattr(error, "options", None) or [])
    message = re.sub(r"\s+", " ", one_line(error))
    parts = missing.split("/")
    groups = ["/".join(parts[:i]) for i in range(len(parts) - 1, 0, -1) if parts[i - 1]]
    group = next((name for name in groups if loader.repository.group_exists(name)), None)
    if group is not None:
        name = missing[len(group) + 1 :]
        if "/" in name:
            return ConfigError(f"{group}: {_no_path(group, name)}")
        if options:
            near = did_you_mean(name, options)
            return ConfigError(f"{group}: no {name!r} here{near} (one of {', '.join(options)})")
    if missing == loader.config_name:
        return ConfigError(f"--config-name: no {missing!r} in the config folders")
    # A user's file names a missing config.
    return ConfigError(message)


def _override(overrides: Sequence[str], multirun: bool, loader: Loader) -> str | None:
    """The message for the first override that cannot be applied to the config composed without it; None: all can."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create(config_loader=loader.hydra_loader).parse_overrides(list(overrides))
    good: list[str] = []
    try:
        loader.load(good, multirun)
    except Exception:  # any error: it is not caused by an override
        return None
    # Groups first, as in Hydra: they determine which keys exist.
    for override in sorted(parsed, key=lambda one: not loader.repository.group_exists(one.key_or_group)):
        try:
            loader.load([*good, str(override.input_line)], multirun)
            good.append(str(override.input_line))
        except Exception as error:  # any error: this override causes it
            whole = loader.load(good, multirun)
            return _key(override, whole, loader.keys_of(whole), one_line(error))
    return None


def keys_behind(overrides: Sequence[str], loader: Loader) -> Keys:
    """The keys of the config with the valid `overrides` applied, or at least with the groups they choose."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    readable = []
    for override in overrides:
        try:
            found = OverridesParser.create().parse_override(override)
        except HydraException:
            continue
        readable += [override] if not found.is_sweep_override() else []
    groups = [word for word in readable if loader.repository.group_exists(word.partition("=")[0])]
    for words in (readable, groups, []):
        try:
            return loader.keys_of(loader.load(words, multirun=False))
        except Exception:  # reported after the current error is fixed
            continue
    return Keys({}, config_hints(), CHOICES, names_of=loader.names_of)


def _key(override: "Override", whole: DictConfig, keys: Keys, why: str) -> str:
    word = str(override.input_line)
    key, _, value = word.lstrip("+~").partition("=")
    if not key:
        return f"{word!r}: expected an override (KEY=VALUE or GROUP=NAME)"
    if key.rpartition(".")[2] in INSTANTIATE_KEYS:
        return f"{key}: not allowed; YAML names things (model.name, ...), it never imports them"
    group, _, package = key.partition("@")
    if group.partition(".")[0].partition("/")[0] == "hydra":
        node = OmegaConf.select(whole, group.rpartition(".")[0], throw_on_missing=False)
        known = [f"{group.rpartition('.')[0]}.{name!s}" for name in node] if isinstance(node, DictConfig) else []
        if known and group not in known:
            return unknown_key(group, known)
    elif group not in keys.all() and keys.hint(group) is None:
        return keys.unknown(group)
    if override.is_delete():
        return _nothing_to_delete(override, whole, keys)
    if override.is_sweep_override():
        return several_values(word, keys)
    if package:
        return f"{key}: unknown group or package"
    is_there = OmegaConf.select(whole, group, throw_on_missing=False) is not None or group in (keys.chosen or {})
    if (override.is_add() or override.is_force_add()) and is_there:
        return f"{group}: is in the config already; write {group}=... without the +"
    if not override.is_add() and keys.hint(group) is not None and keys.has_to_be_added(group):
        return f"{group}: is not in the config yet; {write(f'+{group}={value}')}"
    if is_group(keys.hint(group)) and not (keys.names_of is not None and value in keys.names_of(group)):
        return f"{group}: cannot be set to {shown(group, value)}; write {group}=NAME, or {group}.KEY=VALUE"
    because = "" if is_secret_name(group) else f" ({why})"  # Hydra quotes the whole override
    return f"{group}: cannot be set to {shown(group, value)}{because}"


def _nothing_to_delete(override: "Override", whole: DictConfig, keys: Keys) -> str:
    """The message for `~KEY` or `~KEY=VALUE` if the config lacks the key or has another value."""
    group = str(override.key_or_group).partition("@")[0]
    if whole.hydra.runtime.choices.get(group) is not None:
        now = whole.hydra.runtime.choices[group]
    elif OmegaConf.select(whole, group, throw_on_missing=False) is not None:
        now = OmegaConf.select(whole, group)
        now = OmegaConf.to_container(now) if OmegaConf.is_config(now) else now
    else:
        return f"{group}: is not in the config, so it cannot be deleted; leave ~{group} out"
    got = shown(group, override.value())
    return f"{group}: expected ~{group} alone, or with its current value ({shown(group, now)}), got {got}"


def _no_path(group: str, name: str) -> str:
    """The message for a file path where the name of a config of `group` is expected."""
    path = Path(name)
    problem = f"expected a name, got the path {name!r}"
    if path.suffix not in ("", ".yaml", ".yml"):
        return problem + ("; dataset.path takes the path of a data file" if group == "dataset" else "")
    if path.parent.name == group:
        return f"{problem}; write --config-dir {path.parent.parent} {group}={path.stem}"
    remedy = f"put the file at FOLDER/{group}/{path.stem}.yaml and write --config-dir FOLDER {group}={path.stem}"
    return f"{problem}; {remedy}"


def _cause(error: Exception) -> str:
    return f" ({one_line(error.__cause__)})" if isinstance(error.__cause__, OmegaConfBaseException) else ""
