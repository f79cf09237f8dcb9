"""How to see a run in MLflow: the lines that a command prints when its run has ended."""

from pathlib import Path

from hcr.config.addresses import without_user
from hcr.tracking.events import read_events
from hcr.tracking.status import read_position
from hcr.tracking.views import CHARTS, TABLE, key_of, run_link, view_link


def how_to_see(folder: Path, uri: str) -> list[str]:
    """The lines that say where MLflow shows the run in `folder`, and by which id it loads the run's model.

    On a server the links are whole. Of a store without one the line is the command that serves it.

    Args:
        uri: the store.
    """
    position, model, views = read_position(folder), None, {}
    for event, _ in read_events(folder):
        if event["event"] == "model":
            model = event["path"]
        elif event["event"] == "views":
            views = event["views"]
    run_id, experiment_id = position.get("run_id"), position.get("experiment_id")
    lines = [f"see it in MLflow: hcr ui {folder.name}"]
    if uri.startswith("http") and run_id and experiment_id:
        address = without_user(uri).rstrip("/")
        lines = [f"see it in MLflow: {address}/{run_link(experiment_id, run_id)}"]
        for name in (CHARTS, TABLE):
            if name in views:
                link = view_link(key_of(views[name]), name, experiment_id)
                lines.append(f"its {name}: {address}/{link}")
    if run_id and model is not None:
        lines.append(f"its model there: runs:/{run_id}/{model}")
    return lines
