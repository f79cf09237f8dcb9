"""Where the next run of a sweep comes from: a grid's list, one that machines share, or a search."""

import contextlib
import os
import secrets
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from hcr.config import ConfigError, TrackingError
from hcr.config.axes import written
from hcr.config.errors import one_line
from hcr.config.points import Space
from hcr.config.sweep import SweepConfig
from hcr.config.tracking import output_root, sqlite_uri
from hcr.sweep.outcomes import Outcome
from hcr.sweep.plan import Plan, PlannedRun, frozen_config
from hcr.sweep.runs import Run, State
from hcr.sweep.search import Search
from hcr.sweep.study import Claims, Study, Trial
from hcr.tracking.lock import this_host

SEARCH = "search.db"
BEAT_S = 20.0  # from one sign of life to the next
SILENT_S = 6 * BEAT_S  # after which another machine is taken to have stopped


class Source(Protocol):
    """Where runs come from: a grid's list, or a search that is told what came of the runs before."""

    def next(self) -> Run | None:
        """The next run to make; None where there is no more. One that is known already is in its own state."""

    def ended(self, run: Run) -> None:
        """The run has finished, failed or been pruned."""


class Grid:
    """The runs of a plan, one after another."""

    def __init__(self, runs: Iterator[Run]) -> None:
        self._runs = runs

    def next(self) -> Run | None:
        """The next one."""
        return next(self._runs, None)

    def ended(self, run: Run) -> None:
        """A grid learns nothing."""


class Trials(ABC):
    """Runs that are trials of a study: some of this machine, others of those that share it.

    Args:
        study: opened.
        sweep: the bounds, and where the study is shared.
        state_of: where a planned run of this machine stands.

    Attributes:
        study: the same.
    """

    def __init__(self, study: Study, sweep: SweepConfig, state_of: Callable[[PlannedRun], Run]) -> None:
        self.study = study
        self._is_shared, self._takes_over, self._state_of = sweep.storage is not None, sweep.take_over, state_of
        self._me = machine_name() if self._is_shared else this_host()
        self._over = threading.Event()

    def known_runs(self) -> list[Run]:
        """The trials so far: those of this machine by their folders, others by what the study was told."""
        return [*map(self._known, self._mine()), *self.others()]

    def begin(self, runs: Iterable[Run]) -> list[Run]:
        """Take what is left to whoever asks, and show signs of life: the sweep has been accepted.

        Returns:
            What differs from `runs` now.
        """
        if not self._is_shared:
            return []
        before = {trial.number for trial in self._mine()}
        self.study.adopt(self._me)
        if self._takes_over:
            self._take_over()
        threading.Thread(target=self._live, name="signs of life", daemon=True).start()
        return [self._known(trial) for trial in self._mine() if trial.number not in before]

    def close(self) -> None:
        """Show no more signs of life."""
        self._over.set()

    def others(self) -> list[Run]:
        """The trials of other machines, as far as the study was told of them."""
        return [self._run_of(trial) for trial in self.study.trials() if not self._is_mine(trial)]

    def signs(self) -> dict[str, object]:
        """Signs of life, by other machine that has runs to make; they change as long as it is alive."""
        return {host: sign for host, sign in self.study.signs().items() if host != self._me}

    def ended(self, run: Run) -> None:
        """Tell the study what came of a trial."""
        if run.planned.phase == "confirm":
            return
        if run.outcome is not None:
            self.study.finish(run.planned.number, run.outcome.value, asdict(run.outcome))
        elif run.state == "pruned":
            self.study.prune(run.planned.number)
        elif run.state in ("failed", "refused"):
            self.study.fail(run.planned.number)

    @abstractmethod
    def next(self) -> Run | None:
        """The next run that this machine is to make; None where there is no more."""

    @abstractmethod
    def planned(self, trial: Trial) -> PlannedRun:
        """The run that a trial stands for.

        Raises:
            ConfigError: the gate does not take it.
        """

    def is_whole(self, trial: Trial) -> bool:
        """Whether the trial has all that makes it a run: one that is being asked for has it a moment later."""
        return True

    def _mine(self) -> list[Trial]:
        return [trial for trial in self.study.trials() if self._is_mine(trial) and self.is_whole(trial)]

    def _known(self, trial: Trial) -> Run:
        """Where a trial of this machine stands."""
        run = self._run_of(trial)
        if run.state == "new":  # asked for, and killed before it had begun
            run.state = "interrupted"
        elif trial.state in ("running", "failed") and run.state != trial.state:
            self.ended(run)  # its controller was killed before it could say so
        return run

    def _is_mine(self, trial: Trial) -> bool:
        """A study that is not shared is this machine's, whatever it was called when it began."""
        return not self._is_shared or trial.host == self._me

    def _run_of(self, trial: Trial) -> Run:
        """Where a trial stands: by its folder where it is of this machine, else by what the study was told."""
        planned = self.planned(trial)
        return self._state_of(planned) if self._is_mine(trial) else _told(planned, trial)

    def _take_over(self) -> None:
        """Take the runs of machines that show no sign of life for long enough."""
        before = self.signs()
        if before:
            print(f"looking for signs of life of {', '.join(before)} for {SILENT_S:.0f} s", flush=True)
            time.sleep(SILENT_S)
            after = self.signs()
            self.study.take_over({host for host in before if after.get(host) == before[host]}, self._me)

    def _live(self) -> None:
        while not self._over.wait(BEAT_S):
            with contextlib.suppress(TrackingError):  # whoever needs the database says so
                self.study.beat(self._me)


class SharedGrid(Trials):
    """The runs of a grid, each for the machine that claims it first.

    Args:
        plan: the same on all machines.
        sweep, state_of: as for Trials.
    """

    def __init__(self, plan: Plan, sweep: SweepConfig, state_of: Callable[[PlannedRun], Run]) -> None:
        assert sweep.storage is not None
        self._claims = Claims(sweep.storage, plan.id, higher_is_better=plan.higher_is_better)
        super().__init__(self._claims, sweep, state_of)
        self._runs, self._next = plan.runs, 0

    def known_runs(self) -> list[Run]:
        """All runs; those that no machine has claimed stand where this one's own folders say."""
        known = {run.planned.number: run for run in super().known_runs()}
        return [known.get(planned.number) or self._state_of(planned) for planned in self._runs]

    def begin(self, runs: Iterable[Run]) -> list[Run]:
        """Write the runs down, and claim those of `runs` that this machine knows from before."""
        self._claims.file([run.label for run in self._runs], self._me)
        changed = super().begin(runs)
        mine = {trial.number for trial in self._claims.trials() if self._is_mine(trial)}
        lost = []
        for run in runs:
            if run.state in ("new", "elsewhere") or run.planned.number in mine:
                continue
            if self._claims.claim(run.planned.number, self._me):
                self.ended(run)
            else:  # another machine was sooner
                lost.append(run.planned.number)
        return [*changed, *(run for run in self.others() if run.planned.number in lost)]

    def next(self) -> Run | None:
        """The next run that no machine has claimed."""
        while self._next < len(self._runs):
            planned = self._runs[self._next]
            self._next += 1
            if self._claims.claim(planned.number, self._me):
                return self._state_of(planned)
        return None

    def planned(self, trial: Trial) -> PlannedRun:
        """The planned run of the trial's number."""
        return self._runs[trial.number]


class SearchTrials(Trials):
    """The runs that a search asks for.

    Args:
        plan: what is searched.
        folder: the sweep's, where the search is kept unless it is shared.
        sweep, state_of: as for Trials.
        remember: told of a run that has finished: a search may come to the same point again.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        sweep: SweepConfig,
        state_of: Callable[[PlannedRun], Run],
        remember: Callable[[Run], None],
    ) -> None:
        self._plan, self._sweep, self._remember = plan, sweep, remember
        self._space = Space.from_json(plan.space)
        self._storage = sweep.storage or sqlite_uri(folder / SEARCH)
        self.search = Search(
            self._storage,
            plan.id,
            self._space.axes,
            sweep,
            higher_is_better=plan.higher_is_better,
            seed=plan.seed,
            base=plan.base,
        )
        super().__init__(self.search, sweep, state_of)
        if self.search.note:
            print(f"note: {self.search.note}", flush=True)

    def next(self) -> Run | None:
        """The next trial."""
        trial = self.search.ask(self._me)
        return None if trial is None else self._run_of(trial)

    def ended(self, run: Run) -> None:
        """Tell the search what came of a trial."""
        super().ended(run)
        if run.outcome is not None:
            self._remember(run)

    def planned(self, trial: Trial) -> PlannedRun:
        """The run of the point that was asked for."""
        asked = self._space.run(trial.values)
        return PlannedRun(
            number=trial.number,
            overrides=asked.overrides,
            values=trial.values,
            point=trial.number,
            seed=asked.cfg.seed,
            config=frozen_config(asked.cfg, self._space, self._plan.threads),
            phase="search",
            search={
                "storage": self._storage,
                "name": self._plan.id,
                "number": trial.number,
                "sweep": asdict(self._sweep),
                "higher_is_better": self._plan.higher_is_better,
            },
        )

    def is_whole(self, trial: Trial) -> bool:
        """Whether the trial has a value for each axis."""
        return len(trial.values) == len(self._space.axes)

    def begin(self, runs: Iterable[Run]) -> list[Run]:
        """Give back trials that have only some of their values: their machine was killed as it asked for them."""
        changed = super().begin(runs)
        for trial in self.study.trials():
            if self._is_mine(trial) and not self.is_whole(trial):
                self.search.give_back(trial.number)
        return changed

    def _run_of(self, trial: Trial) -> Run:
        overrides = tuple(f"{key}={written(value)}" for key, value in trial.values.items())
        bare = PlannedRun(
            number=trial.number,
            overrides=overrides,
            values=trial.values,
            point=trial.number,
            seed=self._plan.seed,
            config={},
            phase="search",
        )
        if not self.is_whole(trial):
            return Run(bare, "elsewhere")
        try:
            return super()._run_of(trial)
        except ConfigError as error:  # a combination at whose edges nothing was wrong
            return Run(bare, "refused", why=one_line(error))


def machine_name() -> str:
    """What this output root is called among those that share sweeps: made up once, and kept there."""
    path = output_root() / "machine.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    name = f"{this_host()}-{secrets.token_hex(4)}"
    new = path.with_name(f"{name}.new")
    new.write_text(name, encoding="utf-8")
    with contextlib.suppress(FileExistsError):
        os.link(new, path)
    new.unlink()
    return path.read_text(encoding="utf-8")


def _told(planned: PlannedRun, trial: Trial) -> Run:
    """A run on another machine: what it came to is known, and its journal is not here."""
    states: dict[str, State] = {"finished": "finished", "pruned": "pruned", "failed": "failed", "running": "elsewhere"}
    run = Run(planned, states[trial.state])
    if trial.outcome:
        run.outcome = Outcome(**trial.outcome)
    return run
