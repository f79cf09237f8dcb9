"""One sweep, from a frozen plan to its leaderboard: `run_sweep` is its story."""

import contextlib
import fcntl
import json
import shutil
import sys
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from hcr.config import ConfigError, RunConfig
from hcr.config.secrets import redact, without_secrets
from hcr.config.sweep import SweepConfig
from hcr.config.tracking import TrackingConfig, output_root
from hcr.evaluation.leaderboard import Leaderboard, counted
from hcr.output import leaving_without_output
from hcr.sweep.agreement import agree, agreement, is_mixed
from hcr.sweep.confirm import Confirmation, score_missing
from hcr.sweep.controller import Controller
from hcr.sweep.drawing import draw_best
from hcr.sweep.identity import Fingerprints, check_data
from hcr.sweep.launched import LaunchedPool
from hcr.sweep.models import check_models
from hcr.sweep.plan import PLAN, Plan, changed_code, read_plan, told_changes, write_plan
from hcr.sweep.pool import Pool
from hcr.sweep.report import board_of, describe, record_board, record_confirmation, tell_best, tell_means
from hcr.sweep.runs import Run
from hcr.sweep.screen import SweepScreen
from hcr.sweep.work import PARENT, PARENT_ELSEWHERE, Work, word_in
from hcr.tracking.events import JOURNAL
from hcr.tracking.journal import Journal
from hcr.tracking.session import recorded
from hcr.tracking.uploader import Uploader

LOCK = "lock"
MIXED_TAG = {"hcr.mixed_code": "true"}


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
    tracking: TrackingConfig,
    samples: Sequence[RunConfig],
    fingerprints: Fingerprints,
    make_pool: Callable[[], LaunchedPool] | None = None,
    *,
    again: str = "the same command",
) -> SweepResult:
    """Make the runs that are missing, under one parent run, and tell what they came to.

    Args:
        plan: frozen; where one of the same id is there, that one is gone on with.
        sweep: the bounds, as this command gives them.
        tracking: the store.
        samples: configs whose models stand for those that a search will build.
        fingerprints: of the runs; what they have read of the data is not read again.
        make_pool: what runs are launched with, where it is not processes of our own.
        again: the command that goes on with the sweep, in words.

    Raises:
        SystemExit: standard output cannot be written any more; every run is journalled, as after an interruption.
        ConfigError: the code or the data has changed, a model cannot be built, or another process runs this sweep.
        KeyboardInterrupt: with every run journalled; the same command goes on.
    """
    folder = sweep_folder(plan)
    with _alone(folder), contextlib.ExitStack() as stack:
        code = plan.code
        plan, changed = _taken_up(folder, plan, sweep)
        screen = SweepScreen(
            total=sweep.n_trials or len(plan.runs), monitor=plan.monitor, higher_is_better=plan.higher_is_better
        )
        delivery = Uploader(plan.uri, tracking.timeout_s)
        controller = Controller(
            plan,
            folder,
            sweep=sweep,
            make_pool=make_pool or partial(Pool, folder / "nursery.txt"),
            delivery=delivery,
            screen=screen,
        )
        stack.callback(controller.close)
        work = Work(plan, folder, sweep, controller, fingerprints)
        stack.callback(work.close)
        work.take_stock()
        plan = work.plan = _with_code(plan, changed, code, work, sweep)
        stack.enter_context(delivery)  # it imports MLflow while Keras is imported for the models
        check_models(controller, folder, plan, [*work.new_configs(), *(samples if plan.is_search else [])])
        agree(plan, sweep)
        work.begin()
        write_plan(folder, plan)
        resumes = f"{again} resumes sweep {plan.id}"
        with recorded(tracking, uploader=delivery) as journal, leaving_without_output(lambda: resumes):
            print(work.counts(), flush=True)
            controller.parent = _begin(journal, plan, folder, work.shared_key, work.deleted)
            tell = partial(_tell_progress, journal, controller)
            with screen:
                work.show(screen)
                work.deliver_what_is_left(delivery)
                controller.make(work.source, work.waiting(), tell)
                # Of a grid each machine tells its own runs the means over all seeds, so that it has to know them.
                work.hear_of_others(wait=journal.is_open or not plan.is_search)
                _tell_progress(journal, controller)
                if not plan.is_mixed and is_mixed(plan, sweep):
                    plan = work.plan = _marked(plan, folder, journal)
                made = work.runs
                board = board_of(plan, made, allow_incomplete=sweep.allow_incomplete)
                # Where the sweep's own run is another machine's, so is the confirmation.
                confirming, confirmed = work.confirm(tell, screen, delivery) if journal.is_open else ([], None)
                delivery.drain()  # a run that is being delivered cannot be scored, or told anything
                score_missing(controller, folder, made, delivery)
                delivery.drain()
                tell_means(controller.parent, made, board, plan, delivery)
                delivery.drain()  # nor drawn
                draw_best(controller, folder, board, [*made, *confirming], delivery)
                delivery.drain()
            if delivery.num_left:
                print(
                    f"hcr: {counted(delivery.num_left, 'run')} not in MLflow as a whole yet; nothing is lost,"
                    " `hcr sync` delivers it",
                    file=sys.stderr,
                )
            if journal.is_open:
                _tell_end(journal, work, delivery, board, made, confirming, confirmed)
        return SweepResult(plan, [*made, *confirming], board, confirmed, work.num_left(), controller.parent, folder)


def sweep_folder(plan: Plan) -> Path:
    """Where a sweep keeps its plan and the folders of its runs."""
    return output_root() / "sweeps" / plan.id


def _taken_up(folder: Path, plan: Plan, sweep: SweepConfig) -> tuple[Plan, list[str]]:
    """The plan that is carried out, the one that is there already where there is one; and what code changed since.

    Of a sweep that another machine began, what is there is the code that it was begun with.
    """
    there = read_plan(folder)
    if there is not None:
        check_data(there.data, plan)
        there = replace(there, workers=plan.workers, uri=plan.uri)  # an output root may have been moved since
    elif (begun := agreement(plan, sweep)) is not None:
        there = replace(plan, code=begun.code)
    return (there, changed_code(there.code, plan.code)) if there is not None else (plan, [])


def _with_code(plan: Plan, changed: Sequence[str], code: Mapping[str, str], work: Work, sweep: SweepConfig) -> Plan:
    """The plan, marked as of mixed code where what is left will be run by other code, `code`, than what there is.

    Where nothing is left it stays the plan of the code that made it.

    Raises:
        ConfigError: mixing was not asked for.
    """
    is_left = work.num_left() or any(run.state in ("new", "interrupted") for run in work.to_confirm())
    if not changed or not is_left:
        return plan
    if not sweep.allow_code_change:
        raise ConfigError(told_changes(changed))
    return replace(plan, code=dict(code), is_mixed=True)


def _marked(plan: Plan, folder: Path, journal: Journal) -> Plan:
    """The plan, marked as of mixed code by what another machine has done."""
    plan = replace(plan, is_mixed=True)
    write_plan(folder, plan)
    if journal.is_open:
        journal.tags(MIXED_TAG)
    return plan


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


def _begin(
    journal: Journal,
    plan: Plan,
    folder: Path,
    shared_key: Callable[[str], str],
    deleted: Container[str] = frozenset(),
) -> str:
    """Open the sweep's own run, or go on with it; its key.

    Where another machine has the sweep's own run already, that one is left to it, and `journal` is not begun. Where it
    was deleted in MLflow the sweep gets a new one: runs would be nested under what nobody sees.

    Args:
        shared_key: the key that all machines agree on, given one's own.
        deleted: keys of runs that were deleted in MLflow.
    """
    own = word_in(folder / PARENT) or journal.key
    if own in deleted:
        print(f"note: the sweep's own run {own} was deleted in MLflow; it gets a new one, {journal.key}", flush=True)
        own = journal.key
    (folder / PARENT).write_text(
        own, encoding="utf-8"
    )  # before it is told: what is agreed on has to be somebody's after a kill, too
    agreed = shared_key(own)
    if agreed != own:
        (folder / PARENT_ELSEWHERE).write_text(agreed, encoding="utf-8")
        print(f"the sweep's own run {agreed} is another machine's; this one adds to it", flush=True)
        return agreed
    (folder / PARENT_ELSEWHERE).unlink(missing_ok=True)  # it was another machine's, and was deleted
    there = output_root() / "runs" / own
    if _has_begun(there):
        try:
            journal.resume(there, reopen=True)
        except BlockingIOError:
            raise ConfigError(
                f"another process delivers the run {own} of this sweep; expected it to end first"
            ) from None
    else:
        shutil.rmtree(there, ignore_errors=True)  # where it was killed as it began
        journal.begin(name=redact(plan.name), tags={"hcr.sweep": own, "hcr.sweep_id": plan.id}, key=own)
    journal.params(
        {
            "sweep.axes": ", ".join(plan.axes),
            "sweep.sampler": str(plan.sweep["sampler"]),
            "sweep.pruner": str(plan.sweep["pruner"]),
            "sweep.design": str(plan.sweep["design"]),
            "sweep.threads": str(plan.threads),
            "monitor": plan.monitor,
            "seed": str(plan.seed),
        }
    )
    journal.tags({"hcr.workers": str(plan.workers)} | (MIXED_TAG if plan.is_mixed else {}))
    told = without_secrets(json.loads((folder / PLAN).read_text(encoding="utf-8")))
    journal.artifact(PLAN).write_text(json.dumps(told, indent=1), encoding="utf-8")
    journal.artifact_written(PLAN)
    return journal.key


def _has_begun(run: Path) -> bool:
    """Whether a run has its first event, whole."""
    try:
        return b"\n" in (run / JOURNAL).read_bytes()
    except FileNotFoundError:
        return False


def _tell_progress(journal: Journal, controller: Controller, run: Run | None = None) -> None:
    """How far the sweep is, its confirmation apart; `run` is what has just ended."""
    if not journal.is_open:
        return
    states = [other.state for other in controller.runs.values() if other.planned.phase != "confirm"]
    done = {name: states.count(name) for name in ("finished", "reused", "pruned", "failed")}
    values = {
        "sweep/finished": float(done["finished"] + done["reused"]),
        "sweep/pruned": float(done["pruned"]),
        "sweep/failed": float(done["failed"]),
    }
    journal.metrics(values, step=sum(done.values()))


def _tell_end(
    journal: Journal,
    work: Work,
    delivery: Uploader,
    board: Leaderboard | None,
    made: Sequence[Run],
    confirming: Sequence[Run],
    confirmed: Confirmation | None,
) -> None:
    """What the sweep came to, and its status: FINISHED only where nothing is missing."""
    if board is not None:
        record_board(journal, work.plan, board, [*made, *confirming], work.importances())
        tell_best(journal, board, made, delivery)
        lines = confirmed.lines() if confirmed is not None else []
        describe(journal, work.plan, board, [*made, *confirming], lines)
    if confirmed is not None:
        record_confirmation(journal, work.plan, confirmed.board, confirmed.lines())
    failed = sum(run.state == "failed" for run in work.runs)
    left = work.num_left()
    if failed:
        journal.tags({"hcr.error": f"{failed} of {len(work.runs)} runs failed"})
        journal.end("FAILED")
    elif left:
        journal.tags({"hcr.error": f"not all of it was run: {counted(left, 'run')} left"})
        journal.end("KILLED")
