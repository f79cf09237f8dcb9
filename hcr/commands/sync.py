"""`hcr sync`: deliver what the store has not had yet, or has lost; say what it lacks; aim runs at another store."""

import argparse
from collections.abc import Sequence

from hcr import stopping
from hcr.commands.arguments import OneLineParser
from hcr.config.errors import ConfigError, TrackingError, one_line
from hcr.config.secrets import redact
from hcr.config.tracking import check_tracking_uri, output_root, tracking_uri
from hcr.tracking.aim import aim_at, family, forget
from hcr.tracking.status import find_run, run_folders
from hcr.tracking.store import open_store
from hcr.tracking.stores import Survey, upload_all
from hcr.tracking.suspicion import suspect_silent_runs


def main(argv: Sequence[str]) -> int:
    """Replay every journal under the output root whose end is not in its store; running runs are left alone.

    A run whose process is gone without having ended it is ended as FAILED. A run that a store has lost, whole or in
    part, is delivered again; one that was deleted in MLflow is left alone.

    Returns:
        1 where `--check` found something missing, or could not compare all; it writes nothing.

    Raises:
        TrackingError: a store could not take all of it; what it did take stays taken.
    """
    arguments = _parse(argv)
    root = output_root()
    named = [find_run(root, name) for name in arguments.runs]
    if arguments.forget:
        with stopping.deferred():  # a signal leaves none of them as it was
            for folder in forget(root, named, take_over=arguments.take_over):
                print(f"run {folder.name} is given up: it is never delivered, and stays in {folder}")
        return 0
    if arguments.to is not None:
        check_tracking_uri("--to", arguments.to)
        uri = tracking_uri(arguments.to)
        with stopping.deferred():  # a signal leaves none of them as it was
            named = aim_at(root, uri, named, take_over=arguments.take_over)
            print(f"{len(named)} {'runs are' if len(named) != 1 else 'run is'} for {redact(uri)} now")
        if not named:
            return 0
    elif named:
        named = family(root, named)
    folders = named or run_folders(root)
    stopping.set_line("interrupted; what was uploaded stays, and `hcr sync` uploads the rest")
    survey = Survey(folders, take_over=arguments.take_over, whole=arguments.check or arguments.repair)
    for line in survey.lines:
        print(line, flush=True)
    if arguments.check:
        unknown = f", {survey.num_unknown} could not be compared" if survey.num_unknown else ""
        print(f"{survey.num_whole} whole, {survey.num_running} still running, {len(survey.lacking)} not{unknown}")
        return 1 if survey.lacking or survey.failed else 0
    delivered = upload_all(survey)
    uri = tracking_uri(None)
    if not uri.startswith("sqlite:"):  # a store that several hosts share
        try:
            print("".join(f"{line}\n" for line in suspect_silent_runs(open_store(uri))), end="")
        except Exception as error:
            survey.failed.append((redact(uri), error))
    print(f"{delivered} delivered, {survey.num_running} still running, {len(survey.failed)} not delivered")
    if survey.failed:
        key, first = survey.failed[0]
        more = f" (and {len(survey.failed) - 1} more)" if survey.failed[1:] else ""
        raise TrackingError(f"not delivered: {key}: {one_line(first)}{more}") from first
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = OneLineParser(
        "sync",
        "Upload what MLflow has not received, such as runs that ended while it was down.",
    )
    parser.add_argument(
        "runs", nargs="*", metavar="RUN", help="key, run id or name of a run, or latest; a sweep goes with its runs"
    )
    parser.add_argument(
        "--take-over", action="store_true", help="also the runs of other hosts in this folder, which must not be alive"
    )
    parser.add_argument(
        "--check", action="store_true", help="say what MLflow lacks, metric values and artifacts too; deliver nothing"
    )
    parser.add_argument("--repair", action="store_true", help="check as --check does, and deliver what is missing")
    parser.add_argument(
        "--to", metavar="URI", help="deliver the runs to this store from now on (no RUN: all that are not delivered)"
    )
    parser.add_argument(
        "--forget", action="store_true", help="never deliver the runs, and report them no more; their folders stay"
    )
    arguments = parser.parse_args(argv)
    given = [name for name in ("check", "repair", "to", "forget") if getattr(arguments, name) not in (None, False)]
    if len(given) > 1:
        raise ConfigError(f"hcr sync: --{given[0]} and --{given[1]} do not go together; give one of them")
    if arguments.forget and not arguments.runs:
        raise ConfigError("hcr sync: --forget: expected RUN, the key, run id or name of a run, got none")
    return arguments
