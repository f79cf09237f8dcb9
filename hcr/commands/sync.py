"""`hcr sync`: deliver what the store has not had yet."""

import math
from collections.abc import Sequence
from pathlib import Path

from hcr import stopping
from hcr.commands.arguments import OneLineParser
from hcr.config.errors import TrackingError, one_line
from hcr.config.secrets import redact
from hcr.config.tracking import output_root, tracking_uri
from hcr.tracking.journal import end_dead_run, lock_run, read_events
from hcr.tracking.replay import Replay
from hcr.tracking.status import is_ours, undelivered
from hcr.tracking.store import open_store
from hcr.tracking.suspicion import suspect_silent_runs


def main(argv: Sequence[str]) -> int:
    """Replay every journal under the output root whose end has not been delivered; running runs are left alone.

    A run whose process is gone without having ended it is ended as FAILED.

    Raises:
        TrackingError: the store could not take all of it; what it did take stays taken.
    """
    parser = OneLineParser(
        "sync", "Deliver to MLflow what it has not had yet, such as runs that ended while it was away."
    )
    parser.add_argument(
        "--take-over", action="store_true", help="also the runs of other hosts in this folder, which must not be alive"
    )
    take_over = parser.parse_args(argv).take_over
    stopping.says("interrupted; what was uploaded stays, and `hcr sync` uploads the rest")
    delivered, running = 0, 0
    failed: list[tuple[str, Exception]] = []
    for folder in _oldest_first(undelivered(output_root())):
        if not (take_over or is_ours(folder)):
            print(f"left alone: run {folder.name} is of another host; `hcr sync` there, or --take-over, delivers it")
            continue
        try:
            with lock_run(folder):
                end_dead_run(folder)
                replay = Replay(folder)
                if not replay.ended and replay.deliver():
                    delivered += 1
        except BlockingIOError:
            running += 1
        except Exception as error:  # one store may be away while another answers: the others are still tried
            failed.append((folder.name, error))
    uri = tracking_uri(None)
    if not uri.startswith("sqlite:"):  # a store that several hosts share
        try:
            print("".join(f"{line}\n" for line in suspect_silent_runs(open_store(uri))), end="")
        except Exception as error:
            failed.append((redact(uri), error))
    print(f"{delivered} delivered, {running} still running, {len(failed)} not delivered")
    if failed:
        key, first = failed[0]
        more = f" (and {len(failed) - 1} more)" if failed[1:] else ""
        raise TrackingError(f"not delivered: {key}: {one_line(first)}{more}") from first
    return 0


def _oldest_first(folders: list[Path]) -> list[Path]:
    """A parent begins before its children, so it is there when they are delivered. A journal that is damaged from
    its first line on comes last, and is told when it is tried."""
    begun = []
    for folder in folders:
        try:
            first = next(read_events(folder), None)
        except (OSError, TrackingError):
            begun.append((math.inf, folder))
            continue
        if first is not None:
            begun.append((first[0]["time_ms"], folder))
    return [folder for _, folder in sorted(begun)]
