"""`hcr train -m`: from what the gate accepted to what is printed at the end."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from shutil import get_terminal_size
from typing import Any

from omegaconf import DictConfig

from hcr import stopping
from hcr.config import ConfigError, HcrError, RunConfig
from hcr.config.compose import Checked
from hcr.config.points import AskedRun
from hcr.config.secrets import override_without_secrets
from hcr.config.sweep import SweepConfig
from hcr.config.tracking import how_to_see, output_root, tracking_uri
from hcr.console import say
from hcr.evaluation.leaderboard import TABLE_WIDTH, counted, format_table
from hcr.importing import refusal_of
from hcr.output import leaving_without_output, of_disk
from hcr.sweep.agreement import Agreement, agreement, has_begun
from hcr.sweep.identity import Fingerprints, fold
from hcr.sweep.launched import LaunchedPool, run_launched
from hcr.sweep.plan import Plan, make_plan, read_plan
from hcr.sweep.report import MOST_SHOWN
from hcr.sweep.resources import workers_and_threads
from hcr.sweep.running import SweepResult, run_sweep, sweep_folder
from hcr.sweep.work import parent_key
from hcr.tracking.events import last_event
from hcr.tracking.status import earlier_uris, is_delivered


class SweepJob:
    """What Hydra calls: for a multirun its `sweep`, by way of our sweeper.

    Args:
        checked: what the gate accepted.
        overrides: the command line's.

    Attributes:
        error: what went wrong, kept as Hydra would wrap it.
        exit_code: 1 where a run failed.
    """

    def __init__(self, checked: Checked, overrides: Sequence[str]) -> None:
        assert checked.space is not None
        self.launched = run_launched  # what the workers of a launcher call
        self._checked, self._overrides, self._space = checked, list(overrides), checked.space
        self._fingerprints = Fingerprints()
        self._runs: list[AskedRun] = []  # what is planned: each of the runs asked for once
        self._launcher: Any = None
        self._batch: int | None = None
        self.error: HcrError | None = None
        self.exit_code = 0

    def __call__(self, cfg: DictConfig) -> None:
        """Hydra's own way to run one job, which a sweep of ours does not go."""
        raise AssertionError("a sweep goes through hcr's own sweeper")

    def sweep(self, launcher: Any, max_batch_size: int | None) -> None:
        """Run the sweep, or print what it would be.

        Raises:
            SystemExit: standard output cannot be written any more.
        """
        self._launcher, self._batch = launcher, max_batch_size
        try:
            with leaving_without_output():
                self.exit_code = self._sweep()
        except HcrError as error:
            self.error = error
        except ImportError as error:
            self.error = refusal_of(error)
        except OSError as error:
            self.error = of_disk(error, output_root(), f"make room; {self._again} resumes the sweep")

    def plan(self) -> Plan:
        """The plan, frozen now; runs that have the same numbers are in it once.

        Raises:
            ConfigError: bounds that the plan exceeds, or that do not fit the launcher.
            DataError: the data cannot be read.
        """
        sweep = self._space.sweep
        if self._checked.configs[0].new_run:
            raise ConfigError(
                "new_run: is for a single run; expected false, and resume=never for a sweep to begin anew"
            )
        own = max(cfg.training.num_threads for cfg in self._checked.configs) if self._space.has_own_threads else None
        self._runs, num_same = fold(self._checked.runs, self._fingerprints, around=sweep.design == "around")
        self._fingerprints.read(self._checked.configs)  # of a search, whose runs are not known yet
        if num_same:
            print(f"note: {counted(num_same, 'combination')} left out, with the same numbers as another", flush=True)
        num_runs = len(self._runs) or sweep.n_trials or 1
        if self._launcher is not None:
            for name in ("workers", "trial_timeout"):
                if getattr(sweep, name) is not None:
                    raise ConfigError(
                        f"sweep.{name}: expected null with a launcher, which has a setting of its own for it"
                    )
            workers, threads = self._batch or num_runs, own or 1
        else:
            workers, threads = workers_and_threads(sweep.workers, num_runs=num_runs, own_threads=own)
        plan = self._planned(workers, threads)
        there: Plan | Agreement | None = read_plan(sweep_folder(plan))
        if there is None and not self._checked.configs[0].check_only:
            there = agreement(plan, sweep)
        if there is None or there.threads == threads:
            return plan
        # Begun with other threads, on another machine or by other workers: the numbers depend on them, so they stay.
        if self._launcher is None:
            workers, _ = workers_and_threads(sweep.workers, num_runs=num_runs, own_threads=there.threads)
        return self._planned(workers, there.threads)

    def _name(self) -> str:
        """What makes the sweep the one it is: the words that say what varies, and how it is searched."""
        keys = {"sweep", "sweep.sampler", *(axis.key for axis in self._space.axes)}
        words = [word for word in self._overrides if word.partition("=")[0].lstrip("+~") in keys]
        return " ".join(map(override_without_secrets, words)) or "multirun"

    @property
    def _again(self) -> str:
        """The command that goes on."""
        is_anew = self._checked.configs[0].resume == "never"
        return "the same command" + (" without resume=never" if is_anew else "")

    def _what_is_kept(self, plan: Plan) -> str:
        """The line for a stop signal: what is kept, and the command that resumes it."""
        folder = sweep_folder(plan)
        if read_plan(folder) is None:
            return "interrupted; no run of the sweep had begun"
        key = parent_key(folder)
        run = output_root() / "runs" / str(key)
        if key is not None and last_event(run).get("status") == "FINISHED":
            rest = "" if is_delivered(run) else "; `hcr sync` uploads the rest of it"
            return f"interrupted; sweep {plan.id} has finished and is in {folder}{rest}"
        rest = "" if is_delivered(run) else ", and `hcr sync` uploads what it has so far"
        return f"interrupted; {self._again} resumes sweep {plan.id} in {folder}{rest}"

    def _planned(self, workers: int, threads: int) -> Plan:
        base = self._checked.configs[0]

        def plan_at(uri: str) -> Plan:
            return make_plan(
                self._runs,
                self._space,
                command=self._overrides,
                name=self._name(),
                uri=uri,
                base=base,
                workers=workers,
                threads=threads,
                data=self._fingerprints.data,
            )

        plan = plan_at(tracking_uri(base.tracking.uri))
        if not sweep_folder(plan).exists():
            # The store is part of a sweep's id: in an output root that was moved, a sweep has the id of its old place.
            before = map(plan_at, earlier_uris(output_root(), plan.uri))
            plan = next((replace(plan, id=old.id) for old in before if sweep_folder(old).exists()), plan)
        return replace(plan, id=_id_of(plan, self._space.sweep, base))

    def _sweep(self) -> int:
        plan = self.plan()
        base = self._checked.configs[0]
        configs = [run.cfg for run in self._runs] or self._checked.configs
        if base.check_only:
            from hcr.sweep.preview import print_plan

            with stopping.recording():  # it has processes to end and a folder to remove
                print_plan(plan, self._space.sweep, configs, self._fingerprints)
            return 0
        try:
            launch = None if self._launcher is None else partial(LaunchedPool, self._launcher.launch)
            with stopping.recording():
                result = run_sweep(
                    plan, self._space.sweep, base.tracking, configs, self._fingerprints, launch, again=self._again
                )
                stopping.check()
        except BaseException:
            if not stopping.is_requested():
                raise
            raise KeyboardInterrupt(self._what_is_kept(plan)) from None
        finally:
            stopping.set_line(self._what_is_kept(plan))
        print_result(result, self._again)
        return 1 if result.num_failed else 0


def _id_of(plan: Plan, sweep: SweepConfig, base: RunConfig) -> str:
    """The sweep's id: a further one where it is to begin anew, else that of the last time it did, on any machine."""
    ids = [plan.id]
    while True:
        last = replace(plan, id=ids[-1])
        if not sweep_folder(last).exists() and (base.check_only or not has_begun(last, sweep)):
            break
        ids.append(f"{plan.id}-{len(ids) + 1}")
    return ids[-1] if base.resume == "never" or len(ids) == 1 else ids[-2]


def print_result(result: SweepResult, again: str) -> None:
    """The leaderboard, what can be said of it, and where everything is; `again` is the command that goes on."""
    print()
    mixed = "Mixed code: " if result.plan.is_mixed else ""
    if result.board is not None:
        direction = "higher" if result.board.higher_is_better else "lower"
        print(f"{result.board.monitor}, {direction} is better, by point")
        print(format_table(result.board, MOST_SHOWN, width=get_terminal_size((TABLE_WIDTH, 24)).columns))
        print()
        for line in result.board.verdict:
            say(mixed + line)
    for line in result.confirmed.lines() if result.confirmed is not None else []:
        say(mixed + line)
    if result.num_failed:
        say(
            f"{result.num_failed} of {len(result.runs)} runs failed; sweep.retry_failed=true tries them again,"
            " sweep.allow_incomplete=true compares what there is"
        )
    if result.num_left:
        are = "is" if result.num_left == 1 else "are"
        say(f"{counted(result.num_left, 'run')} {are} left; {again} goes on")
    say(f"sweep {result.plan.id}, under the parent run {result.key}, is in {result.folder}")
    say(how_to_see(result.plan.uri))
