"""Adaptive search on Optuna: which point is next, and which run falls behind. The only module that knows Optuna.

The study lives in a database: an SQLite file beside the plan, which a kill at any moment leaves whole, or one that
several machines share. Nothing is kept in memory: the sampler is made anew for each trial, seeded by its number, so a
search that was killed goes on with the points that it would have tried.
"""

import fcntl
import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from importlib import import_module
from math import isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from hcr.config.axes import Axis
from hcr.config.errors import ConfigError, TrackingError, one_line
from hcr.config.secrets import redact
from hcr.config.sweep import SweepConfig
from hcr.config.tracking import sqlite_path
from hcr.tracking.journal import this_host

if TYPE_CHECKING:
    import optuna

P = ParamSpec("P")
R = TypeVar("R")

HOST, BEYOND, RETRIED, OUTCOME = "hcr.host", "hcr.beyond", "hcr.retried", "hcr.outcome"
DIGITS = 6  # significant, of a real number that is searched
FEWEST_FOR_IMPORTANCE = 4  # finished trials
ATTEMPTS = 8  # to open a database whose tables another controller is making at that moment
RACE = ("already exists", "UNIQUE constraint", "duplicate key", "database is locked")
AGREED_WITHIN_S = 10.0  # for whoever was first to write its word


def _reaching(method: Callable[P, R]) -> Callable[P, R]:
    """`method`, with the errors of a database that cannot be reached as one of ours."""

    @wraps(method)
    def reach(*args: P.args, **kwargs: P.kwargs) -> R:
        import optuna
        from sqlalchemy.exc import SQLAlchemyError

        try:
            return method(*args, **kwargs)
        except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
            raise TrackingError(f"sweep.storage: the search cannot be reached ({one_line(error)})") from error

    return reach


@dataclass(frozen=True)
class Trial:
    """One point that a search tries.

    Attributes:
        number: from 0.
        values: by axis.
        state: "running", "finished", "pruned" or "failed".
        value: the monitored metric, of one that has finished.
        host: where it runs or ran.
        outcome: what else is known of one that has finished.
    """

    number: int
    values: dict[str, Any]
    state: str = "running"
    value: float | None = None
    host: str = ""
    outcome: Mapping[str, Any] = field(default_factory=dict)


class Search:
    """A search, opened or begun.

    Args:
        storage: a database, such as `sqlite:////folder/search.db`.
        name: of the study in it.
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
        self._study, self._storage = _open(storage, name, higher_is_better)
        self.note = ""
        _sampler(sweep.sampler, seed)  # what is not installed is told before anything runs
        outside = [axis for axis in axes if not axis.contains(base.get(axis.key))]
        if outside:
            found = ", ".join(f"{axis.key}={base.get(axis.key)}" for axis in outside)
            self.note = f"the base config is not tried: {found} lies outside of what is searched"
        elif not self._study.get_trials(deepcopy=False):
            self._enqueue({axis.key: _inside(axis, base[axis.key]) for axis in axes})

    def _enqueue(self, params: Mapping[str, Any]) -> None:
        """Have `params` tried first, once, however many controllers begin at the same moment."""
        me = f"{this_host()}:{os.getpid()}"
        deadline = time.monotonic() + AGREED_WITHIN_S
        if self.shared("first", me) != me:
            while not self._study.get_trials(deepcopy=False) and time.monotonic() < deadline:
                time.sleep(0.1)
        self._study.enqueue_trial(dict(params), skip_if_exists=True)

    @_reaching
    def ask(self, host: str) -> Trial | None:
        """The next point, for a run on `host`; None where `n_trials` have been asked for, by whomever."""
        import optuna

        assert self._sweep.n_trials is not None
        asked = len(self._asked())
        if asked >= self._sweep.n_trials:
            return None
        with _quiet():
            self._study.sampler = _sampler(self._sweep.sampler, self._seed * 1_000_003 + asked)
            trial = self._study.ask({axis.key: _distribution(axis) for axis in self._axes})
        sooner = sum(other.number < trial.number for other in self._asked())
        if sooner >= self._sweep.n_trials:  # another controller was a moment sooner
            trial.set_user_attr(BEYOND, True)
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return None
        trial.set_user_attr(HOST, host)
        return Trial(trial.number, self._outside(trial.params), host=host)

    def _asked(self) -> "list[optuna.trial.FrozenTrial]":
        """The trials that count, in order: those that were asked for and not given back as one too many."""
        import optuna

        return [
            trial
            for trial in self._study.get_trials(deepcopy=False)
            if trial.state != optuna.trial.TrialState.WAITING and not trial.user_attrs.get(BEYOND)
        ]

    @_reaching
    def finish(self, number: int, value: float, outcome: Mapping[str, Any] = MappingProxyType({})) -> None:
        """A trial has finished, with the monitored metric `value`; `outcome` is for other machines to read.

        Raises:
            ValueError: it is not finite.
        """
        if not isfinite(value):
            raise ValueError(f"trial {number}: expected a finite value, got {value}")
        import optuna

        told = json.dumps(dict(outcome))
        trial = self._study.get_trials(deepcopy=False)[number]
        if trial.state == optuna.trial.TrialState.RUNNING:
            self._storage.set_trial_user_attr(trial._trial_id, OUTCOME, told)
            self._study.tell(number, value)
        else:  # it had failed; the sampler does not hear of it any more, but the leaderboard does
            self._study.set_user_attr(f"{RETRIED}.{number}", [value, told])

    @_reaching
    def prune(self, number: int) -> None:
        """A trial was given up; what it reported counts."""
        import optuna

        if self._state(number) == optuna.trial.TrialState.RUNNING:
            self._study.tell(number, state=optuna.trial.TrialState.PRUNED)

    @_reaching
    def fail(self, number: int) -> None:
        """A trial has failed."""
        import optuna

        if self._state(number) == optuna.trial.TrialState.RUNNING:
            self._study.tell(number, state=optuna.trial.TrialState.FAIL)

    @_reaching
    def trials(self) -> list[Trial]:
        """All trials that were asked for, in order."""
        import optuna

        names = {
            optuna.trial.TrialState.RUNNING: "running",
            optuna.trial.TrialState.COMPLETE: "finished",
            optuna.trial.TrialState.PRUNED: "pruned",
            optuna.trial.TrialState.FAIL: "failed",
        }
        retried = {name: value for name, value in self._study.user_attrs.items() if name.startswith(RETRIED)}
        found = []
        for trial in self._asked():
            state = names[trial.state]
            value, told = (trial.value if state == "finished" else None), trial.user_attrs.get(OUTCOME, "{}")
            if f"{RETRIED}.{trial.number}" in retried:
                state, (value, told) = "finished", retried[f"{RETRIED}.{trial.number}"]
            host = str(trial.user_attrs.get(HOST, ""))
            found.append(Trial(trial.number, self._outside(trial.params), state, value, host, json.loads(told)))
        return found

    @_reaching
    def shared(self, name: str, value: str) -> str:
        """What all machines agree on under `name`: the `value` of the one that asked first."""
        import optuna

        called = f"{self._study.study_name}.{name}"  # the database takes a study of one name once, whoever is first
        with _quiet():
            try:
                place = optuna.create_study(study_name=called, storage=self._storage)
                place.set_user_attr(name, value)
            except optuna.exceptions.DuplicatedStudyError:
                place = optuna.load_study(study_name=called, storage=self._storage)
        deadline = time.monotonic() + AGREED_WITHIN_S
        while name not in place.user_attrs and time.monotonic() < deadline:
            time.sleep(0.1)
        return str(place.user_attrs.get(name, value))

    def importances(self) -> dict[str, float] | None:
        """How much of the differences between trials each axis explains, in 0..1; None where it cannot be said."""
        import optuna

        done = [trial for trial in self.trials() if trial.state == "finished"]
        if len(self._axes) < 2 or len(done) < FEWEST_FOR_IMPORTANCE:
            return None
        with _quiet():
            try:
                evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self._seed % 2**32)
                found = optuna.importance.get_param_importances(self._study, evaluator=evaluator)
                return {name: float(share) for name, share in found.items()}
            except (ValueError, RuntimeError):  # such as trials that all came to the same
                return None

    def _state(self, number: int) -> "optuna.trial.TrialState":
        return self._study.get_trials(deepcopy=False)[number].state

    def _outside(self, params: Mapping[str, Any]) -> dict[str, Any]:
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

        study, _ = _open(storage, name, higher_is_better, _pruner(sweep, max_epochs))
        with _quiet():
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

    @_reaching
    def _report(self, epoch: int, value: float) -> bool:
        with _quiet():
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
        epoch *= sweep.pruner_reduction
    return found


def _open(
    storage: str, name: str, higher_is_better: bool, pruner: Any = None
) -> "tuple[optuna.Study, optuna.storages.RDBStorage]":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    engine = {"connect_args": {"timeout": 60}} if storage.startswith("sqlite:") else {}
    for attempt in range(1, ATTEMPTS + 1):
        with _quiet(), _alone(storage):
            try:
                opened = optuna.storages.RDBStorage(storage, engine_kwargs=engine)
                study = optuna.create_study(
                    study_name=name,
                    storage=opened,
                    direction="maximize" if higher_is_better else "minimize",
                    sampler=optuna.samplers.RandomSampler(seed=0),
                    pruner=pruner or optuna.pruners.NopPruner(),
                    load_if_exists=True,
                )
                return study, opened
            except Exception as error:  # of SQLAlchemy and of every database there is
                told = one_line(error)
                if isinstance(error, ImportError):
                    told += "; for PostgreSQL: pip install 'hcr[postgresql]', and postgresql+psycopg:// in the address"
                if attempt == ATTEMPTS or not any(sign in str(error) for sign in RACE):
                    where = redact(storage)
                    raise ConfigError(
                        f"sweep.storage: expected a database that can be opened, got {where} ({told})"
                    ) from error
        time.sleep(0.3 * attempt)
    raise AssertionError("the last attempt returns or raises")


def _sampler(name: str, seed: int) -> Any:
    import optuna

    seed %= 2**32
    with _quiet():
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
        return pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=sweep.pruner_reduction)
    return pruners.HyperbandPruner(
        min_resource=first, max_resource=max(first, max_epochs), reduction_factor=sweep.pruner_reduction
    )


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


@contextmanager
def _alone(storage: str) -> Iterator[None]:
    """One process at a time where the database is a file: several that make its tables at once fail in many ways."""
    path = sqlite_path(storage) if storage.startswith("sqlite:") else None
    if path is None or not path.parent.is_dir():
        yield
        return
    with path.with_name(path.name + ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings that some of Optuna's parts are experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("alembic").setLevel(logging.ERROR)
        yield
