"""`recorded`: a context manager that records a run in a journal and uploads it."""

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
    """Yield a journal, not yet begun, that is uploaded to MLflow while it is written.

    Leaving the `with` ends the run, as `Journal` says, and waits for its upload. If the upload is incomplete, one line
    on standard error says so.

    Args:
        tracking: the store and the experiment.
        uploader: an uploader that also uploads other runs, such as those of a sweep; None: a new one.

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
        if why is not None and not stopping.is_requested():  # an interrupted run reports it in its own line
            _report_rest(journal, why)


def _report_rest(journal: Journal, why: Exception) -> None:
    if os.environ.get("HCR_TRACEBACK") == "1":
        traceback.print_exception(why)
    if isinstance(why, RunDeleted):  # the uploader has printed how to restore it
        message = f"the run was deleted in MLflow; its journal and artifacts are in {journal.folder}"
    else:
        message = f"the upload to MLflow is incomplete ({one_line(why)}); nothing is lost, `hcr sync` uploads the rest"
    print(f"hcr: {message}", file=sys.stderr)
