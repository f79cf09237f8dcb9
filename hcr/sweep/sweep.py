"""One sweep, from a frozen plan to its leaderboard: `run_sweep` is its story."""

import contextlib
import fcntl
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hcr import stopping
from hcr.config import ConfigError, HcrError
from hcr.config.launcher import LauncherConfig
from hcr.config.secrets import override_without_secrets
from hcr.config.sweep import SweepConfig
from hcr.config.tracking import TrackingConfig, output_root
from hcr.drawing import is_drawn
from hcr.evaluation.labels import counted
from hcr.evaluation.ranking import Leaderboard
from hcr.gate import RunConfig
from hcr.gate.run_config import to_dict
from hcr.output import leaving_without_output
from hcr.sweep.confirm import Confirmation, confirmation, plan_confirmation
from hcr.sweep.dispatch import Dispatcher
from hcr.sweep.identity import Fingerprints, check_data
from hcr.sweep.ledger import Ledger, Run, counts, deleted_runs, new_key
from hcr.sweep.plan import Plan, changed_code, read_plan, told_changes, write_plan
from hcr.sweep.report import begin_run, board_of, record_best, record_end, record_means, record_progress
from hcr.sweep.screen import SweepScreen
from hcr.sweep.search import source_of
from hcr.sweep.tasks import build_models, draw_runs, score_run
from hcr.sweep.workers import workers_of
from hcr.sweep.workers.local import CallFailed, Local
from hcr.tracking.session import recorded
from hcr.tracking.status import test_accuracy
from hcr.tracking.uploader import Uploader

LOCK = "lock"
SOME_IMAGES = 1000  # training images that models are built for, to see that they can be


@dataclass(frozen=True)
class SweepResult:
    """The result of a sweep.

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
        plan: as this command would carry it out; what an earlier command began is kept (see `_resumed`).
        sweep: the bounds, as this command gives them.
        launcher: where the trials run.
        tracking: the store.
        samples: configs such as the runs will have: of a grid all of them, of a search some at its edges.
        fingerprints: of the runs; what they have read of the data is not read again.
        again: the command that resumes the sweep, in words.

    Raises:
        SystemExit: standard output cannot be written any more; every run is journalled, as after an interruption.
        ConfigError: the code or the data has changed, a model cannot be built, the launcher has no room for a trial, or
            another process runs this sweep.
        HcrError: models cannot be built here at all, no trial can run any more, or a run cannot be scored.
        KeyboardInterrupt: with every run journalled; the same command resumes the sweep.
    """
    folder, begun_s = sweep_folder(plan), time.monotonic()
    with _locked(folder), contextlib.ExitStack() as stack:
        # What there is: the plan that was begun, and where each of its runs stands.
        code, deleted = plan.code, deleted_runs(plan.uri)
        plan = _resumed(folder, plan, deleted)
        ledger = Ledger(plan, folder, fingerprints, deleted=deleted, retry_failed=sweep.retry_failed)
        source = source_of(plan, sweep, ledger)

        def num_left() -> int:
            """Runs that the same command would still make, those that confirm the best points among them."""
            return source.num_to_ask() + sum(run.is_left for run in ledger.all)

        confirming = [] if num_left() else plan_confirmation(ledger, plan, sweep)  # in the ledger from here on
        plan = _with_code(plan, code, sweep, is_left=bool(num_left()))

        # What it needs: models that can be built, a place for trials to run, a thread that uploads.
        local = stack.enter_context(contextlib.closing(Local(folder / "local", plan.workers or 1, cfg=samples[0])))
        uploader = stack.enter_context(Uploader(plan.uri, tracking.timeout_s))  # imports MLflow while Keras is imported
        configs = [*ledger.new_configs(), *(samples if plan.is_search else [])]
        check_models(local, folder, plan, configs, partial(_check_signals, uploader))
        workers = workers_of(launcher, local, folder, samples, plan.threads)
        stack.callback(workers.close)
        write_plan(folder, plan)

        resumes = f"{again} resumes sweep {plan.id}"
        with recorded(tracking, uploader=uploader) as journal, leaving_without_output(lambda: resumes):
            print(counts(ledger, num_left(), is_search=plan.is_search), flush=True)
            if source.note:
                print(f"note: {source.note}", flush=True)
            begin_run(journal, plan, folder)
            tell = partial(record_progress, journal, ledger)
            total = sweep.n_trials or len(plan.runs)
            with SweepScreen(total=total, monitor=plan.monitor, higher_is_better=plan.higher_is_better) as screen:
                # The runs: those that were interrupted first, then what the grid or the search asks for.
                dispatcher = Dispatcher(ledger, workers, uploader, screen, sweep, begun_s)
                screen.show_known(ledger.all)
                for run_folder, is_missing in ledger.left_to_upload():
                    uploader.finish(run_folder, is_lost=is_missing)
                dispatcher.run([run for run in ledger.candidates if run.state == "interrupted"], tell, source)
                tell()
                board = board_of(plan, ledger.candidates, allow_incomplete=sweep.allow_incomplete)

                # The best points once more, on fresh seeds, where that was asked for and nothing is missing.
                if not confirming and not num_left():
                    confirming = plan_confirmation(ledger, plan, sweep)
                screen.total = total + len(confirming)
                dispatcher.run([run for run in confirming if run.is_left], tell)

                # What is added to runs that have ended. One that is being uploaded cannot be added to.
                uploader.drain()
                score = partial(_score, local, folder, uploader)
                confirmed = confirmation(plan, confirming, score)
                for run in ledger.candidates:
                    _score_missing(run, score)
                uploader.drain()
                record_means(ledger.candidates, board, plan, uploader)
                uploader.drain()
                if board is not None:
                    _draw_best(local, folder, board, ledger.all, uploader)
                uploader.drain()
            if uploader.num_left:  # within the time that the store was given
                told = f"{counted(uploader.num_left, 'run')} not in MLflow as a whole yet; nothing is lost"
                print(f"hcr: {told}, `hcr sync` delivers it", file=sys.stderr)
            if sweep.confirm is not None and not confirming and not num_left():
                print("nothing is confirmed as long as runs are missing", flush=True)  # such as failed ones

            # What it came to, in the sweep's own run.
            if board is not None:
                record_best(journal, board, ledger.candidates, uploader)
            record_end(journal, plan, board, ledger, confirming, confirmed, source.importances(), num_left())
        return SweepResult(plan, ledger.all, board, confirmed, num_left(), plan.parents[-1], folder)


def sweep_folder(plan: Plan) -> Path:
    """The folder of a sweep's plan and of its trials."""
    return output_root() / "sweeps" / plan.id


def check_models(
    local: Local, folder: Path, plan: Plan, configs: Sequence[RunConfig], meanwhile: Callable[[], None]
) -> dict[str, int]:
    """Build the model and the optimizer of every config once, in a process of its own.

    Returns:
        How many parameters each model has, by `parts_of`.

    Raises:
        ConfigError: one that cannot be built; names its combination.
        HcrError: none can be built here.
    """
    different = {parts_of(cfg): cfg for cfg in configs}
    if not different:
        return {}
    values = [to_dict(cfg) for cfg in different.values()]
    try:
        sizes, why = local.call(build_models, values, SOME_IMAGES, log=folder / "check.txt", meanwhile=meanwhile)
    except CallFailed as error:
        raise HcrError(f"models cannot be built here: {error}") from error
    if why:
        bad = list(different)[len(sizes)]
        overrides = next((run.overrides for run in plan.runs if parts_of(run.cfg) == bad), ())
        raise ConfigError(f"{why} (in the combination {' '.join(map(override_without_secrets, overrides))})")
    return dict(zip(different, sizes, strict=True))


def parts_of(cfg: RunConfig) -> str:
    """The settings that a model and its optimizer are built from: equal texts, equal models."""
    training = cfg.training.replace(threads=1)  # which build nothing
    parts = (cfg.model, cfg.optimizer, cfg.schedule, training, cfg.dataset.image_shape, cfg.dataset.num_classes)
    return repr(parts)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the sweep's lock: one process runs a sweep.

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


def _resumed(folder: Path, plan: Plan, deleted: frozenset[str]) -> Plan:
    """`plan`, with what an earlier command began: its runs, in its order, its code and data, and the sweep's own run.

    Where that run was deleted in MLflow, the sweep gets a new one: runs would be nested under what nobody sees.

    Raises:
        ConfigError: the data has changed since.
    """
    begun = read_plan(folder)
    if begun is None:
        return replace(plan, parents=(new_key(),))
    check_data(begun.data, plan)
    parents = begun.parents or (new_key(),)
    if parents[-1] in deleted:
        key = new_key()
        print(f"note: the sweep's own run {parents[-1]} was deleted in MLflow; it gets a new one, {key}", flush=True)
        parents = (*parents, key)
    return replace(
        plan, parents=parents, runs=begun.runs, code=begun.code, is_mixed=begun.is_mixed, data=begun.data or plan.data
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


def _call(local: Local, uploader: Uploader, log: Path, function: Callable[..., Any], *arguments: object) -> Any:
    """Call `function` in a process of its own, which a stop signal ends."""
    return local.call(function, *arguments, log=log, meanwhile=partial(_check_signals, uploader))


def _check_signals(uploader: Uploader) -> None:
    """Raise what ends a sweep while it waits."""
    stopping.check()
    uploader.check()


def _score(local: Local, folder: Path, uploader: Uploader, run: Run) -> float:
    """Score a finished run on test, and upload that; its test accuracy.

    Raises:
        HcrError: it cannot be scored.
    """
    assert run.folder is not None
    try:
        accuracy: float = _call(local, uploader, folder / "score.txt", score_run, run.folder)
    except CallFailed as error:
        raise HcrError(f"run {run.key} cannot be scored on test: {error}") from error
    uploader.finish(run.folder)
    return accuracy


def _score_missing(run: Run, score: Callable[[Run], float]) -> None:
    """Score on test what `score_test=true` asks for and a reused run lacks; it is counted as any look at test."""
    is_asked = run.outcome is not None and run.planned.cfg.score_test
    if is_asked and run.folder is not None and test_accuracy(run.folder) is None:
        score(run)


def _draw_best(local: Local, folder: Path, board: Leaderboard, runs: Sequence[Run], uploader: Uploader) -> None:
    """Draw the runs of the best point that have no pictures yet, and upload them; `hcr plots` draws others."""
    label = board.rows[0].label
    best = [run.folder for run in runs if run.outcome is not None and run.planned.point_label == label]
    undrawn = [run for run in best if run is not None and run.is_dir() and not is_drawn(run)]
    if not undrawn:
        return
    try:
        _call(local, uploader, folder / "draw.txt", draw_runs, undrawn)
    except CallFailed as error:
        print(f"note: the best runs are not drawn ({error}); `hcr plots RUN` draws one", flush=True)
    for run in undrawn:
        uploader.finish(run)
