"""`hcr train -m`: plan a sweep, then run it or print the plan."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from shutil import get_terminal_size

from hcr import stopping
from hcr.config import ConfigError
from hcr.config.secrets import override_without_secrets
from hcr.config.tracking import output_root, tracking_uri
from hcr.console import say
from hcr.evaluation.labels import counted
from hcr.evaluation.table import TABLE_WIDTH, format_table
from hcr.evaluation.verdict import verdict
from hcr.gate import RunConfig
from hcr.gate.compose import Checked
from hcr.gate.points import Space
from hcr.gate.resolve import check_devices
from hcr.gpus import visible_gpus
from hcr.importing import refusal_of
from hcr.output import leaving_without_output, of_disk
from hcr.sweep.identity import Fingerprints, without_duplicates
from hcr.sweep.plan import Plan, make_plan, read_plan
from hcr.sweep.report import MOST_SHOWN
from hcr.sweep.resources import workers_and_threads
from hcr.sweep.sweep import SweepResult, run_sweep, sweep_folder
from hcr.tracking.events import last_event
from hcr.tracking.seeing import how_to_see
from hcr.tracking.status import earlier_uris, is_delivered


def train_many(checked: Checked, overrides: Sequence[str]) -> int:
    """Run a sweep, or print its plan (`check_only`); returns 1 if a run failed, else 0.

    Args:
        checked: the composed and checked configs.
        overrides: from the command line.

    Raises:
        HcrError: one line that says what to change.
        SystemExit: standard output cannot be written any more.
    """
    again = "the same command" + (" without resume=never" if checked.configs[0].resume == "never" else "")
    try:
        with leaving_without_output():
            return _train_many(checked, list(overrides), again)
    except ImportError as error:
        raise refusal_of(error) from error
    except OSError as error:
        raise of_disk(error, output_root(), f"make room; {again} resumes the sweep") from error


def _train_many(checked: Checked, overrides: list[str], again: str) -> int:
    space, base = checked.space, checked.configs[0]
    assert space is not None
    fingerprints = Fingerprints()
    plan, configs = plan_of(checked, overrides, fingerprints)
    if base.check_only:
        from hcr.sweep.preview import print_plan

        with stopping.recording():  # a stop signal must end processes and remove a folder
            print_plan(plan, space.sweep, configs, fingerprints)
        return 0
    try:
        with stopping.recording():
            result = run_sweep(plan, space.sweep, space.launcher, base.tracking, configs, fingerprints, again=again)
            stopping.check()
    except BaseException:
        if not stopping.is_requested():
            raise
        raise KeyboardInterrupt(_what_is_kept(plan, again)) from None
    finally:
        stopping.set_line(_what_is_kept(plan, again))
    print_result(result, again)
    return 1 if result.num_failed else 0


def plan_of(checked: Checked, overrides: Sequence[str], fingerprints: Fingerprints) -> tuple[Plan, list[RunConfig]]:
    """The frozen plan, without duplicate runs, and sample configs whose models are built as a check.

    Raises:
        ConfigError: the plan exceeds a bound.
        DataError: the data cannot be read.
    """
    space, base = checked.space, checked.configs[0]
    assert space is not None
    if base.new_run:
        raise ConfigError("new_run: expected false for a sweep, got true; resume=never starts a sweep over")
    runs, num_same = without_duplicates(checked.runs, fingerprints, around=space.sweep.design == "around")
    fingerprints.read(checked.configs)  # for a search, whose runs are not known yet
    if num_same:
        print(f"note: {counted(num_same, 'combination')} skipped as duplicates", flush=True)
    devices = {cfg.training.device for cfg in checked.configs}
    check_devices(devices, space.launcher)
    num_gpus = len(visible_gpus()) if "gpu" in devices else 0
    own = max(cfg.training.num_threads for cfg in checked.configs) if space.has_own_threads else None

    def planned(threads: int | None) -> Plan:
        """The plan with `threads` threads for each run; None: as many as fit."""
        num_runs = len(runs) or space.sweep.n_trials or 1
        workers, chosen = workers_and_threads(space.launcher, num_runs=num_runs, own_threads=threads, num_gpus=num_gpus)
        plan = partial(
            make_plan,
            runs,
            space,
            command=overrides,
            name=_name(space, overrides),
            base=base,
            workers=workers,
            threads=chosen,
            data=fingerprints.data,
        )
        found = plan(uri=tracking_uri(base.tracking.uri))
        if not sweep_folder(found).exists():
            # The store is part of a sweep's id. In an output root that was moved, a sweep keeps the id of its old path.
            before = (plan(uri=uri) for uri in earlier_uris(output_root(), found.uri))
            found = next((replace(found, id=old.id) for old in before if sweep_folder(old).exists()), found)
        return replace(found, id=_id_of(found, is_anew=base.resume == "never"))

    plan = planned(own)
    there = read_plan(sweep_folder(plan))
    if there is not None and there.threads != plan.threads:  # results depend on them: keep those of the first command
        plan = planned(there.threads)
    return plan, [run.cfg for run in runs] or checked.configs


def _id_of(plan: Plan, *, is_anew: bool) -> str:
    """The sweep's id: a new one if `is_anew`, else the newest that exists."""
    ids = [plan.id]
    while sweep_folder(replace(plan, id=ids[-1])).exists():
        ids.append(f"{plan.id}-{len(ids) + 1}")
    return ids[-1] if is_anew or len(ids) == 1 else ids[-2]


def _name(space: Space, overrides: Sequence[str]) -> str:
    """The sweep's name in MLflow: the overrides that set its axes and its sampler."""
    keys = {"sweep", "sweep.sampler", *(axis.key for axis in space.axes)}
    words = [word for word in overrides if word.partition("=")[0].lstrip("+~") in keys]
    return " ".join(map(override_without_secrets, words)) or "multirun"


def _what_is_kept(plan: Plan, again: str) -> str:
    """The line that a stop signal prints: what is kept, and the command that resumes it."""
    folder = sweep_folder(plan)
    there = read_plan(folder)
    if there is None:
        return "interrupted; no run of the sweep had started"
    run = output_root() / "runs" / "".join(there.parents[-1:])
    if last_event(run).get("status") == "FINISHED":
        rest = "" if is_delivered(run) else "; `hcr sync` uploads the rest of it"
        return f"interrupted; sweep {plan.id} has finished and is in {folder}{rest}"
    rest = "" if is_delivered(run) else ", and `hcr sync` uploads what it has so far"
    return f"interrupted; {again} resumes sweep {plan.id} in {folder}{rest}"


def print_result(result: SweepResult, again: str) -> None:
    """Print the leaderboard, the verdict, and where the results are.

    Args:
        again: the command that resumes the sweep.
    """
    print()
    mixed = "Mixed code: " if result.plan.is_mixed else ""
    if result.board is not None:
        direction = "higher" if result.board.higher_is_better else "lower"
        print(f"{result.board.monitor}, {direction} is better, by point")
        print(format_table(result.board, MOST_SHOWN, width=get_terminal_size((TABLE_WIDTH, 24)).columns))
        print()
        for line in verdict(result.board):
            say(mixed + line)
    for line in result.confirmed.lines() if result.confirmed is not None else []:
        say(mixed + line)
    if result.num_failed:
        say(
            f"{result.num_failed} of {len(result.runs)} runs failed; sweep.retry_failed=true retries them,"
            " sweep.allow_incomplete=true compares the others"
        )
    if result.num_left:
        are = "is" if result.num_left == 1 else "are"
        say(f"{counted(result.num_left, 'run')} {are} left; {again} resumes the sweep")
    say(f"sweep {result.plan.id}, under the parent run {result.key}, is in {result.folder}")
    for line in how_to_see(output_root() / "runs" / result.key, result.plan.uri):
        say(line)
