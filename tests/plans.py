"""Plans of small sweeps, as tests need them."""

from typing import Any

from hcr.gate.compose import Composer
from hcr.sweep.plan import Plan, make_plan

GRID = ("model.depth=1,2", "seed=0,1")


def plan(*overrides: str, **changes: Any) -> Plan:
    checked = Composer().check(list(overrides or GRID), multirun=True)
    assert checked.space is not None
    given: dict[str, Any] = {"command": overrides, "name": "a", "uri": "sqlite:////x.db", "workers": 2, "threads": 1}
    return make_plan(checked.runs, checked.space, base=checked.configs[0], **(given | changes))
