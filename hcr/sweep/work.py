"""The runs of a sweep: those that are known, those that are left, and where the next one comes from."""

import time
from collections.abc import Callable
from pathlib import Path

from hcr.config import RunConfig
from hcr.config.sweep import SweepConfig
from hcr.config.tracking import output_root
from hcr.evaluation.leaderboard import counted
from hcr.sweep.confirm import Confirmation, confirmation, confirming_runs
from hcr.sweep.controller import Controller
from hcr.sweep.identity import Fingerprints
from hcr.sweep.outcomes import KnownRuns, known_runs
from hcr.sweep.plan import Plan, PlannedRun
from hcr.sweep.report import board_of
from hcr.sweep.runs import Run, known_state, trial_folder
from hcr.sweep.screen import SweepScreen
from hcr.sweep.source import SILENT_S, Grid, SearchTrials, SharedGrid
from hcr.sweep.trial import read_result
from hcr.tracking.known import LONGEST_WAIT_S, lost_runs
from hcr.tracking.status import is_delivered
from hcr.tracking.uploader import Uploader

WAIT_S = 1.0
PARENT, PARENT_ELSEWHERE = "parent.txt", "parent_elsewhere.txt"


class Work:
    """The runs of a sweep, known and to come.

    Attributes:
        plan: what they are of.
        source: where those to come come from.
    """

    def __init__(
        self, plan: Plan, folder: Path, sweep: SweepConfig, controller: Controller, fingerprints: Fingerprints
    ) -> None:
        self.plan, self._folder, self._sweep, self._controller = plan, folder, sweep, controller
        parent = parent_key(folder)
        self._known: KnownRuns = known_runs(
            output_root(),
            uri=plan.uri,
            experiment=plan.experiment,
            parent=parent,
            timeout_s=LONGEST_WAIT_S,
            is_shared=sweep.storage is not None,
        )
        controller.deleted = self._known.own_deleted
        self._fingerprints = fingerprints
        self.source: Grid | SharedGrid | SearchTrials = Grid(iter(()))

    @property
    def deleted(self) -> frozenset[str]:
        """The keys of runs that were deleted in MLflow."""
        return self._known.deleted

    @property
    def runs(self) -> list[Run]:
        """Every run that is known of, in order."""
        return [self._controller.runs[number] for number in sorted(self._controller.runs)]

    def take_stock(self) -> None:
        """Where every run stands: finished, interrupted, failed, or new.

        Raises:
            DataError: the data cannot be read.
        """
        if self.plan.is_search:
            self.source = SearchTrials(self.plan, self._folder, self._sweep, self.state_of, self.remember)
            runs = self.source.known_runs()
        elif self._sweep.storage is not None:
            self.source = SharedGrid(self.plan, self._sweep, self.state_of)
            runs = self.source.known_runs()
        else:
            runs = [self.state_of(planned) for planned in self.plan.runs]
            self.source = Grid(iter([run for run in runs if run.state == "new"]))
        self._controller.runs |= {run.planned.number: run for run in runs}
        results = [read_result(trial_folder(self._folder, run.planned)) for run in runs if run.outcome is None]
        deleted = [result for result in results if result is not None and result.get("key") in self._known.deleted]
        if deleted:
            print(f"note: made again, as deleted in MLflow: {counted(len(deleted), 'run')}", flush=True)

    def begin(self) -> None:
        """Say where others can read it what this machine knows and that it is alive: once the sweep was accepted."""
        if not isinstance(self.source, Grid):
            self._controller.runs |= {run.planned.number: run for run in self.source.begin(self.runs)}

    def close(self) -> None:
        """Be silent."""
        if not isinstance(self.source, Grid):
            self.source.close()

    def state_of(self, planned: PlannedRun) -> Run:
        """Where a planned run stands."""
        return known_state(
            planned,
            self._folder,
            self.plan,
            self._known,
            self._fingerprints,
            retry_failed=self._sweep.retry_failed,
        )

    def remember(self, run: Run) -> None:
        """A run that has finished: a search may come to the same point again, which is not trained twice."""
        assert run.outcome is not None
        self._known.finished[self._fingerprints.of(run.planned.cfg)] = output_root() / "runs" / run.outcome.key

    def waiting(self) -> list[Run]:
        """What was interrupted goes first."""
        return [run for run in self.runs if run.state == "interrupted"]

    def new_configs(self) -> list[RunConfig]:
        """The configs of runs that have never begun."""
        return [run.planned.cfg for run in self.runs if run.state == "new"]

    def num_left(self) -> int:
        """Runs that are still to be made."""
        waiting = sum(run.state in ("new", "interrupted", "elsewhere") for run in self.runs)
        if self.plan.is_search and self._sweep.n_trials is not None:
            waiting += max(0, self._sweep.n_trials - len([run for run in self.runs if run.planned.phase == "search"]))
        return waiting

    def counts(self) -> str:
        """`9 reused, 1 resumed, 2 to run` (of a search, to try), and what failed before."""
        states = [run.state for run in self.runs]
        resumed = states.count("interrupted")
        reused = states.count("reused") + states.count("finished")
        # A search's points are not known yet: one that it comes to again is not run a second time.
        what = "to try" if self.plan.is_search else "to run"
        told = f"{reused} reused, {resumed} resumed, {self.num_left() - resumed} {what}"
        if pruned := states.count("pruned"):
            told += f", {pruned} pruned before"
        if failed := states.count("failed"):
            told += f", {failed} failed before (sweep.retry_failed=true tries them again)"
        return told

    def show(self, screen: SweepScreen) -> None:
        """What is known already."""
        for run in self.runs:
            if run.outcome is not None:
                screen.reused(run.planned.number, run.planned.label, run.outcome.value)
            elif run.state in ("pruned", "failed"):
                screen.known(run.planned.number, run.state)

    def deliver_what_is_left(self, delivery: Uploader) -> None:
        """Runs that ended before, and that the store has not had as a whole, or has lost."""
        lost = set(lost_runs(output_root(), self.plan.uri))
        for folder, last in self._known.own.values():
            if last.get("event") == "end" and (not is_delivered(folder) or folder in lost):
                delivery.finish(folder, is_lost=folder in lost)

    def shared_key(self, own: str) -> str:
        """The key of the sweep's own run, as all machines that share a sweep know it; one that was not deleted.

        Args:
            own: this machine's, which was not deleted either.
        """
        if isinstance(self.source, Grid) or self._sweep.storage is None:
            return own
        key = self.source.study.shared("parent", own)
        while key in self.deleted:
            key = self.source.study.shared(f"parent after {key}", own)
        return key

    def hear_of_others(self, *, wait: bool) -> None:
        """What other machines have made of the same sweep.

        Args:
            wait: for what they still make, while they show signs of life, so that what is told at the end is whole.
        """
        if isinstance(self.source, Grid):
            return
        sign: dict[str, object] = {}
        since: dict[str, float] = {}
        is_told = False
        while True:
            others = {run.planned.number: run for run in self.source.others()}
            for number in [run.planned.number for run in self.runs if run.state == "elsewhere"]:
                if number not in others:  # one too many, which has been given back
                    del self._controller.runs[number]
            self._controller.runs |= others
            left = sum(run.state == "elsewhere" for run in self.runs)
            if not wait or not left or not self._controller.has_time():
                return
            now = time.monotonic()
            signs = self.source.signs()
            for host, found in signs.items():
                if sign.get(host) != found:
                    sign[host], since[host] = found, now
            silent = [host for host in signs if now - since[host] > SILENT_S]
            if signs and len(silent) == len(signs):
                whose = f"{counted(left, 'run')} of {', '.join(silent)}, silent by now"
                told = "the command issued there goes on with them, and sweep.take_over=true makes them here"
                print(f"{whose}: {told}", flush=True)
                return
            if not is_told:
                print(f"waiting for {counted(left, 'run')} of other machines", flush=True)
                is_told = True
            time.sleep(WAIT_S)

    def importances(self) -> dict[str, float] | None:
        """What a search says of its axes; None for a grid."""
        return self.source.search.importances() if isinstance(self.source, SearchTrials) else None

    def to_confirm(self) -> list[Run]:
        """The runs that confirm the best points, and where each of them stands; none before all others are made.

        None either where a point lacks runs that failed: the best of what is left need not be the best.
        """
        if self._sweep.confirm is None or self.num_left():
            return []
        made = [run for run in self.runs if run.planned.phase != "confirm"]
        board = board_of(self.plan, made, allow_incomplete=self._sweep.allow_incomplete)
        if board is None:
            return []
        if board.is_incomplete and not self._sweep.allow_incomplete:
            return []
        return [self.state_of(planned) for planned in confirming_runs(self.plan, board, made, self._sweep.confirm)]

    def confirm(
        self, on_ended: Callable[[Run], None], screen: SweepScreen, delivery: Uploader
    ) -> tuple[list[Run], Confirmation | None]:
        """Make the runs that confirm the best points, where that was asked for and nothing is missing.

        Returns:
            The runs, and what they came to; None as long as not all of them have finished.
        """
        runs = self.to_confirm()
        if not runs:
            if self._sweep.confirm is not None and not self.num_left():
                print("nothing is confirmed as long as runs are missing", flush=True)
            return [], None
        screen.total = len(self.runs) + len(runs)
        self._controller.runs |= {run.planned.number: run for run in runs}
        self._controller.make(Grid(iter(())), [run for run in runs if run.state in ("new", "interrupted")], on_ended)
        if any(run.outcome is None for run in runs):
            return runs, None
        delivery.drain()  # a run that is being delivered cannot be scored
        confirmed = confirmation(self.plan, self._controller, self._folder, runs)
        for run in runs:
            assert run.outcome is not None
            delivery.finish(output_root() / "runs" / run.outcome.key)
        return runs, confirmed


def parent_key(folder: Path) -> str | None:
    """The key of the sweep's own run, on this machine or another."""
    return word_in(folder / PARENT_ELSEWHERE) or word_in(folder / PARENT)


def word_in(path: Path) -> str | None:
    """The word in a file; None where there is none."""
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
