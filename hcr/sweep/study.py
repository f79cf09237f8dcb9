"""The runs of a sweep as trials in a database that several machines may share: who makes which, what came of it.

An SQLite file beside the plan, which a kill at any moment leaves whole, or a server. Beside `search`, the only module
that knows Optuna.
"""

import fcntl
import json
import logging
import time
import warnings
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from math import isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from hcr.config.errors import ConfigError, TrackingError, one_line
from hcr.config.secrets import without_credentials
from hcr.config.tracking import sqlite_path

if TYPE_CHECKING:
    import optuna

P = ParamSpec("P")
R = TypeVar("R")

HOST, BEYOND, RETRIED, OUTCOME = "hcr.host", "hcr.beyond", "hcr.retried", "hcr.outcome"
ATTEMPTS = 8  # to open a database whose tables another controller is making at that moment
RACE = ("already exists", "UNIQUE constraint", "duplicate key", "database is locked")
ALIVE, LABEL, WORD = "hcr.alive", "hcr.run", "hcr.word"
TAKEN_WITHIN_S = 60.0  # on a server: from a trial's being there to its having a machine's name, after a slow sampler
FILED_WITHIN_S = 60.0  # for whoever writes down the runs of a grid, from one to the next


def reaching(method: Callable[P, R]) -> Callable[P, R]:
    """`method`, with the errors of a database that cannot be reached as one of ours."""

    @wraps(method)
    def reach(*args: P.args, **kwargs: P.kwargs) -> R:
        import optuna
        from sqlalchemy.exc import SQLAlchemyError

        try:
            return method(*args, **kwargs)
        except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
            cause = error.__cause__ if isinstance(error.__cause__, SQLAlchemyError) else error  # Optuna's words guess
            raise TrackingError(f"sweep.storage: it cannot be reached ({one_line(cause)})") from error

    return reach


@dataclass(frozen=True)
class Trial:
    """One run of a sweep, as the database has it.

    Attributes:
        number: from 0.
        values: by axis, of a search.
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


class Study:
    """What the database knows of a sweep, opened or begun.

    Args:
        storage: a database, such as `sqlite:////folder/search.db`.
        name: of the sweep in it.
        higher_is_better: the direction of the metric.

    Raises:
        ConfigError: the database cannot be opened.
    """

    def __init__(self, storage: str, name: str, *, higher_is_better: bool) -> None:
        self._where = storage
        self._study, self._storage = open_study(storage, name, higher_is_better)

    @reaching
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

    @reaching
    def prune(self, number: int) -> None:
        """A trial was given up; what it reported counts."""
        import optuna

        if self._state(number) == optuna.trial.TrialState.RUNNING:
            self._study.tell(number, state=optuna.trial.TrialState.PRUNED)

    @reaching
    def fail(self, number: int) -> None:
        """A trial has failed."""
        import optuna

        if self._state(number) == optuna.trial.TrialState.RUNNING:
            self._study.tell(number, state=optuna.trial.TrialState.FAIL)

    @reaching
    def trials(self) -> list[Trial]:
        """All trials that some machine has begun, in order."""
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
            found.append(Trial(trial.number, self._values(trial.params), state, value, host, json.loads(told)))
        return found

    @reaching
    def shared(self, name: str, value: str) -> str:
        """What all machines agree on under `name`: the `value` of the one that asked first."""
        import optuna

        with quiet():
            place = optuna.create_study(study_name=self._place(name), storage=self._storage, load_if_exists=True)
        if not place.get_trials(deepcopy=False):  # trials are numbered one after another, whoever makes them
            word = {WORD: value}
            place.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.WAITING, user_attrs=word))
        return str(place.get_trials(deepcopy=False)[0].user_attrs[WORD])

    @reaching
    def agreed(self, name: str) -> str | None:
        """What `shared` would return; None where nobody has said anything yet."""
        import optuna

        try:
            place = optuna.load_study(study_name=self._place(name), storage=self._storage)
        except KeyError:
            return None
        found = place.get_trials(deepcopy=False)
        return str(found[0].user_attrs[WORD]) if found else None

    @reaching
    def adopt(self, host: str) -> None:
        """Give trials that have no machine, since it was killed as it took them, to whichever asks first."""
        with alone(self._where):
            found = set(self._orphans())
        if found and not is_file(self._where):  # where it is one, no trial is being taken while its lock is held
            time.sleep(TAKEN_WITHIN_S)
            found.intersection_update(self._orphans())
        for number in sorted(found):
            trial = self._study.get_trials(deepcopy=False)[number]
            self._storage.set_trial_user_attr(trial._trial_id, HOST, self.shared(f"owner_of_{number}", host))

    @reaching
    def take_over(self, gone: Container[str], host: str) -> None:
        """Give the running trials of machines that are gone to whichever asks first."""
        for trial in self.trials():
            if trial.state == "running" and trial.host in gone:
                owner = self.shared(f"owner_of_{trial.number}_after_{trial.host}", host)
                found = self._study.get_trials(deepcopy=False)[trial.number]
                self._storage.set_trial_user_attr(found._trial_id, HOST, owner)

    @reaching
    def beat(self, host: str) -> None:
        """A sign of life from `host`."""
        self._study.set_user_attr(f"{ALIVE}.{host}", time.time())

    @reaching
    def signs(self) -> dict[str, Any]:
        """By machine that has trials running: what changes as long as it is alive."""
        alive = self._study.user_attrs
        by_host: dict[str, list[Trial]] = {}
        for trial in self.trials():
            by_host.setdefault(trial.host, []).append(trial)
        return {
            host: (alive.get(f"{ALIVE}.{host}"), [(trial.number, trial.state) for trial in trials])
            for host, trials in by_host.items()
            if any(trial.state == "running" for trial in trials)
        }

    def _place(self, name: str) -> str:
        return f"{self._study.study_name}.{name}"

    def _orphans(self) -> list[int]:
        import optuna

        running = optuna.trial.TrialState.RUNNING
        return [trial.number for trial in self._asked() if trial.state == running and HOST not in trial.user_attrs]

    def _asked(self) -> "list[optuna.trial.FrozenTrial]":
        """The trials that count, in order: those that were asked for and not given back as one too many."""
        import optuna

        return [
            trial
            for trial in self._study.get_trials(deepcopy=False)
            if trial.state != optuna.trial.TrialState.WAITING and not trial.user_attrs.get(BEYOND)
        ]

    def _state(self, number: int) -> "optuna.trial.TrialState":
        return self._study.get_trials(deepcopy=False)[number].state

    def _values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What a config has, of the values that Optuna keeps."""
        return dict(params)


class Claims(Study):
    """The runs of a grid that several machines share: each is made by the one that claims it first."""

    _ids: list[int]  # what the database calls each of them

    @reaching
    def file(self, labels: list[str], host: str) -> None:
        """Have one trial for each run, in order; the machine that is first writes them down, others wait for it.

        Raises:
            TrackingError: it has stopped writing.
        """
        import optuna

        first, there, since = self.shared("filed_by", host), -1, time.monotonic()
        self._ids = [trial._trial_id for trial in self._study.get_trials(deepcopy=False)]
        while first == host and len(self._ids) < len(labels):  # from where it was killed, maybe
            template = optuna.trial.create_trial(
                state=optuna.trial.TrialState.WAITING, user_attrs={LABEL: labels[len(self._ids)]}
            )
            self._ids.append(self._storage.create_new_trial(self._study._study_id, template))
        while len(self._ids) < len(labels):
            if len(self._ids) != there:
                there, since = len(self._ids), time.monotonic()
            if time.monotonic() - since > FILED_WITHIN_S:
                raise TrackingError(
                    f"sweep.storage: {first} began to write down the sweep's runs and has stopped;"
                    " expected the command to be issued there again"
                )
            time.sleep(0.5)
            self._ids = [trial._trial_id for trial in self._study.get_trials(deepcopy=False)]

    @reaching
    def claim(self, number: int, host: str) -> bool:
        """Take a run for `host`, where no machine has it yet; whether it is its own now. All runs are written down."""
        import optuna

        trial_id = self._ids[number]
        # A server locks the row from Optuna's reading its state to its writing it; where there is a file we do.
        with alone(self._where):
            if self._storage.get_trial(trial_id).state != optuna.trial.TrialState.WAITING:
                return False
            try:
                if not self._storage.set_trial_state_values(trial_id, optuna.trial.TrialState.RUNNING):
                    return False
            except RuntimeError:  # Optuna's for a trial that has ended by now
                return False
            self._storage.set_trial_user_attr(trial_id, HOST, host)
        return True


def open_study(
    storage: str, name: str, higher_is_better: bool, pruner: Any = None
) -> "tuple[optuna.Study, optuna.storages.RDBStorage]":
    """Optuna's study, and the database it is in.

    Raises:
        ConfigError: the database cannot be opened.
    """
    import optuna

    def opened(database: "optuna.storages.RDBStorage") -> "tuple[optuna.Study, optuna.storages.RDBStorage]":
        study = optuna.create_study(
            study_name=name,
            storage=database,
            direction="maximize" if higher_is_better else "minimize",
            sampler=optuna.samplers.RandomSampler(seed=0),
            pruner=pruner or optuna.pruners.NopPruner(),
            load_if_exists=True,
        )
        return study, database

    return _with_database(storage, opened)


def is_begun(storage: str, name: str) -> bool:
    """Whether a database has a sweep of that name; no file is made.

    Raises:
        ConfigError: the database cannot be opened.
    """
    path = sqlite_path(storage) if is_file(storage) else None
    if path is not None and not path.exists():
        return False
    return _with_database(storage, lambda database: name in {study.study_name for study in database.get_all_studies()})


def _with_database(storage: str, use: "Callable[[optuna.storages.RDBStorage], R]") -> R:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # A server may have dropped a connection that was idle for as long as a run takes.
    engine = {"connect_args": {"timeout": 60}} if is_file(storage) else {"pool_pre_ping": True}
    for attempt in range(1, ATTEMPTS + 1):
        with quiet(), alone(storage):
            try:
                return use(optuna.storages.RDBStorage(storage, engine_kwargs=engine))
            except Exception as error:  # of SQLAlchemy and of every database there is
                told = one_line(error)
                if isinstance(error, ImportError):
                    told += "; for PostgreSQL: pip install 'hcr[postgresql]', and postgresql+psycopg:// in the address"
                if attempt == ATTEMPTS or not any(sign in str(error) for sign in RACE):
                    where = without_credentials(storage)
                    raise ConfigError(
                        f"sweep.storage: expected a database that can be opened, got {where} ({told})"
                    ) from error
        time.sleep(0.3 * attempt)
    raise AssertionError("the last attempt returns or raises")


def is_file(storage: str) -> bool:
    """Whether a database is an SQLite file, and no server."""
    return storage.startswith("sqlite:")


@contextmanager
def alone(storage: str) -> Iterator[None]:
    """One process at a time where the database is a file, which knows no locks but for a single change.

    Raises:
        ConfigError: its folder cannot be written.
    """
    path = sqlite_path(storage) if is_file(storage) else None
    if path is None or not path.parent.is_dir():
        yield
        return
    try:
        lock = path.with_name(path.name + ".lock").open("ab")
    except OSError as error:
        raise ConfigError(f"sweep.storage: expected a folder that can be written ({one_line(error)})") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings that some of Optuna's parts are experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("alembic").setLevel(logging.ERROR)
        yield
