"""Where the next run of a sweep comes from: a grid's list, or Optuna, which learns from the runs before.

Optuna's study is in memory alone, and made anew from the ledger when a controller starts. Its sampler is made anew for
each trial, seeded by the trial's number, so a search that was killed goes on with the points it would have tried.
"""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from math import isfinite
from typing import TYPE_CHECKING, Any, Protocol

from hcr.config.errors import ConfigError, one_line
from hcr.config.sweep import SweepConfig
from hcr.gate.axes import Axis, written
from hcr.gate.points import Space, search_samples
from hcr.sweep.ledger import Ledger, Run
from hcr.sweep.plan import Plan, PlannedRun, frozen_config

if TYPE_CHECKING:
    pass

DIGITS = 6  # significant, of a real number that is searched
REDUCTION = 3  # asha, hyperband: one run in so many goes on from rung to rung; Li et al. 2018 recommend 3 or 4
FEWEST_FOR_IMPORTANCE = 4  # finished trials


class Source(Protocol):
    """Where runs come from.

    Attributes:
        note: a sentence that the user should read; empty where there is none.
        prunes: whether a run of it waits after each epoch for the word to go on.
    """

    note: str
    prunes: bool

    def next(self) -> Run | None:
        """The next run; None where there is no more. One that is known already is in its own state."""

    def goes_on(self, run: Run, epoch: int, value: float) -> bool:
        """Whether a run goes on after an epoch, in which the monitored metric was `value`."""

    def ended(self, run: Run) -> None:
        """The run has finished, failed, been pruned or been refused."""

    def num_to_ask(self) -> int:
        """Runs that have not been asked for yet."""

    def importances(self) -> dict[str, float] | None:
        """How much of the differences between runs each axis explains, in 0..1; None where it cannot be said."""


def source_of(plan: Plan, sweep: SweepConfig, ledger: Ledger) -> Source:
    """Where the runs of a plan come from; those known by now are in the ledger when this returns.

    Raises:
        ConfigError: the sampler is not installed.
    """
    return Search(plan, sweep, ledger) if plan.is_search else Grid(plan, ledger)


class Grid:
    """The runs of a plan, one after another."""

    note = ""
    prunes = False

    def __init__(self, plan: Plan, ledger: Ledger) -> None:
        runs = [ledger.stand(planned) for planned in plan.runs]
        self._runs = iter([run for run in runs if run.state == "new"])

    def next(self) -> Run | None:
        """The next one that has not begun."""
        return next(self._runs, None)

    def goes_on(self, run: Run, epoch: int, value: float) -> bool:
        """A grid makes each of its runs whole."""
        return True

    def ended(self, run: Run) -> None:
        """A grid learns nothing."""

    def num_to_ask(self) -> int:
        """All of them are in the plan."""
        return 0

    def importances(self) -> dict[str, float] | None:
        """A grid's axes are compared by its own pictures."""
        return None


class Search:
    """A search, begun or gone on with.

    Args:
        plan: what is searched.
        sweep: sampler, pruner and number of trials, as this command gives them.
        ledger: knows what was asked for, and what came of it.

    Raises:
        ConfigError: the sampler is not installed.
    """

    def __init__(self, plan: Plan, sweep: SweepConfig, ledger: Ledger) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.prunes = sweep.pruner != "none"
        self._plan, self._sweep, self._ledger = plan, sweep, ledger
        self._space = Space.from_json(plan.space)
        self._distributions = {axis.key: _distribution(axis) for axis in self._space.axes}
        self._trials: dict[int, optuna.trial.Trial] = {}
        self._noted: dict[int, dict[str, Any]] = {}
        sampler = _sampler(sweep.sampler, plan.seed)  # what is not installed is told before anything runs
        with quiet():
            self._study = optuna.create_study(
                study_name=plan.id,  # from which hyperband takes its brackets
                direction="maximize" if plan.higher_is_better else "minimize",
                sampler=sampler,
                pruner=_pruner(sweep, max(run.cfg.training.epochs for run in search_samples(self._space))),
            )
        outside = [axis for axis in self._space.axes if not axis.contains(plan.base.get(axis.key))]
        self.note = ""
        if outside:
            found = ", ".join(f"{axis.key}={plan.base.get(axis.key)}" for axis in outside)
            self.note = f"the base config is not tried: {found} lies outside of what is searched"
        asked = ledger.asked()
        if not asked and not outside:
            self._study.enqueue_trial({axis.key: _inside(axis, plan.base[axis.key]) for axis in self._space.axes})
        for number, (params, notes) in enumerate(asked):
            self._take_up(number, params, notes)

    def next(self) -> Run | None:
        """The next trial; None where `n_trials` have been asked for."""
        number = len(self._trials)
        if not self.num_to_ask():
            return None
        with quiet():
            self._study.sampler = _sampler(self._sweep.sampler, self._plan.seed * 1_000_003 + number)
            trial = self._study.ask(self._distributions)
        self._trials[number] = trial
        self._noted[number] = self._notes(number)
        self._ledger.ask(number, trial.params, self._noted[number])
        return self._run(number, trial.params)

    def goes_on(self, run: Run, epoch: int, value: float) -> bool:
        """Whether the pruner lets a run go on; one that tells of an epoch again is weighed again."""
        number = run.planned.number
        trial = self._trials[number]
        with quiet():
            trial.report(value, epoch)
            is_pruned = trial.should_prune()
        notes = {name: note for name, note in self._notes(number).items() if self._noted[number].get(name) != note}
        if notes:
            self._noted[number] |= notes
            self._ledger.note(run, notes)
        return not is_pruned

    def ended(self, run: Run) -> None:
        """Tell Optuna what came of a trial."""
        import optuna

        trial = self._trials[run.planned.number]
        states = optuna.trial.TrialState
        with quiet():
            if run.outcome is not None and isfinite(run.outcome.value):
                self._study.tell(trial, run.outcome.value)
            else:
                self._study.tell(trial, state=states.PRUNED if run.state == "pruned" else states.FAIL)

    def num_to_ask(self) -> int:
        """Of `n_trials`, those that have not been asked for yet."""
        return max(0, (self._sweep.n_trials or 0) - len(self._trials))

    def importances(self) -> dict[str, float] | None:
        """By fANOVA, where there are enough finished trials."""
        import optuna

        done = self._study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
        if len(self._distributions) < 2 or len(done) < FEWEST_FOR_IMPORTANCE:
            return None
        with quiet():
            try:
                evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self._plan.seed % 2**32)
                found = optuna.importance.get_param_importances(self._study, evaluator=evaluator)
                return {name: float(share) for name, share in found.items()}
            except (ValueError, RuntimeError):  # such as trials that all came to the same
                return None

    def _notes(self, number: int) -> dict[str, Any]:
        """What sampler and pruner keep of their state in a trial."""
        return dict(self._study.get_trials(deepcopy=False)[number].system_attrs)

    def _take_up(self, number: int, params: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
        """Have a trial in the study that an earlier controller asked for, and its run in the ledger."""
        import optuna

        run = self._run(number, params)
        if run.state == "new":  # asked for, and killed before it had begun
            run.state = "interrupted"
        history = self._ledger.history(run)
        states = optuna.trial.TrialState
        state, value = states.RUNNING, None
        if run.outcome is not None and isfinite(run.outcome.value):
            state, value = states.COMPLETE, run.outcome.value
        elif run.state == "pruned":
            state, value = states.PRUNED, (history[max(history)] if history else None)
        elif not run.is_left:
            state = states.FAIL
        with quiet():
            frozen = optuna.trial.create_trial(
                state=state,
                value=value,
                params=dict(params),
                distributions=self._distributions,
                system_attrs=dict(notes),
                intermediate_values=history if self.prunes else {},
            )
            self._study.add_trial(frozen)
            there = self._study.get_trials(deepcopy=False)[number]
            self._trials[number] = optuna.trial.Trial(self._study, there._trial_id)
        self._noted[number] = dict(notes)

    def _run(self, number: int, params: Mapping[str, Any]) -> Run:
        """The run of a trial, and where it stands."""
        values = {
            axis.key: _outside(axis, params[axis.key], self._plan.base.get(axis.key)) for axis in self._space.axes
        }
        try:
            asked = self._space.run(values)
        except ConfigError as error:  # a combination at whose edges nothing was wrong
            overrides = tuple(f"{key}={written(value)}" for key, value in values.items())
            return self._ledger.refuse(self._planned(number, values, overrides, self._plan.seed, {}), one_line(error))
        config = frozen_config(asked.cfg, self._space, self._plan.threads)
        return self._ledger.stand(self._planned(number, values, asked.overrides, asked.cfg.seed, config))

    def _planned(
        self, number: int, values: dict[str, Any], overrides: tuple[str, ...], seed: int, config: dict[str, Any]
    ) -> PlannedRun:
        return PlannedRun(
            number=number,
            overrides=overrides,
            values=values,
            point=number,
            seed=seed,
            config=config,
            phase="search",
        )


def rungs(sweep: SweepConfig, max_epochs: int) -> list[int]:
    """The epochs after which the pruner may give up a run; every one of them but for asha and hyperband."""
    first = max(1, sweep.pruner_warmup)
    if sweep.pruner == "none":
        return []
    if sweep.pruner in ("median", "percentile"):
        return list(range(first, max_epochs))
    found, epoch = [], first
    while epoch < max_epochs:
        found.append(epoch)
        epoch *= REDUCTION
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings that some of Optuna's parts are experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("alembic").setLevel(logging.ERROR)
        yield


def _sampler(name: str, seed: int) -> Any:
    import optuna

    seed %= 2**32
    with quiet():
        if name == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        if name == "tpe":
            return optuna.samplers.TPESampler(seed=seed)
        if name == "cmaes":
            independent = optuna.samplers.RandomSampler(seed=seed)
            return optuna.samplers.CmaEsSampler(
                seed=seed, independent_sampler=independent, warn_independent_sampling=False
            )
        assert name == "gp", name
        try:
            import_module("torch")
        except ImportError:
            raise ConfigError(
                "sweep.sampler: gp needs PyTorch, which is not installed; pip install 'hcr[gp]'"
            ) from None
        return optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False)


def _pruner(sweep: SweepConfig, max_epochs: int) -> Any:
    import optuna

    first = max(1, sweep.pruner_warmup)
    pruners = optuna.pruners
    if sweep.pruner == "none":
        return pruners.NopPruner()
    if sweep.pruner == "median":
        return pruners.MedianPruner(n_startup_trials=sweep.pruner_startup, n_warmup_steps=first)
    if sweep.pruner == "percentile":
        return pruners.PercentilePruner(
            sweep.pruner_percentile, n_startup_trials=sweep.pruner_startup, n_warmup_steps=first
        )
    if sweep.pruner == "asha":
        return pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=REDUCTION)
    return pruners.HyperbandPruner(min_resource=first, max_resource=max(first, max_epochs), reduction_factor=REDUCTION)


def _distribution(axis: Axis) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if axis.kind == "choice":
        return CategoricalDistribution([_inside(axis, choice) for choice in axis.choices])
    assert axis.low is not None and axis.high is not None
    if axis.kind == "int":
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log, step=int(axis.step or 1))
    return FloatDistribution(axis.low, axis.high, log=axis.log, step=axis.step)


def _inside(axis: Axis, value: Any) -> Any:
    """A value as Optuna keeps it: choices as JSON, which takes lists, and tells 1 from true and from "1"."""
    return json.dumps(value) if axis.kind == "choice" else value


def _outside(axis: Axis, value: Any, base: Any) -> Any:
    """A value as a config has it; what the base config has stays as exact as it is."""
    if axis.kind == "choice":
        return json.loads(value)
    if axis.kind == "float" and axis.step is not None:
        return float(f"{value:.12g}")
    if axis.kind == "float" and value != base:  # as many digits as one reads and types again
        assert axis.low is not None and axis.high is not None
        return min(max(float(f"{value:.{DIGITS}g}"), axis.low), axis.high)
    return value
