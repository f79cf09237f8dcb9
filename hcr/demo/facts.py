"""What the demo says of the run whose model it uses."""

from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from hcr.evaluation.metrics import evaluate
from hcr.recorded import RecordedRun
from hcr.tracking.events import first_event
from hcr.tracking.place import store_of
from hcr.tracking.status import read_position

PARTS = {"val": "validation", "test": "test"}


@dataclass(frozen=True)
class RunFacts:
    """A run's name, key, data set and score.

    Attributes:
        score: its accuracy with the interval, one line.
        page: the address of the run's page in MLflow; None if the store is no server, or does not have the run.
    """

    name: str
    key: str
    dataset: str
    score: str
    page: str | None


def facts_of(run: RecordedRun) -> RunFacts:
    """What is said of `run`.

    Raises:
        TrackingError: it has no predictions.
    """
    part = run.scored_part
    found = run.predictions(part)
    scores = evaluate(found.probabilities, found.labels, run.class_names)
    interval = f"95 % interval {scores.accuracy_low:.4f} to {scores.accuracy_high:.4f}"
    score = f"{PARTS[part]} accuracy {scores.accuracy:.4f} ({interval}, {scores.num_images:,} images)"
    return RunFacts(run.name, run.key, run.cfg.dataset.name, score, _page(run))


def _page(run: RecordedRun) -> str | None:
    if run.folder is None:
        return None
    run_id = read_position(run.folder).get("run_id")
    return None if run_id is None else run_page(store_of(run.folder, first_event(run.folder)), str(run_id))


def run_page(uri: str, run_id: str) -> str | None:
    """The page of a run in the MLflow server at `uri`, without a user name or password; None if `uri` is no server."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return None
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, f"{parts.path.rstrip('/')}/", "", f"/runs/{run_id}"))
