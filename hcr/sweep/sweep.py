"""One sweep, from a frozen plan to its leaderboard; read `run_sweep` first."""

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
from hcr.config.training import available_cores
from hcr.drawing import is_drawn
from hcr.evaluation.labels import counted
from hcr.evaluation.ranking import Leaderboard
from hcr.gate import RunConfig
from hcr.gate.run_config import image_and_classes, to_dict
from hcr.gpus import visible_gpus
from hcr.output import leaving_without_output
from hcr.sweep.confirm import Confirmation, confirmation, plan_confirmation
from hcr.sweep.dispatch import Dispatcher
from hcr.sweep.identity import Fingerprints, check_data
from hcr.sweep.ledger import Ledger, Run, counts, deleted_runs, new_key
from hcr.sweep.plan import Plan, changed_code, read_plan, told_changes, write_plan
from hcr.sweep.report import begin_run, board_of, record_best, record_end, record_means, record_progress
from hcr.sweep.screen import SweepScreen
from hcr.sweep.search import source_of
from hcr.sweep.tasks import build_models, draw_runs, score_run, why_not_trained
from hcr.sweep.workers import workers_of
from hcr.sweep.workers.local import CallFailed, Local
from hcr.tracking.session import recorded
from hcr.tracking.status import test_accuracy
from hcr.tracking.uploader import Uploader

LOCK = "lock"
MOST_DRAWN = 10  # runs of the best point whose pictures are drawn
SOME_IMAGES = 1000  # training images assumed when a model is built as a check


@dataclass(frozen=True)
class SweepResult:
    """The result of a sweep.

    Attributes:
        plan: as executed.
        runs: every known run.
        board: the leaderboard; None if no run has finished.
        confirmed: the best points on fresh seeds; None without `sweep.confirm`, or if runs are missing.
        num_left: runs that the same command would still train.
        key: of the parent run.
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
        """Number of failed runs."""
        return sum(run.state == "failed" for run in self.runs)


def run_sweep(
    plan: Plan,
    sweep: SweepConfig,
    launcher: LauncherConfig,
    tracking: TrackingConfig,
    configs: Sequence[RunConfig],
    fingerprints: Fingerprints,
    *,
    again: str = "the same command",
) -> SweepResult:
    """Train a sweep's remaining runs, nested under one parent run, and record the leaderboard in that.

    Args:
        plan: of this command; an earlier command's plan takes precedence (see `_resumed`).
        sweep: settings of this command: sampler, pruner, number of trials, time limits.
        launcher: where the trials run.
        tracking: the store.
        configs: of the runs: of a grid all, of a search some at the edges of its space.
        fingerprints: of the runs; they cache the digests of the data.
        again: the command that resumes the sweep, in words.

    Raises:
        SystemExit: standard output cannot be written any more; every run is journalled, as after an interruption.
        ConfigError: the code or the data has changed, a model cannot be built, the launcher has no room for a trial, or
            another process is running this sweep.
        HcrError: the process that builds models failed, no trial can run any more, or a run cannot be scored.
        KeyboardInterrupt: a stop signal; every run is journalled, and the same command resumes the sweep.
    """
    folder, begun_s = sweep_folder(plan), time.monotonic()
    with _locked(folder), contextlib.ExitStack() as stack:
        # Load what exists: the plan of an earlier command, and each run's state, by its journal: the only record.
        code, deleted = plan.code, deleted_runs(plan.uri)
        plan = _resumed(folder, plan, deleted)
        ledger = Ledger(plan, folder, fingerprints, deleted=deleted, retry_failed=sweep.retry_failed)
        source = source_of(plan, sweep, ledger)  # adds all known runs to the ledger; proposes runs, and prunes them

        def num_left() -> int:
            """Runs that the same command would still train, with those that confirm points, once they are planned."""
            return source.num_to_ask() + sum(run.is_left for run in ledger.all)

        confirming = (
            [] if num_left() else plan_confirmation(ledger, plan, sweep)
        )  # complete already: only its confirmation may be left
        plan = _with_code(plan, code, sweep, is_left=bool(num_left()))

        # Check that models can be built; start the workers and the uploader's thread.
        on_gpus = launcher.is_here and any(cfg.training.device == "gpu" for cfg in configs)
        gpus = visible_gpus() if on_gpus else ()
        local = Local(folder / "local", plan.workers or 1, cfg=configs[0], gpus=gpus)
        stack.enter_context(contextlib.closing(local))
        uploader = stack.enter_context(Uploader(plan.uri, tracking.timeout_s))  # imports MLflow while Keras is imported
        to_build = [*ledger.new_configs(), *(configs if plan.is_search else [])]
        meanwhile = partial(_check_signals, uploader)
        check_models(local, folder, plan, to_build, meanwhile)
        if on_gpus:
            check_gpu(local, folder, configs, meanwhile)
        workers = workers_of(launcher, local, folder, configs, plan.threads)
        stack.callback(workers.close)
        write_plan(folder, plan)

        resumes = f"{again} resumes sweep {plan.id}"
        with recorded(tracking, uploader=uploader) as journal, leaving_without_output(lambda: resumes):
            print(counts(ledger, num_left(), is_search=plan.is_search), flush=True)
            if source.note:
                print(f"note: {source.note}", flush=True)
            begin_run(journal, plan, folder, configs)
            on_ended = partial(record_progress, journal, ledger)
            total = sweep.n_trials or len(plan.runs)
            with SweepScreen(total=total, monitor=plan.monitor, higher_is_better=plan.higher_is_better) as screen:
                # Train: interrupted runs first, then what the source proposes. The uploader follows each run.
                dispatcher = Dispatcher(ledger, workers, uploader, screen, sweep, begun_s)
                screen.show_known(ledger.all)
                for run_folder, is_missing in ledger.left_to_upload():
                    uploader.finish(run_folder, is_lost=is_missing)
                dispatcher.run([run for run in ledger.candidates if run.state == "interrupted"], on_ended, source)
                on_ended()
                board = board_of(plan, ledger.candidates, allow_incomplete=sweep.allow_incomplete)

                # Confirm the best points on fresh seeds, with `sweep.confirm` and if no run is missing.
                if not confirming and not num_left():
                    confirming = plan_confirmation(ledger, plan, sweep)
                screen.total = total + len(confirming)
                dispatcher.run([run for run in confirming if run.is_left], on_ended)

                # Score, rank and draw ended runs. Drain first: a run that is being uploaded cannot be changed.
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
            if uploader.num_left:  # after `tracking.timeout_s`
                runs = counted(uploader.num_left, "run")
                print(
                    f"hcr: {runs} not fully uploaded to MLflow yet; nothing is lost, `hcr sync` uploads the rest",
                    file=sys.stderr,
                )
            if sweep.confirm is not None and not confirming and not num_left():
                print("the best points were not confirmed: runs are missing", flush=True)  # such as failed ones

            # Record the result in the parent run.
            if board is not None:
                record_best(journal, board, ledger.candidates, uploader)
            record_end(journal, plan, board, ledger, confirming, confirmed, source.importances(), num_left())
        return SweepResult(plan, ledger.all, board, confirmed, num_left(), plan.parents[-1], folder)


def sweep_folder(plan: Plan) -> Path:
    """The folder of a sweep's plan and trials."""
    return output_root() / "sweeps" / plan.id


def check_models(
    local: Local, folder: Path, plan: Plan, configs: Sequence[RunConfig], meanwhile: Callable[[], None]
) -> dict[str, int]:
    """Build each distinct model and optimizer once, in a separate process.

    Args:
        meanwhile: called while it waits; may raise to cancel.

    Returns:
        The number of parameters of each model, by `parts_of`.

    Raises:
        ConfigError: a model cannot be built; names its combination.
        HcrError: the process failed.
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


def check_gpu(local: Local, folder: Path, configs: Sequence[RunConfig], meanwhile: Callable[[], None]) -> None:
    """Ask TensorFlow, in a separate process, for the GPU that the runs of `configs` need.

    Raises:
        ConfigError: it cannot use it.
        HcrError: the process failed.
    """
    on_gpu = {cfg.training.precision: cfg for cfg in configs if cfg.training.device == "gpu"}
    values = [to_dict(cfg) for cfg in on_gpu.values()]
    why = local.call(why_not_trained, values, log=folder / "check.txt", meanwhile=meanwhile)
    if why:
        raise ConfigError(why)


def parts_of(cfg: RunConfig) -> str:
    """The settings that a model and its optimizer are built from, as text: equal texts, equal models."""
    training = cfg.training.replace(threads=1)  # threads do not affect the model
    parts = (cfg.model, cfg.optimizer, cfg.schedule, training, image_and_classes(cfg))
    return repr(parts)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the sweep's lock: only one process may run a sweep.

    Raises:
        ConfigError: another process is running this sweep.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # the store's URI in the plan may contain a password
    with (folder / LOCK).open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another process is running this sweep ({folder}); wait until it has ended") from None
        yield


def _resumed(folder: Path, plan: Plan, deleted: frozenset[str]) -> Plan:
    """`plan` with the runs, code, data and parent run of an earlier command's plan, if there is one.

    If the parent run was deleted in MLflow, the sweep gets a new one, as runs nested under the old one would be hidden.

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
        print(f"note: the sweep's parent run {parents[-1]} was deleted in MLflow; its new one is {key}", flush=True)
        parents = (*parents, key)
    return replace(
        plan, parents=parents, runs=begun.runs, code=begun.code, is_mixed=begun.is_mixed, data=begun.data or plan.data
    )


def _with_code(plan: Plan, code: dict[str, str], sweep: SweepConfig, *, is_left: bool) -> Plan:
    """The plan, marked as mixed if the remaining runs will use other code, `code`, than the earlier ones.

    If no run is left, the plan stays as it is.

    Raises:
        ConfigError: the code changed, without `sweep.allow_code_change`.
    """
    changed = changed_code(plan.code, code)
    if not changed or not is_left:
        return plan
    if not sweep.allow_code_change:
        raise ConfigError(told_changes(changed))
    return replace(plan, code=code, is_mixed=True)


def _call(local: Local, uploader: Uploader, log: Path, function: Callable[..., Any], *arguments: object) -> Any:
    """Call `function` in a separate process; a stop signal ends it."""
    return local.call(function, *arguments, log=log, meanwhile=partial(_check_signals, uploader))


def _check_signals(uploader: Uploader) -> None:
    """Raise if a stop signal arrived or MLflow cannot be imported."""
    stopping.check()
    uploader.check()


def _score(local: Local, folder: Path, uploader: Uploader, run: Run) -> float:
    """Score a finished run on test and upload the result; returns its test accuracy.

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
    """Score a finished run on test if `score_test=true` and it has no score; it counts as a look at test."""
    is_asked = run.outcome is not None and run.planned.cfg.score_test
    if is_asked and run.folder is not None and test_accuracy(run.folder) is None:
        score(run)


def _draw_best(local: Local, folder: Path, board: Leaderboard, runs: Sequence[Run], uploader: Uploader) -> None:
    """Draw and upload missing pictures of the best point's first runs; `hcr plots` draws those of other runs."""
    label = board.rows[0].label
    best = [run.folder for run in runs if run.outcome is not None and run.planned.point_label == label]
    shown = best[:MOST_DRAWN]  # a point of hundreds of seeds would be drawn for minutes
    undrawn = [run for run in shown if run is not None and run.is_dir() and not is_drawn(run)]
    if not undrawn:
        return
    shares = [undrawn[i :: available_cores()] for i in range(min(available_cores(), len(undrawn)))]
    try:
        check = partial(_check_signals, uploader)
        local.call_each(draw_runs, [(share,) for share in shares], log=folder / "draw.txt", meanwhile=check)
    except CallFailed as error:
        print(f"note: the best runs could not be drawn ({error}); `hcr plots RUN` draws one", flush=True)
    for run in undrawn:
        uploader.finish(run)
