"""One sweep, from a frozen plan to its leaderboard: `run_sweep` is its story."""

import contextlib
import fcntl
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hcr import stopping
from hcr.config import ConfigError, HcrError, RunConfig
from hcr.config.gate import to_dict
from hcr.config.launcher import LauncherConfig
from hcr.config.secrets import override_without_secrets
from hcr.config.sweep import SweepConfig
from hcr.config.tracking import TrackingConfig, output_root
from hcr.drawing import is_drawn
from hcr.evaluation.leaderboard import Leaderboard, counted
from hcr.output import leaving_without_output
from hcr.sweep.confirm import Confirmation, confirmation, to_confirm
from hcr.sweep.dispatch import Dispatcher
from hcr.sweep.identity import Fingerprints, check_data
from hcr.sweep.ledger import Ledger, Run, counts, deleted_runs, new_key
from hcr.sweep.plan import Plan, changed_code, read_plan, told_changes, write_plan
from hcr.sweep.report import begin_run, board_of, tell_best, tell_end, tell_means, tell_progress
from hcr.sweep.screen import SweepScreen
from hcr.sweep.search import source_of
from hcr.sweep.tasks import build_models, draw_runs, score_run
from hcr.sweep.workers import workers_of
from hcr.sweep.workers.local import Local
from hcr.tracking.session import recorded
from hcr.tracking.status import test_accuracy
from hcr.tracking.uploader import Uploader

LOCK = "lock"
SOME_IMAGES = 1000  # training images that models are built for, to see that they can be


@dataclass(frozen=True)
class SweepResult:
    """What a sweep came to.

    Attributes:
        plan: as it was carried out.
        runs: every run that is known of.
        board: None where no run has finished.
        confirmed: the best points on fresh seeds, where that was asked for.
        num_left: runs that the same command would still make.
        key: of the sweep's own run; its folder.
        folder: the sweep's.
    """

    plan: Plan
    runs: list[Run]
    board: Leaderboard | None
    confirmed: Confirmation | None
    num_left: int
    key: str
    folder: Path

    @property
    def num_failed(self) -> int:
        """Runs that failed."""
        return sum(run.state == "failed" for run in self.runs)


def run_sweep(
    plan: Plan,
    sweep: SweepConfig,
    launcher: LauncherConfig,
    tracking: TrackingConfig,
    samples: Sequence[RunConfig],
    fingerprints: Fingerprints,
    *,
    again: str = "the same command",
) -> SweepResult:
    """Make the runs that are missing, under one parent run, and tell what they came to.

    Args:
        plan: frozen; where one of the same id is there, that one is gone on with.
        sweep: the bounds, as this command gives them.
        launcher: where the trials run.
        tracking: the store.
        samples: configs whose models stand for those that a search will build; one a run of a grid.
        fingerprints: of the runs; what they have read of the data is not read again.
        again: the command that goes on with the sweep, in words.

    Raises:
        SystemExit: standard output cannot be written any more; every run is journalled, as after an interruption.
        ConfigError: the code or the data has changed, a model cannot be built, the launcher has no room for a trial, or
            another process runs this sweep.
        KeyboardInterrupt: with every run journalled; the same command goes on.
    """
    folder = sweep_folder(plan)
    with _alone(folder), contextlib.ExitStack() as stack:
        code, deleted = plan.code, deleted_runs(plan.uri)
        plan = _taken_up(folder, plan, deleted)
        ledger = Ledger(plan, folder, fingerprints, deleted=deleted, retry_failed=sweep.retry_failed)
        source = source_of(plan, sweep, ledger)

        def num_left() -> int:
            return source.num_to_ask() + sum(run.is_left for run in ledger.in_order)

        confirming = [] if num_left() else to_confirm(ledger, plan, sweep)
        plan = _with_code(plan, code, sweep, is_left=bool(num_left()))
        here = stack.enter_context(contextlib.closing(Local(folder / "here", plan.workers or 1, cfg=samples[0])))
        uploader = stack.enter_context(Uploader(plan.uri, tracking.timeout_s))  # imports MLflow beside Keras
        configs = [*ledger.new_configs(), *(samples if plan.is_search else [])]
        check_models(here, folder, plan, configs, partial(_look, uploader))
        workers = workers_of(launcher, here, folder, samples, plan.threads)
        stack.callback(workers.close)
        write_plan(folder, plan)
        with (
            recorded(tracking, uploader=uploader) as journal,
            leaving_without_output(lambda: f"{again} resumes sweep {plan.id}"),
        ):
            print(counts(ledger, num_left(), is_search=plan.is_search), flush=True)
            if source.note:
                print(f"note: {source.note}", flush=True)
            begin_run(journal, plan, folder)
            tell = partial(tell_progress, journal, ledger)
            total = sweep.n_trials or len(plan.runs)
            with SweepScreen(total=total, monitor=plan.monitor, higher_is_better=plan.higher_is_better) as screen:
                dispatcher = Dispatcher(ledger, workers, uploader, screen, sweep)
                screen.show_known(ledger.in_order)
                for there, is_lost in ledger.left_to_upload():
                    uploader.finish(there, is_lost=is_lost)
                dispatcher.make(source, [run for run in ledger.made if run.state == "interrupted"], tell)
                tell()
                board = board_of(plan, ledger.made, allow_incomplete=sweep.allow_incomplete)
                if not confirming and not num_left():
                    confirming = to_confirm(ledger, plan, sweep)
                screen.total = total + len(confirming)
                dispatcher.make(source, [run for run in confirming if run.is_left], tell)
                uploader.drain()  # a run that is being uploaded cannot be scored, told anything, or drawn
                score = partial(_score, here, folder, uploader)
                confirmed = confirmation(plan, confirming, score)
                for run in ledger.made:
                    _score_missing(run, score)
                uploader.drain()
                tell_means(ledger.made, board, plan, uploader)
                uploader.drain()
                _draw_best(here, folder, board, ledger.in_order, uploader)
                uploader.drain()
            if uploader.num_left:
                told = f"{counted(uploader.num_left, 'run')} not in MLflow as a whole yet; nothing is lost"
                print(f"hcr: {told}, `hcr sync` delivers it", file=sys.stderr)
            if board is not None:
                tell_best(journal, board, ledger.made, uploader)
            tell_end(journal, plan, board, ledger, confirming, confirmed, source.importances(), num_left())
            if sweep.confirm is not None and not num_left() and not confirming:
                print("nothing is confirmed as long as runs are missing", flush=True)
        return SweepResult(plan, ledger.in_order, board, confirmed, num_left(), plan.parents[-1], folder)


def sweep_folder(plan: Plan) -> Path:
    """Where a sweep keeps its plan and the folders of its trials."""
    return output_root() / "sweeps" / plan.id


def check_models(
    here: Local, folder: Path, plan: Plan, configs: Sequence[RunConfig], meanwhile: Callable[[], None]
) -> dict[str, int]:
    """Build the model and the optimizer of every config once, in a process of its own; parameters by `parts_of`.

    Raises:
        ConfigError: one that cannot be built; names its combination.
    """
    different = {parts_of(cfg): cfg for cfg in configs}
    if not different:
        return {}
    values = [to_dict(cfg) for cfg in different.values()]
    try:
        sizes, why = here.call(build_models, values, SOME_IMAGES, log=folder / "check.txt", meanwhile=meanwhile)
    except HcrError as error:
        raise HcrError(f"models cannot be built here: {error}") from error
    if why:
        bad = list(different)[len(sizes)]
        overrides = next((run.overrides for run in plan.runs if parts_of(run.cfg) == bad), ())
        raise ConfigError(f"{why} (in the combination {' '.join(map(override_without_secrets, overrides))})")
    return dict(zip(different, sizes, strict=True))


def parts_of(cfg: RunConfig) -> str:
    """What a model and its optimizer are built from: equal texts, equal models."""
    training = replace(cfg.training, threads=1)
    parts = (cfg.model, cfg.optimizer, cfg.schedule, training, cfg.dataset.image_shape, cfg.dataset.num_classes)
    return repr(parts)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time.

    Raises:
        ConfigError: another one runs this sweep.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # the store's address in it may hold a password
    with (folder / LOCK).open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another process runs this sweep ({folder}); expected it to end first") from None
        yield


def _taken_up(folder: Path, plan: Plan, deleted: frozenset[str]) -> Plan:
    """The plan that is carried out: the runs, the code and the own run of the one that is there, where there is one.

    Where the sweep's own run was deleted in MLflow, it gets a new one: runs would be nested under what nobody sees.

    Raises:
        ConfigError: the data has changed since.
    """
    there = read_plan(folder)
    if there is None:
        return replace(plan, parents=(new_key(),))
    check_data(there.data, plan)
    parents = there.parents or (new_key(),)
    if parents[-1] in deleted:
        key = new_key()
        print(f"note: the sweep's own run {parents[-1]} was deleted in MLflow; it gets a new one, {key}", flush=True)
        parents = (*parents, key)
    return replace(
        plan, parents=parents, runs=there.runs, code=there.code, is_mixed=there.is_mixed, data=there.data or plan.data
    )


def _with_code(plan: Plan, code: dict[str, str], sweep: SweepConfig, *, is_left: bool) -> Plan:
    """The plan, marked as of mixed code where what is left will be run by other code, `code`, than what there is.

    Where nothing is left it stays the plan of the code that made it.

    Raises:
        ConfigError: mixing was not asked for.
    """
    changed = changed_code(plan.code, code)
    if not changed or not is_left:
        return plan
    if not sweep.allow_code_change:
        raise ConfigError(told_changes(changed))
    return replace(plan, code=code, is_mixed=True)


def _call(here: Local, uploader: Uploader, log: Path, function: Callable[..., Any], *arguments: object) -> Any:
    """What `function` returns, in a process of its own that a stop signal ends."""
    return here.call(function, *arguments, log=log, meanwhile=partial(_look, uploader))


def _look(uploader: Uploader) -> None:
    """Raise what ends a sweep while it waits."""
    stopping.check()
    uploader.check()


def _score(here: Local, folder: Path, uploader: Uploader, run: Run) -> float:
    """Score a finished run on test, and upload that; its test accuracy.

    Raises:
        HcrError: it cannot be scored.
    """
    assert run.folder is not None
    try:
        accuracy: float = _call(here, uploader, folder / "score.txt", score_run, run.folder)
    except HcrError as error:
        raise HcrError(f"run {run.key} cannot be scored on test: {error}") from error
    uploader.finish(run.folder)
    return accuracy


def _score_missing(run: Run, score: Callable[[Run], float]) -> None:
    """Score on test what `score_test=true` asks for and a reused run lacks; it is counted as any look at test."""
    is_asked = run.outcome is not None and run.planned.cfg.score_test
    if is_asked and run.folder is not None and test_accuracy(run.folder) is None:
        score(run)


def _draw_best(here: Local, folder: Path, board: Leaderboard | None, runs: Sequence[Run], uploader: Uploader) -> None:
    """Draw the runs of the best point that have no pictures yet, and upload them; `hcr plots` draws others."""
    label = None if board is None else board.rows[0].label
    best = [run.folder for run in runs if run.outcome is not None and run.planned.point_label == label]
    undrawn = [run for run in best if run is not None and run.is_dir() and not is_drawn(run)]
    if not undrawn:
        return
    try:
        _call(here, uploader, folder / "draw.txt", draw_runs, undrawn)
    except HcrError as error:
        print(f"note: the best runs are not drawn ({error}); `hcr plots RUN` draws one", flush=True)
    for run in undrawn:
        uploader.finish(run)
