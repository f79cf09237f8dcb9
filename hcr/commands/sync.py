"""`hcr sync`: deliver what the store has not had yet."""

from collections.abc import Sequence
from pathlib import Path

from hcr.commands.arguments import OneLineParser
from hcr.config.errors import TrackingError, one_line
from hcr.config.tracking import output_root
from hcr.tracking.journal import JOURNAL, lock_run, read_events
from hcr.tracking.replay import Replay


def main(argv: Sequence[str]) -> int:
    """Replay every journal under the output root whose end has not been delivered; running runs are left alone.

    Raises:
        TrackingError: the store could not take all of it; what it did take stays taken.
    """
    OneLineParser(
        prog="hcr sync",
        description="Deliver to MLflow what it has not had yet, such as runs that ended while it was away.",
        epilog="examples: hcr sync    HCR_OUTPUT_DIR=/data/runs hcr sync",
    ).parse_args(argv)
    delivered, running, failed = 0, 0, []
    for folder in _oldest_first(output_root() / "runs"):
        try:
            with lock_run(folder):
                replay = Replay(folder)
                if not replay.ended and replay.deliver():
                    delivered += 1
        except BlockingIOError:
            running += 1
        except Exception as error:  # one store may be away while another answers: the others are still tried
            failed.append(f"{folder.name}: {one_line(error)}")
    print(f"{delivered} delivered, {running} still running, {len(failed)} not delivered")
    if failed:
        raise TrackingError(f"not delivered: {failed[0]}" + (f" (and {len(failed) - 1} more)" if failed[1:] else ""))
    return 0


def _oldest_first(runs: Path) -> list[Path]:
    """A parent begins before its children, so it is there when they are delivered."""
    begun = []
    for journal in runs.glob(f"*/{JOURNAL}"):
        first = next(read_events(journal.parent), None)
        if first is not None:
            begun.append((first[0]["time_ms"], journal.parent))
    return [folder for _, folder in sorted(begun)]
