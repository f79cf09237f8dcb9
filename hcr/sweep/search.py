"""Adaptive search on Optuna: which point is next, and which run falls behind.

Nothing is kept in memory: the sampler is made anew for each trial, seeded by its number, so a search that was killed
goes on with the points that it would have tried.
"""

import json
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from hcr.config.axes import Axis
from hcr.config.errors import ConfigError, TrackingError
from hcr.config.sweep import SweepConfig
from hcr.sweep.study import BEYOND, HOST, Study, Trial, alone, is_file, open_study, quiet, reaching

FIXED = "fixed_params"  # where Optuna keeps what a trial that waits will be
FIRST_WITHIN_S = 10.0  # for whoever is first to have the base config tried
DIGITS = 6  # significant, of a real number that is searched
REDUCTION = 3  # asha, hyperband: one run in so many goes on from rung to rung; Li et al. 2018 recommend 3 or 4
FEWEST_FOR_IMPORTANCE = 4  # finished trials


class Search(Study):
    """A search, opened or begun.

    Args:
        storage, name: as for Study.
        axes: what is searched.
        sweep: sampler and number of trials.
        higher_is_better: the direction of the metric.
        seed: decides every point, with its number.
        base: what the base config has, by axis: trial 0, where the axes contain it.

    Attributes:
        note: a sentence where trial 0 cannot be the base config.

    Raises:
        ConfigError: the database cannot be opened, or the sampler is not installed.
    """

    def __init__(
        self,
        storage: str,
        name: str,
        axes: Sequence[Axis],
        sweep: SweepConfig,
        *,
        higher_is_better: bool,
        seed: int,
        base: Mapping[str, Any],
    ) -> None:
        self._axes = tuple(axes)
        self._sweep = sweep
        self._seed = seed
        self._base = dict(base)
        super().__init__(storage, name, higher_is_better=higher_is_better)
        self.note = ""
        _sampler(sweep.sampler, seed)  # what is not installed is told before anything runs
        outside = [axis for axis in axes if not axis.contains(base.get(axis.key))]
        if outside:
            found = ", ".join(f"{axis.key}={base.get(axis.key)}" for axis in outside)
            self.note = f"the base config is not tried: {found} lies outside of what is searched"
        self._first = None if outside else {axis.key: _inside(axis, base[axis.key]) for axis in axes}

    @reaching
    def ask(self, host: str) -> Trial | None:
        """The next point, for a run on `host`; None where `n_trials` have been asked for, by whomever."""
        with alone(self._where):
            if self._first is not None and not self._study.get_trials(deepcopy=False):
                self._try_first(self._first, host)
            return self._ask(host)

    def give_back(self, number: int) -> None:
        """A trial whose machine was killed before it had all of its values: as if it had not been asked for."""
        import optuna

        trial = self._study.get_trials(deepcopy=False)[number]
        self._storage.set_trial_user_attr(trial._trial_id, BEYOND, True)
        self._study.tell(number, state=optuna.trial.TrialState.FAIL)
        if FIXED in trial.system_attrs:
            self._study.enqueue_trial(trial.system_attrs[FIXED])

    def _try_first(self, params: Mapping[str, Any], host: str) -> None:
        """Have `params` tried first, once, however many controllers begin at the same moment."""
        deadline = time.monotonic() + FIRST_WITHIN_S
        if not is_file(self._where) and self.shared("first", host) != host:
            while not self._study.get_trials(deepcopy=False) and time.monotonic() < deadline:
                time.sleep(0.1)
        self._study.enqueue_trial(dict(params), skip_if_exists=True)

    def _ask(self, host: str) -> Trial | None:
        assert self._sweep.n_trials is not None
        while (asked := len(self._asked())) < self._sweep.n_trials:
            with quiet():
                self._study.sampler = _sampler(self._sweep.sampler, self._seed * 1_000_003 + asked)
                trial = self._study.ask({axis.key: _distribution(axis) for axis in self._axes})
            sooner = sum(other.number < trial.number for other in self._asked())
            is_first = FIXED in self._study.get_trials(deepcopy=False)[trial.number].system_attrs
            # Where another controller was a moment sooner, it had this seed, and its point.
            if sooner == asked or (is_first and sooner < self._sweep.n_trials):
                trial.set_user_attr(HOST, host)
                return Trial(trial.number, self._values(trial.params), host=host)
            self.give_back(trial.number)
        return None

    def importances(self) -> dict[str, float] | None:
        """How much of the differences between trials each axis explains, in 0..1; None where it cannot be said."""
        import optuna

        done = [trial for trial in self.trials() if trial.state == "finished"]
        if len(self._axes) < 2 or len(done) < FEWEST_FOR_IMPORTANCE:
            return None
        with quiet():
            try:
                evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self._seed % 2**32)
                found = optuna.importance.get_param_importances(self._study, evaluator=evaluator)
                return {name: float(share) for name, share in found.items()}
            except (ValueError, RuntimeError):  # such as trials that all came to the same
                return None

    def _values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {
            axis.key: _outside(axis, params[axis.key], self._base.get(axis.key))
            for axis in self._axes
            if axis.key in params
        }


class Reporter:
    """What a running trial asks after each epoch: whether to go on.

    Args:
        storage, name: as for Search.
        number: the trial's.
        sweep: the pruner that was asked for; a study does not keep it.
        higher_is_better: the direction of the metric.
        max_epochs: of the run.
    """

    def __init__(
        self, storage: str, name: str, number: int, sweep: SweepConfig, *, higher_is_better: bool, max_epochs: int
    ) -> None:
        import optuna

        study, _ = open_study(storage, name, higher_is_better, _pruner(sweep, max_epochs))
        with quiet():
            frozen = study.get_trials(deepcopy=False)[number]
            self._trial = optuna.trial.Trial(study, frozen._trial_id)
        self._has_ended = frozen.state.is_finished()

    def report(self, epoch: int, value: float) -> bool:
        """Tell of an epoch; whether the run should be given up. A resumed run may tell of an epoch again.

        One that failed and is tried again is made whole: Optuna hears nothing more of a trial that has ended.
        """
        if self._has_ended:
            return False
        try:
            return self._report(epoch, value)
        except TrackingError as error:  # training is worth more than giving it up in time
            print(f"epoch {epoch} is not weighed against other runs: {error}", flush=True)
            return False

    @reaching
    def _report(self, epoch: int, value: float) -> bool:
        with quiet():
            self._trial.report(value, epoch)
            return bool(self._trial.should_prune())


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
