"""Runs of other hosts that have gone silent: nobody here can see their locks, so they are suspected, never ended."""

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
    """Tag every run of another host's that is RUNNING and has said nothing for half an hour; a line for each.

    Its own journal takes the tag back when it is delivered.
    """
    told = []
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
        told.append(f"suspected: run {run.data.tags.get('hcr.key')} on {host}, last seen {when}")
    return told


def take_back_suspicion(client: "MlflowClient", run_id: str) -> None:
    """The run has spoken after all."""
    if SUSPECTED in client.get_run(run_id).data.tags:
        client.delete_tag(run_id, SUSPECTED)


def last_seen_ms(run: "Run") -> int:
    """When the run last said anything that carries a time, in milliseconds since 1970."""
    times: list[int] = [run.info.start_time, *(metric.timestamp for metric in run.data._metric_objs)]
    return max(times)
