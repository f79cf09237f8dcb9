"""A journal and its upload together: what everything that makes a run wraps it in."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from hcr import stopping
from hcr.config.errors import one_line
from hcr.config.tracking import TrackingConfig, output_root, tracking_uri
from hcr.tracking.journal import Journal
from hcr.tracking.replay import RunDeleted
from hcr.tracking.uploader import Uploader


@contextmanager
def recorded(tracking: TrackingConfig, *, uploader: Uploader | None = None) -> Iterator[Journal]:
    """A journal, not begun, that is uploaded to MLflow while it is written.

    Leaving the `with` ends the run, as `Journal` says, and waits for its upload; where the store did not take all of
    it, one line on standard error says so.

    Args:
        tracking: the store and the experiment.
        uploader: uploads the run before those that it has beside it, such as the runs of a sweep; None: one of its own.

    Raises:
        ConfigError: MLFLOW_TRACKING_URI names no store.
    """
    uri = tracking_uri(tracking.uri)
    journal = Journal(output_root(), uri=uri, experiment=tracking.experiment_name)
    carrier = uploader or Uploader(uri, tracking.timeout_s)
    carrier.carry(journal)
    try:
        with ExitStack() as stack:
            if uploader is None:
                stack.enter_context(carrier)
            else:
                stack.callback(uploader.drain)
            with journal:
                yield journal
    finally:
        why = carrier.why_left()
        if why is not None and not stopping.is_requested():  # then the line of the interruption says it
            _tell_what_is_left(journal, why)


def _tell_what_is_left(journal: Journal, why: Exception) -> None:
    if os.environ.get("HCR_TRACEBACK") == "1":
        traceback.print_exception(why)
    if isinstance(why, RunDeleted):  # and was told when that was seen
        told = f"the run was deleted in MLflow; its journal and artifacts are in {journal.folder}"
    else:
        told = f"not all of it is in MLflow yet ({one_line(why)}); nothing is lost, `hcr sync` delivers it"
    print(f"hcr: {told}", file=sys.stderr)
