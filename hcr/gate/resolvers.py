"""The functions that `${name:...}` may call in a config: few, and none that reads what should not be recorded."""

import re
from typing import Any

from omegaconf import OmegaConf

# What a config resolves to becomes params, artifacts and pages: no other variable of the environment may get there.
OPEN_VARIABLES = re.compile(r"HCR_\w+|HOME|USER")
KEPT = frozenset({"oc.select", "oc.dict.keys", "oc.dict.values", "oc.deprecated", "oc.create"})
OF_HYDRA = frozenset({"now", "hydra", "python_version"})  # Hydra's own node needs them


def restrict_resolvers() -> None:
    """Leave only those functions that a config may call; every later resolution in this process is bound by it."""
    from omegaconf.basecontainer import BaseContainer

    for name in set(BaseContainer._resolvers) - KEPT - OF_HYDRA - {"oc.env"}:
        OmegaConf.clear_resolver(name)
    OmegaConf.register_new_resolver("oc.env", _open_variable, replace=True)


def _open_variable(name: str, *default: Any) -> Any:
    from omegaconf.resolvers.oc import env

    if OPEN_VARIABLES.fullmatch(name) is None:
        raise ValueError(f"{name} of the environment may not be read: a config is recorded (HCR_*, HOME and USER may)")
    return env(name, *default)
