"""What machines that share a sweep agree on before they make its runs: threads, code, the numbers of runs."""

import json
from dataclasses import asdict, dataclass, field

from hcr.config import ConfigError
from hcr.config.sweep import SweepConfig
from hcr.sweep.identity import check_data
from hcr.sweep.plan import Plan, changed_code, digest, told_changes
from hcr.sweep.study import Study, is_begun

AGREED, MIXED = "plan", "mixed"


@dataclass(frozen=True)
class Agreement:
    """What the machine that began the sweep did.

    Attributes:
        threads: of each run; the numbers depend on them.
        code: as for Plan.
        order: a digest of the runs, in order.
        data: as for Plan.
    """

    threads: int
    code: dict[str, str]
    order: str
    data: dict[str, dict[str, str]] = field(default_factory=dict)


def has_begun(plan: Plan, sweep: SweepConfig) -> bool:
    """Whether any machine has begun the shared sweep of the plan's id; nothing is written.

    Raises:
        ConfigError: the database cannot be opened.
    """
    return sweep.storage is not None and is_begun(sweep.storage, f"{plan.id}.{AGREED}")


def agreement(plan: Plan, sweep: SweepConfig) -> Agreement | None:
    """What there is on the sweep of the plan's id; None where it is not shared, or no machine has begun it.

    Raises:
        ConfigError: the database cannot be opened, or the runs have other numbers there.
        TrackingError: or it cannot be read.
    """
    if not has_begun(plan, sweep):
        return None
    told = _study(plan, sweep).agreed(AGREED)
    return None if told is None else _read(told, plan)


def agree(plan: Plan, sweep: SweepConfig) -> None:
    """Begin a shared sweep as `plan` has it, or see that it has what the machine has which began it.

    Raises:
        ConfigError: it has not: a machine may have begun a moment ago, or has other data.
    """
    if sweep.storage is None:
        return
    own = json.dumps(asdict(Agreement(plan.threads, plan.code, _order(plan), plan.data)))
    study = _study(plan, sweep)
    begun = _read(study.shared(AGREED, own), plan)
    check_data(begun.data, plan)
    if begun.threads != plan.threads:
        raise ConfigError(
            f"sweep: another machine began it a moment ago, with training.threads={begun.threads} where this one"
            f" has {plan.threads}; expected the command to be issued again"
        )
    if plan.is_mixed:
        study.shared(MIXED, "true")
    elif changed := changed_code(begun.code, plan.code):
        raise ConfigError(told_changes(changed))


def is_mixed(plan: Plan, sweep: SweepConfig) -> bool:
    """Whether this machine, or another that shares the sweep, has made runs of it with other code.

    Raises:
        ConfigError, TrackingError: as for `agreement`.
    """
    return plan.is_mixed or (sweep.storage is not None and _study(plan, sweep).agreed(MIXED) is not None)


def _study(plan: Plan, sweep: SweepConfig) -> Study:
    assert sweep.storage is not None
    return Study(sweep.storage, plan.id, higher_is_better=plan.higher_is_better)


def _read(told: str, plan: Plan) -> Agreement:
    begun = Agreement(**json.loads(told))
    if begun.order != _order(plan):
        raise ConfigError("sweep: another machine began it with its values in another order; expected the same command")
    return begun


def _order(plan: Plan) -> str:
    return digest([[run.values, run.seed] for run in plan.runs])
