"""`hcr train -m`: from what the gate accepted to what is printed at the end."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from shutil import get_terminal_size

from hcr import stopping
from hcr.config import ConfigError
from hcr.config.secrets import override_without_secrets
from hcr.config.tracking import how_to_see, output_root, tracking_uri
from hcr.console import say
from hcr.evaluation.labels import counted
from hcr.evaluation.table import TABLE_WIDTH, format_table
from hcr.evaluation.verdict import verdict
from hcr.gate import RunConfig
from hcr.gate.compose import Checked
from hcr.gate.points import Space
from hcr.importing import refusal_of
from hcr.output import leaving_without_output, of_disk
from hcr.sweep.identity import Fingerprints, fold
from hcr.sweep.plan import Plan, make_plan, read_plan
from hcr.sweep.report import MOST_SHOWN
from hcr.sweep.resources import workers_and_threads
from hcr.sweep.sweep import SweepResult, run_sweep, sweep_folder
from hcr.tracking.events import last_event
from hcr.tracking.status import earlier_uris, is_delivered


def train_many(checked: Checked, overrides: Sequence[str]) -> int:
    """Run a sweep, or print what it would be; 1 where one of its runs failed.

    Args:
        checked: what the gate accepted.
        overrides: the command line's.

    Raises:
        HcrError: in one line, what is to be changed.
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
    plan, samples = plan_of(checked, overrides, fingerprints)
    if base.check_only:
        from hcr.sweep.preview import print_plan

        with stopping.recording():  # it has processes to end and a folder to remove
            print_plan(plan, space.sweep, samples, fingerprints)
        return 0
    try:
        with stopping.recording():
            result = run_sweep(plan, space.sweep, space.launcher, base.tracking, samples, fingerprints, again=again)
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
    """The plan, frozen now, with runs of the same numbers in it once; and configs whose models stand for all.

    Raises:
        ConfigError: bounds that the plan exceeds.
        DataError: the data cannot be read.
    """
    space, base = checked.space, checked.configs[0]
    assert space is not None
    if base.new_run:
        raise ConfigError("new_run: is for a single run; expected false, and resume=never for a sweep to begin anew")
    runs, num_same = fold(checked.runs, fingerprints, around=space.sweep.design == "around")
    fingerprints.read(checked.configs)  # of a search, whose runs are not known yet
    if num_same:
        print(f"note: {counted(num_same, 'combination')} left out, with the same numbers as another", flush=True)
    own = max(cfg.training.num_threads for cfg in checked.configs) if space.has_own_threads else None

    def planned(threads: int | None) -> Plan:
        """The plan with so many threads for each run; None: as many as fit."""
        num_runs = len(runs) or space.sweep.n_trials or 1
        workers, chosen = workers_and_threads(space.launcher, num_runs=num_runs, own_threads=threads)
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
            # The store is part of a sweep's id: in an output root that was moved, a sweep has the id of its old place.
            before = (plan(uri=uri) for uri in earlier_uris(output_root(), found.uri))
            found = next((replace(found, id=old.id) for old in before if sweep_folder(old).exists()), found)
        return replace(found, id=_id_of(found, is_anew=base.resume == "never"))

    plan = planned(own)
    there = read_plan(sweep_folder(plan))
    if there is not None and there.threads != plan.threads:  # the numbers depend on them, so they stay
        plan = planned(there.threads)
    return plan, [run.cfg for run in runs] or checked.configs


def _id_of(plan: Plan, *, is_anew: bool) -> str:
    """The sweep's id: a further one where it is to begin anew, else that of the last time it did."""
    ids = [plan.id]
    while sweep_folder(replace(plan, id=ids[-1])).exists():
        ids.append(f"{plan.id}-{len(ids) + 1}")
    return ids[-1] if is_anew or len(ids) == 1 else ids[-2]


def _name(space: Space, overrides: Sequence[str]) -> str:
    """The words that make the sweep the one it is: what varies, and how it is searched."""
    keys = {"sweep", "sweep.sampler", *(axis.key for axis in space.axes)}
    words = [word for word in overrides if word.partition("=")[0].lstrip("+~") in keys]
    return " ".join(map(override_without_secrets, words)) or "multirun"


def _what_is_kept(plan: Plan, again: str) -> str:
    """The line for a stop signal: what is kept, and the command that resumes it."""
    folder = sweep_folder(plan)
    there = read_plan(folder)
    if there is None:
        return "interrupted; no run of the sweep had begun"
    run = output_root() / "runs" / "".join(there.parents[-1:])
    if last_event(run).get("status") == "FINISHED":
        rest = "" if is_delivered(run) else "; `hcr sync` uploads the rest of it"
        return f"interrupted; sweep {plan.id} has finished and is in {folder}{rest}"
    rest = "" if is_delivered(run) else ", and `hcr sync` uploads what it has so far"
    return f"interrupted; {again} resumes sweep {plan.id} in {folder}{rest}"


def print_result(result: SweepResult, again: str) -> None:
    """The leaderboard, what can be said of it, and where everything is; `again` is the command that goes on."""
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
            f"{result.num_failed} of {len(result.runs)} runs failed; sweep.retry_failed=true tries them again,"
            " sweep.allow_incomplete=true compares what there is"
        )
    if result.num_left:
        are = "is" if result.num_left == 1 else "are"
        say(f"{counted(result.num_left, 'run')} {are} left; {again} goes on")
    say(f"sweep {result.plan.id}, under the parent run {result.key}, is in {result.folder}")
    say(how_to_see(result.plan.uri))
