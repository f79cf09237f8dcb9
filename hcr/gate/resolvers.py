"""Restricts the resolvers that `${name:...}` may call in a config to those that cannot leak secrets."""

import re
from typing import Any

from omegaconf import OmegaConf

# Resolved values are recorded as params and artifacts, so no other environment variable may be read.
OPEN_VARIABLES = re.compile(r"HCR_\w+|HOME|USER")
KEPT = frozenset({"oc.select", "oc.dict.keys", "oc.dict.values", "oc.deprecated", "oc.create"})
OF_HYDRA = frozenset({"now", "hydra", "python_version"})  # Hydra's own node needs them


def restrict_resolvers() -> None:
    """Remove all other resolvers, for the rest of this process."""
    from omegaconf.basecontainer import BaseContainer

    for name in set(BaseContainer._resolvers) - KEPT - OF_HYDRA - {"oc.env"}:
        OmegaConf.clear_resolver(name)
    OmegaConf.register_new_resolver("oc.env", _open_variable, replace=True)


def _open_variable(name: str, *default: Any) -> Any:
    from omegaconf.resolvers.oc import env

    if OPEN_VARIABLES.fullmatch(name) is None:
        raise ValueError(f"variable {name}: not allowed, as a config is recorded; expected HCR_*, HOME or USER")
    return env(name, *default)
