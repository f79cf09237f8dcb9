"""A journal and its replay together: what everything that makes a run wraps it in."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from hcr import stopping
from hcr.config.tracking import TrackingConfig, output_root, tracking_uri
from hcr.tracking.journal import Journal
from hcr.tracking.replay import ReplayThread


@contextmanager
def recorded(tracking: TrackingConfig, parent: str | None = None) -> Iterator[Journal]:
    """A journal, not begun, that is replayed into MLflow while it is written.

    Leaving the `with` ends the run, as `Journal` says, and waits for its delivery; where the store did not take all
    of it, one line on standard error says so.

    Args:
        tracking: the store and the experiment.
        parent: the key of the run under which this one is nested.

    Raises:
        ConfigError: MLFLOW_TRACKING_URI names no store.
    """
    uri = tracking_uri(tracking.uri)
    journal = Journal(output_root(), uri=uri, experiment=tracking.experiment_name, parent=parent)
    replay = ReplayThread(journal, tracking.timeout_s)
    try:
        with replay, journal:
            yield journal
    finally:
        if replay.undelivered is not None and not stopping.is_requested():  # then the line of the interruption says it
            if replay.error is not None and os.environ.get("HCR_TRACEBACK") == "1":
                traceback.print_exception(replay.error)
            print(
                f"hcr: not all of it is in MLflow yet ({replay.undelivered}); nothing is lost, `hcr sync` delivers it",
                file=sys.stderr,
            )
