"""`hcr sync`: upload what MLflow has not received or has lost; compare; move runs to another store."""

import argparse
from collections.abc import Sequence

from hcr import stopping
from hcr.commands.arguments import OneLineParser
from hcr.config.errors import ConfigError, TrackingError, one_line
from hcr.config.secrets import redact
from hcr.config.tracking import check_tracking_uri, output_root, tracking_uri
from hcr.tracking.aim import aim_at, forget, with_whole_sweeps
from hcr.tracking.finding import find_run
from hcr.tracking.status import run_folders
from hcr.tracking.store import open_store
from hcr.tracking.stores import Survey, upload_all
from hcr.tracking.suspicion import suspect_silent_runs


def main(argv: Sequence[str]) -> int:
    """Upload every run under the output root that is not complete in its store.

    A run whose process died without ending it is marked FAILED. Live runs, and runs that were deleted in MLflow, are
    skipped.

    Returns:
        1 if `--check`, which writes nothing, found something missing or could not compare every run; else 0.

    Raises:
        TrackingError: an upload failed; what was uploaded before stays uploaded.
    """
    arguments = _parse(argv)
    root = output_root()
    named = [find_run(root, name) for name in arguments.runs]
    if arguments.forget:
        with stopping.deferred():  # all of the runs or none
            for folder in forget(root, named, take_over=arguments.take_over):
                print(f"run {folder.name} will never be uploaded; it stays in {folder}")
        return 0
    if arguments.to is not None:
        check_tracking_uri("--to", arguments.to)
        uri = tracking_uri(arguments.to)
        with stopping.deferred():  # all of the runs or none
            named = aim_at(root, uri, named, take_over=arguments.take_over)
            print(f"the store of {len(named)} {'runs' if len(named) != 1 else 'run'} is now {redact(uri)}")
        if not named:
            return 0
    elif named:
        named = with_whole_sweeps(root, named)
    folders = named or run_folders(root)
    stopping.set_line("interrupted; what was uploaded stays, and `hcr sync` uploads the rest")
    survey = Survey(folders, take_over=arguments.take_over, whole=arguments.check or arguments.repair)
    for line in survey.lines:
        print(line, flush=True)
    if arguments.check:
        unknown = f", {survey.num_unknown} could not be compared" if survey.num_unknown else ""
        counts = f"{survey.num_whole} complete, {survey.num_running} still running, {len(survey.lacking)} incomplete"
        print(f"{counts}{unknown}")
        return 1 if survey.lacking or survey.failed else 0
    uploaded = upload_all(survey)
    uri = tracking_uri(None)
    if not uri.startswith("sqlite:"):  # several hosts may share the store
        try:
            print("".join(f"{line}\n" for line in suspect_silent_runs(open_store(uri))), end="")
        except Exception as error:
            survey.failed.append((redact(uri), error))
    print(f"{uploaded} uploaded, {survey.num_running} still running, {len(survey.failed)} not uploaded")
    if survey.failed:
        key, first = survey.failed[0]
        more = f" (and {len(survey.failed) - 1} more)" if survey.failed[1:] else ""
        raise TrackingError(f"not uploaded: {key}: {one_line(first)}{more}") from first
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = OneLineParser(
        "sync",
        "Upload what MLflow has not received, such as runs that ended while it was down.",
    )
    parser.add_argument(
        "runs", nargs="*", metavar="RUN", help="key, run id or name of a run, latest or best; a sweep includes its runs"
    )
    parser.add_argument(
        "--take-over", action="store_true", help="include runs of other hosts in this folder; they must not be alive"
    )
    parser.add_argument(
        "--check", action="store_true", help="report what MLflow lacks, metric values and artifacts too; upload nothing"
    )
    parser.add_argument("--repair", action="store_true", help="compare as --check does, and upload what is missing")
    parser.add_argument(
        "--to", metavar="URI", help="upload the runs to this store from now on (no RUN: all that are not uploaded)"
    )
    parser.add_argument(
        "--forget", action="store_true", help="never upload or report the runs again; their folders stay"
    )
    arguments = parser.parse_args(argv)
    given = [name for name in ("check", "repair", "to", "forget") if getattr(arguments, name) not in (None, False)]
    if len(given) > 1:
        raise ConfigError(f"hcr sync: --{given[0]} and --{given[1]} cannot be combined; give one of them")
    if arguments.forget and not arguments.runs:
        raise ConfigError("hcr sync: --forget: expected RUN, the key, run id or name of a run, got none")
    return arguments
