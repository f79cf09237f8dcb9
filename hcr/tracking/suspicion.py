"""Silent runs of other hosts: their locks cannot be seen from here, so they are tagged as suspected, never ended."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hcr.tracking.journal import now_ms
from hcr.tracking.lock import this_host

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

SILENT_MS = 30 * 60 * 1000
SUSPECTED = "hcr.suspected"


def suspect_silent_runs(client: "MlflowClient") -> list[str]:
    """Tag every RUNNING run of another host that has been silent for half an hour; return a message for each.

    The run's next uploaded event removes the tag.
    """
    messages = []
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    for run in client.search_runs(experiments, "attributes.status = 'RUNNING'"):
        host = run.data.tags.get("hcr.host")
        if host in (None, this_host()):
            continue
        last_ms = last_seen_ms(run)
        if now_ms() - last_ms < SILENT_MS:
            continue
        when = datetime.fromtimestamp(last_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
        client.set_tag(run.info.run_id, SUSPECTED, f"last seen {when} on {host}", synchronous=True)
        messages.append(f"suspected: run {run.data.tags.get('hcr.key')} on {host}, last seen {when}")
    return messages


def clear_suspicion(client: "MlflowClient", run_id: str) -> None:
    """Remove the tag from a run that is not silent any more."""
    if SUSPECTED in client.get_run(run_id).data.tags:
        client.delete_tag(run_id, SUSPECTED)


def last_seen_ms(run: "Run") -> int:
    """Time of the run's start or its latest metric, in milliseconds since 1970."""
    times: list[int] = [run.info.start_time, *(metric.timestamp for metric in run.data._metric_objs)]
    return max(times)
