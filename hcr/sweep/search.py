"""The source of a sweep's runs: the list of a grid, or a search by Optuna.

Optuna's study is in memory only, and is rebuilt from the ledger when the command is given. Its sampler is rebuilt for
each trial, seeded by the trial's number, so a search that was killed resumes with the points it would have tried.
"""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from math import isfinite
from typing import Any, Protocol

from hcr.config.errors import ConfigError, one_line
from hcr.config.sweep import SweepConfig
from hcr.gate.axes import Axis, written
from hcr.gate.points import Space, search_samples
from hcr.sweep.ledger import Ledger, Run
from hcr.sweep.plan import Plan, PlannedRun, frozen_config

DIGITS = 6  # significant digits of a real number that is searched
REDUCTION = 3  # asha, hyperband: one run in REDUCTION is promoted to the next rung; Li et al. 2018 recommend 3 or 4
FEWEST_FOR_IMPORTANCE = 4  # finished trials


class Source(Protocol):
    """A source of runs.

    Attributes:
        note: a sentence for the user, or empty.
        prunes: True if each run waits after every epoch for the pruner's decision.
    """

    note: str
    prunes: bool

    def next(self) -> Run | None:
        """The next run; None if there is none left. A search may return a run that has ended already."""

    def goes_on(self, run: Run, epoch: int, value: float) -> bool:
        """Report the monitored metric after an epoch; False prunes the run."""

    def ended(self, run: Run) -> None:
        """Report a run that finished, failed, was pruned or was refused."""

    def num_to_ask(self) -> int:
        """Number of runs still to be proposed."""

    def importances(self) -> dict[str, float] | None:
        """The share of variance that each axis explains, in [0, 1]; None if it cannot be estimated."""


def source_of(plan: Plan, sweep: SweepConfig, ledger: Ledger) -> Source:
    """The source of a plan's runs; all known runs are in the ledger when this returns.

    Raises:
        ConfigError: the sampler is not installed.
    """
    return Search(plan, sweep, ledger) if plan.is_search else Grid(plan, ledger)


class Grid:
    """The runs of a grid, in order of the plan."""

    note = ""
    prunes = False

    def __init__(self, plan: Plan, ledger: Ledger) -> None:
        runs = [ledger.add(planned) for planned in plan.runs]
        self._runs = iter([run for run in runs if run.state == "new"])

    def next(self) -> Run | None:
        """The next run that has not started."""
        return next(self._runs, None)

    def goes_on(self, run: Run, epoch: int, value: float) -> bool:
        """Always True: a grid does not prune."""
        return True

    def ended(self, run: Run) -> None:
        """Do nothing: a grid does not learn from results."""

    def num_to_ask(self) -> int:
        """Always 0: all runs are in the plan."""
        return 0

    def importances(self) -> dict[str, float] | None:
        """Always None: for a grid, the plots compute them from the leaderboard."""
        return None


class Search:
    """A search by Optuna, new or resumed.

    Args:
        plan: gives the search space, the direction and the seed.
        sweep: sampler, pruner and number of trials, from this command.
        ledger: has the points proposed so far, and their results.

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
        sampler = _sampler(sweep.sampler, plan.seed)  # before anything runs: it may not be installed
        with quiet():
            self._study = optuna.create_study(
                study_name=plan.id,  # hyperband derives its brackets from it
                direction="maximize" if plan.higher_is_better else "minimize",
                sampler=sampler,
                pruner=_pruner(sweep, max(run.cfg.training.epochs for run in search_samples(self._space))),
            )
        outside = [axis for axis in self._space.axes if not axis.contains(plan.base.get(axis.key))]
        self.note = ""
        if outside:
            found = ", ".join(f"{axis.key}={plan.base.get(axis.key)}" for axis in outside)
            self.note = f"the base config is not tried: {found} is outside the search space"
        asked = ledger.asked()
        if not asked and not outside:
            self._study.enqueue_trial({axis.key: _to_optuna(axis, plan.base[axis.key]) for axis in self._space.axes})
        for number, (params, notes) in enumerate(asked):
            self._restore(number, params, notes)

    def next(self) -> Run | None:
        """The next trial; None once `n_trials` have been proposed."""
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
        """Report an epoch to the pruner; False prunes the run. An epoch that is reported again is judged again."""
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
        """Report the result of a trial to Optuna."""
        import optuna

        trial = self._trials[run.planned.number]
        states = optuna.trial.TrialState
        with quiet():
            if run.outcome is not None and isfinite(run.outcome.value):
                self._study.tell(trial, run.outcome.value)
            else:
                self._study.tell(trial, state=states.PRUNED if run.state == "pruned" else states.FAIL)

    def num_to_ask(self) -> int:
        """Number of the `n_trials` still to be proposed."""
        return max(0, (self._sweep.n_trials or 0) - len(self._trials))

    def importances(self) -> dict[str, float] | None:
        """Importances by fANOVA; None if too few trials have finished."""
        import optuna

        done = self._study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
        if len(self._distributions) < 2 or len(done) < FEWEST_FOR_IMPORTANCE:
            return None
        with quiet():
            try:
                evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self._plan.seed % 2**32)
                found = optuna.importance.get_param_importances(self._study, evaluator=evaluator)
                return {name: float(share) for name, share in found.items()}
            except (ValueError, RuntimeError):  # such as when all trials have the same value
                return None

    def _notes(self, number: int) -> dict[str, Any]:
        """The state that sampler and pruner store in a trial (Optuna's system attributes)."""
        return dict(self._study.get_trials(deepcopy=False)[number].system_attrs)

    def _restore(self, number: int, params: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
        """Restore a trial of an earlier command in the study, and its run in the ledger."""
        import optuna

        run = self._run(number, params)
        if run.state == "new":  # proposed, but the command was killed before it started
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
        """The run of a trial, with its state."""
        values = {
            axis.key: _from_optuna(axis, params[axis.key], self._plan.base.get(axis.key)) for axis in self._space.axes
        }
        try:
            asked = self._space.run(values)
        except ConfigError as error:  # invalid, although the edges of the space are valid
            overrides = tuple(f"{key}={written(value)}" for key, value in values.items())
            return self._ledger.refuse(self._planned(number, values, overrides, self._plan.seed, {}), one_line(error))
        config = frozen_config(asked.cfg, self._space, self._plan.threads)
        return self._ledger.add(self._planned(number, values, asked.overrides, asked.cfg.seed, config))

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
    """The epochs after which the pruner may prune a run: rungs for asha and hyperband, else every epoch."""
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
    """Suppress the warnings that some of Optuna's parts are experimental."""
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
        return CategoricalDistribution([_to_optuna(axis, choice) for choice in axis.choices])
    assert axis.low is not None and axis.high is not None
    if axis.kind == "int":
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log, step=int(axis.step or 1))
    return FloatDistribution(axis.low, axis.high, log=axis.log, step=axis.step)


def _to_optuna(axis: Axis, value: Any) -> Any:
    """A config value as Optuna stores it: choices as JSON, which allows lists and distinguishes 1, true and "1"."""
    return json.dumps(value) if axis.kind == "choice" else value


def _from_optuna(axis: Axis, value: Any, base: Any) -> Any:
    """Optuna's value as a config has it, rounded to DIGITS unless it is the base config's own value."""
    if axis.kind == "choice":
        return json.loads(value)
    if axis.kind == "float" and axis.step is not None:
        return float(f"{value:.12g}")
    if axis.kind == "float" and value != base:  # few enough digits to read and type
        assert axis.low is not None and axis.high is not None
        return min(max(float(f"{value:.{DIGITS}g}"), axis.low), axis.high)
    return value
