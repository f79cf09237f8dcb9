"""One sweep, from a frozen plan to its leaderboard: `run_sweep` is its story."""

import contextlib
import fcntl
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from hcr.config import ConfigError, HcrError, RunConfig
from hcr.config.errors import one_line
from hcr.config.gate import to_dict
from hcr.config.points import Space
from hcr.config.secrets import redact, without_secrets
from hcr.config.sweep import SweepConfig
from hcr.config.tracking import TrackingConfig, output_root, sqlite_uri
from hcr.evaluation.leaderboard import Leaderboard
from hcr.sweep.confirm import Confirmation, confirmation, confirming_runs
from hcr.sweep.controller import Controller, Grid, Run, known_state
from hcr.sweep.delivery import Delivery
from hcr.sweep.launched import LaunchedPool
from hcr.sweep.outcomes import Fingerprints, KnownRuns, Outcome, known_runs
from hcr.sweep.plan import PLAN, Plan, PlannedRun, changed_code, read_plan, with_threads, write_plan
from hcr.sweep.pool import Pool
from hcr.sweep.report import board_of, record_board, record_confirmation
from hcr.sweep.screen import SweepScreen
from hcr.sweep.search import Search, Trial
from hcr.sweep.trial import RESULT, TASK
from hcr.tracking.journal import JOURNAL, Journal, add_metrics, lock_run, read_events, this_host
from hcr.tracking.session import recorded
from hcr.tracking.status import first_event, read_position

PARENT, LOCK, SEARCH = "parent.txt", "lock", "search.db"


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
    make_pool: Callable[[], LaunchedPool] | None = None,
) -> SweepResult:
    """Make the runs that are missing, under one parent run, and tell what they came to.

    Args:
        plan: frozen; where one of the same id is there, that one is gone on with.
        sweep: the bounds, as this command gives them.
        tracking: the store.
        samples: configs whose models stand for those that a search will build.
        make_pool: what runs are launched with, where it is not processes of our own.

    Raises:
        ConfigError: the code has changed, a model cannot be built, or another process runs this sweep.
        KeyboardInterrupt: with every run journalled; the same command goes on.
    """
    folder = sweep_folder(plan)
    with _alone(folder), contextlib.ExitStack() as stack:
        plan, changed = _taken_up(folder, plan)
        screen = SweepScreen(
            total=sweep.n_trials or len(plan.runs), monitor=plan.monitor, higher_is_better=plan.higher_is_better
        )
        delivery = Delivery(tracking.timeout_s)
        controller = Controller(
            plan,
            folder,
            sweep=sweep,
            make_pool=make_pool or partial(Pool, folder / "nursery.txt"),
            delivery=delivery,
            screen=screen,
        )
        stack.callback(controller.close)
        work = Work(plan, folder, sweep, controller)
        work.take_stock()
        if changed and work.num_left() and not sweep.allow_code_change:
            raise ConfigError(_told_changes(changed))
        plan = replace(plan, is_mixed=plan.is_mixed or bool(changed and work.num_left()))
        check_models(controller, folder, plan, [*work.new_configs(), *(samples if plan.is_search else [])])
        write_plan(folder, plan)
        print(work.counts(), flush=True)
        with recorded(tracking) as journal:
            controller.parent = _begin(journal, plan, folder)
            with delivery, screen:
                work.show(screen)
                work.deliver_what_is_left(delivery)
                controller.make(work.source, work.waiting(), partial(_tell_progress, journal, controller))
                runs, confirmed = work.runs, None
                board = board_of(plan, work.runs, allow_incomplete=sweep.allow_incomplete)
                if sweep.confirm is not None and board is not None and not work.num_left():
                    confirming = work.confirming(sweep.confirm)
                    screen.total = len(runs) + len(confirming)
                    waiting = [run for run in confirming if run.state in ("new", "interrupted")]
                    controller.make(Grid(iter(())), waiting, partial(_tell_progress, journal, controller))
                    confirmed = confirmation(plan, controller, folder, confirming)
                    runs = [*runs, *confirming]
                _tell_means(controller, runs, board, plan, delivery)
                for run in runs:  # scored on test after it had ended
                    if confirmed is not None and run.outcome is not None and run.planned.phase == "confirm":
                        delivery.finish(output_root() / "runs" / run.outcome.key)
                delivery.drain()
            if board is not None:
                record_board(journal, plan, board, runs, work.importances())
                _tell_best(journal, board, runs)
            if confirmed is not None:
                record_confirmation(journal, plan, confirmed.board, confirmed.lines())
            _end(journal, work)
        return SweepResult(plan, runs, board, confirmed, work.num_left(), journal.key, folder)


def sweep_folder(plan: Plan) -> Path:
    """Where a sweep keeps its plan and the folders of its runs."""
    return output_root() / "sweeps" / plan.id


class Work:
    """The runs of a sweep, known and to come."""

    def __init__(self, plan: Plan, folder: Path, sweep: SweepConfig, controller: Controller) -> None:
        self._plan, self._folder, self._sweep, self._controller = plan, folder, sweep, controller
        parent = _parent_key(folder)
        self.is_fresh = parent is None
        self._known: KnownRuns = known_runs(output_root(), uri=plan.uri, experiment=plan.experiment, parent=parent)
        self._fingerprints = Fingerprints()
        self.source: Grid | _SearchSource = Grid(iter(()))

    @property
    def runs(self) -> list[Run]:
        """Every run that is known of, in order."""
        return [self._controller.runs[number] for number in sorted(self._controller.runs)]

    def take_stock(self) -> None:
        """Where every run stands: finished, interrupted, failed, or new.

        Raises:
            DataError: the data cannot be read.
        """
        for planned in self._plan.runs:
            self._controller.runs[planned.number] = self.state_of(planned)
        if self._plan.is_search:
            self.source = _SearchSource(self, self._plan, self._folder, self._sweep)
            for run in self.source.known_runs():
                self._controller.runs[run.planned.number] = run
        else:
            self.source = Grid(iter([run for run in self.runs if run.state == "new"]))

    def state_of(self, planned: PlannedRun) -> Run:
        """Where a planned run stands."""
        return known_state(
            planned,
            self._folder,
            self._plan,
            self._known,
            self._fingerprints,
            retry_failed=self._sweep.retry_failed,
        )

    def waiting(self) -> list[Run]:
        """What was interrupted goes first."""
        return [run for run in self.runs if run.state == "interrupted"]

    def new_configs(self) -> list[RunConfig]:
        """The configs of runs that have never begun."""
        return [run.planned.cfg for run in self.runs if run.state == "new"]

    def num_left(self) -> int:
        """Runs that are still to be made."""
        waiting = sum(run.state in ("new", "interrupted") for run in self.runs)
        if self._plan.is_search and self._sweep.n_trials is not None:
            waiting += max(0, self._sweep.n_trials - len([run for run in self.runs if run.planned.phase == "search"]))
        return waiting

    def counts(self) -> str:
        """`9 reused, 1 resumed, 2 to run`, and what failed before."""
        states = [run.state for run in self.runs]
        resumed = states.count("interrupted")
        told = f"{states.count('reused')} reused, {resumed} resumed, {self.num_left() - resumed} to run"
        failed = states.count("failed")
        return told + (f", {failed} failed before (sweep.retry_failed=true tries them again)" if failed else "")

    def show(self, screen: SweepScreen) -> None:
        """What is known already."""
        for run in self.runs:
            if run.outcome is not None:
                screen.reused(run.planned.number, run.planned.label, run.outcome.value)
            elif run.state in ("pruned", "failed"):
                screen.known(run.planned.number, run.state)

    def deliver_what_is_left(self, delivery: Delivery) -> None:
        """Runs that ended before, and that the store has not had as a whole."""
        for folder, last in self._known.own.values():
            if last.get("event") == "end" and not _is_delivered(folder):
                delivery.finish(folder)

    def importances(self) -> dict[str, float] | None:
        """What a search says of its axes; None for a grid."""
        return self.source.search.importances() if isinstance(self.source, _SearchSource) else None

    def confirming(self, num_seeds: int) -> list[Run]:
        """The runs that confirm the best points; where each of them stands. None while runs are missing."""
        board = board_of(self._plan, self.runs, allow_incomplete=self._sweep.allow_incomplete)
        if board is None or self.num_left():
            return []
        chosen = [run for run in self.runs if run.planned.phase != "confirm"]
        return [self.state_of(run) for run in confirming_runs(self._plan, board, chosen, num_seeds)]


class _SearchSource:
    """The runs that a search asks for."""

    def __init__(self, work: Work, plan: Plan, folder: Path, sweep: SweepConfig) -> None:
        self._work, self._plan, self._folder = work, plan, folder
        self._space = Space.from_json(plan.space)
        self._storage = sweep.storage or sqlite_uri(folder / SEARCH)
        self._sweep = sweep
        self.search = Search(
            self._storage,
            plan.id,
            self._space.axes,
            sweep,
            higher_is_better=plan.higher_is_better,
            seed=plan.seed,
            base=plan.base,
        )
        if self.search.note:
            print(f"note: {self.search.note}", flush=True)

    def known_runs(self) -> list[Run]:
        """The trials so far: those of this machine by their folders, others by what the search was told."""
        runs = []
        for trial in self.search.trials():
            planned = self._planned(trial)
            run = self._work.state_of(planned)
            if trial.host not in ("", this_host()):
                run = Run(planned, "finished", _told_outcome(trial)) if trial.state == "finished" else Run(planned)
                run.state = {"finished": "finished", "pruned": "pruned", "failed": "failed"}.get(
                    trial.state, "elsewhere"
                )  # type: ignore[assignment]
            elif run.state == "new":  # asked for, and killed before it had begun
                run.state = "interrupted"
            elif trial.state == "running":  # ended, and its controller was killed before it could say so
                self.ended(run)
            runs.append(run)
        return runs

    def next(self) -> Run | None:
        """The next trial that the gate takes."""
        while True:
            trial = self.search.ask(this_host())
            if trial is None:
                return None
            try:
                return self._work.state_of(self._planned(trial))
            except ConfigError as error:  # a combination at whose edges nothing was wrong
                self.search.fail(trial.number)
                print(f"hcr: trial {trial.number + 1}: {one_line(error)}", flush=True)

    def ended(self, run: Run) -> None:
        """Tell the search what came of a trial."""
        if run.planned.phase != "search":
            return
        if run.outcome is not None:
            self.search.finish(run.planned.number, run.outcome.value)
        elif run.state == "pruned":
            self.search.prune(run.planned.number)
        elif run.state == "failed":
            self.search.fail(run.planned.number)

    def _planned(self, trial: Trial) -> PlannedRun:
        asked = self._space.run(trial.values)
        config = to_dict(asked.cfg)
        return PlannedRun(
            number=trial.number,
            overrides=asked.overrides,
            values=trial.values,
            point=trial.number,
            seed=asked.cfg.seed,
            config=config if self._space.has_own_threads else with_threads(config, self._plan.threads),
            phase="search",
            search={
                "storage": self._storage,
                "name": self._plan.id,
                "number": trial.number,
                "sweep": asdict(self._sweep),
                "higher_is_better": self._plan.higher_is_better,
            },
        )


def _taken_up(folder: Path, plan: Plan) -> tuple[Plan, list[str]]:
    """The plan that is carried out, the one that is there already where there is one; and what code changed since."""
    there = read_plan(folder)
    if there is None:
        return plan, []
    return replace(there, code=plan.code, workers=plan.workers), changed_code(there, plan.code)


def _told_changes(changed: Sequence[str]) -> str:
    shown = ", ".join(changed[:10]) + (f" and {len(changed) - 10} more" if len(changed) > 10 else "")
    return (
        f"sweep: it began with other code than now: {shown} changed since, and results would be mixed;"
        " sweep.allow_code_change=true goes on and says so, resume=never begins anew"
    )


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


def _parent_key(folder: Path) -> str | None:
    """The key of the sweep's own run, where it has begun."""
    try:
        key = (folder / PARENT).read_text().strip()
    except OSError:
        return None
    return key if key and (output_root() / "runs" / key / JOURNAL).exists() else None


def _begin(journal: Journal, plan: Plan, folder: Path) -> str:
    """Open the sweep's own run, or go on with it; its key."""
    key = _parent_key(folder)
    if key is not None:
        try:
            journal.resume(output_root() / "runs" / key, reopen=True)
        except BlockingIOError:
            raise ConfigError(
                f"another process delivers the run {key} of this sweep; expected it to end first"
            ) from None
    else:
        (folder / PARENT).write_text(journal.key)
        name = redact(plan.name)
        journal.begin(name=name, tags={"hcr.sweep": journal.key, "hcr.sweep_id": plan.id})
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
    journal.tags({"hcr.workers": str(plan.workers)} | ({"hcr.mixed_code": "true"} if plan.is_mixed else {}))
    told = without_secrets(json.loads((folder / PLAN).read_text()))
    journal.artifact(PLAN).write_text(json.dumps(told, indent=1))
    journal.artifact_written(PLAN)
    return journal.key


def _tell_progress(journal: Journal, controller: Controller, run: Run) -> None:
    states = [other.state for other in controller.runs.values()]
    done = {name: states.count(name) for name in ("finished", "reused", "pruned", "failed")}
    values = {
        "sweep/finished": float(done["finished"] + done["reused"]),
        "sweep/pruned": float(done["pruned"]),
        "sweep/failed": float(done["failed"]),
    }
    journal.metrics(values, step=sum(done.values()))


def parts_of(cfg: RunConfig) -> str:
    """What a model and its optimizer are built from: equal texts, equal models."""
    training = replace(cfg.training, threads=1)
    parts = (cfg.model, cfg.optimizer, cfg.schedule, training, cfg.dataset.image_shape, cfg.dataset.num_classes)
    return repr(parts)


def check_models(controller: Controller, folder: Path, plan: Plan, configs: Sequence[RunConfig]) -> dict[str, int]:
    """Build the model and the optimizer of every config once, in a process of its own; parameters by `parts_of`.

    Raises:
        ConfigError: one that cannot be built; names its combination.
    """
    different = {parts_of(cfg): cfg for cfg in configs}
    if not different:
        return {}
    task = folder / "check"
    task.mkdir(exist_ok=True)
    (task / RESULT).unlink(missing_ok=True)
    values = [to_dict(cfg) for cfg in different.values()]
    (task / TASK).write_text(json.dumps({"task": "check", "num_train": 1000, "configs": values}))
    result = controller.task(task)
    if result is None or result["status"] == "failed":
        raise HcrError(f"models cannot be built here; see {task / 'output.txt'}: {(result or {}).get('error')}")
    if result["status"] == "refused":
        bad = list(different)[result["index"]]
        overrides = next((run.overrides for run in plan.runs if parts_of(run.cfg) == bad), ())
        raise ConfigError(f"{result['error']} (in the combination {' '.join(overrides)})")
    return dict(zip(different, result["num_params"], strict=True))


def _tell_means(
    controller: Controller, runs: Sequence[Run], board: Leaderboard | None, plan: Plan, delivery: Delivery
) -> None:
    """Each run of the sweep hears what its point came to, so that sorting MLflow's table gives the leaderboard."""
    if board is None:
        return
    for row in board.rows:
        mates = [run for run in runs if run.planned.point_label == row.label and run.outcome is not None]
        outcomes = [run.outcome for run in mates if run.outcome is not None]
        if not outcomes:
            continue
        means = {
            "sweep/mean_val_accuracy": sum(outcome.val_accuracy for outcome in outcomes) / len(outcomes),
            "sweep/mean_val_loss": sum(outcome.val_loss for outcome in outcomes) / len(outcomes),
        }
        for outcome in outcomes:
            folder = output_root() / "runs" / outcome.key
            if first_event(folder).get("parent") != controller.parent or _has_told(folder, means):
                continue
            with contextlib.suppress(OSError, HcrError), lock_run(folder):
                add_metrics(folder, means, step=0)
            delivery.finish(folder)


def _has_told(folder: Path, values: dict[str, float]) -> bool:
    last: dict[str, float] = {}
    for event, _ in read_events(folder):
        if event["event"] == "metrics":
            last |= event["values"]
    return all(last.get(name) == value for name, value in values.items())


def _tell_best(journal: Journal, board: Leaderboard, runs: Sequence[Run]) -> None:
    """Which child is the best of the best point, by its key and by its id in MLflow."""
    mates = [run for run in runs if run.planned.point_label == board.rows[0].label and run.outcome is not None]
    pick = max if board.higher_is_better else min
    best = pick(mates, key=lambda run: run.outcome.value if run.outcome is not None else 0.0)
    assert best.outcome is not None
    run_id = read_position(output_root() / "runs" / best.outcome.key).get("run_id")
    tags = {"hcr.best_key": best.outcome.key, "hcr.best_point": board.rows[0].label}
    journal.tags(tags | ({"hcr.best_run_id": str(run_id)} if run_id else {}))


def _end(journal: Journal, work: Work) -> None:
    """FINISHED only where nothing is missing."""
    failed = sum(run.state == "failed" for run in work.runs)
    left = work.num_left()
    if failed:
        journal.tags({"hcr.error": f"{failed} of {len(work.runs)} runs failed"})
        journal.end("FAILED")
    elif left:
        journal.tags({"hcr.error": f"sweep.max_time is over, {left} runs are left"})
        journal.end("KILLED")


def _is_delivered(folder: Path) -> bool:
    position = read_position(folder)
    return bool(position.get("ended")) and position.get("offset") == (folder / JOURNAL).stat().st_size


def _told_outcome(trial: Trial) -> Outcome:
    """What is known of a run on another machine."""
    value = trial.value if trial.value is not None else float("nan")
    return Outcome(key="", value=value, val_accuracy=value, val_loss=value, epochs=0, train_s=0.0, num_params=0)
