"""Views in a store: written as tags of an experiment, removed again, and whether the store's server shows them."""

import contextlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from hcr.config.errors import one_line
from hcr.tracking.views import TAG, VIEWS, key_of, keys_of

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

TRIED = ((3, 17), (3, 17))  # the first and the last version of MLflow whose pages were seen to show every view
REFUSALS = ("INVALID_PARAMETER_VALUE", "PERMISSION_DENIED")  # of a server that takes no such tag
RECENT = "hcr.recent_views"  # tag of an experiment: the keys of the views that `hcr ui` wrote, oldest first, as JSON
MOST_RECENT = 20


def write_views(client: "MlflowClient", experiment_id: str, run_id: str, views: Mapping[str, str]) -> None:
    """Write the views of a sweep on its experiment and their keys on its parent run; remove those that they replace.

    A server that refuses the tag of an experiment keeps no views: one line and an empty tag of the run say so, as
    results do not depend on them.

    Args:
        views: texts by name.
    """
    from mlflow.exceptions import MlflowException

    before = keys_of(client.get_run(run_id).data.tags)
    try:
        for text in views.values():
            _write(client, experiment_id, text)
    except MlflowException as error:
        if error.error_code not in REFUSALS:
            raise
        print(f"hcr: warning: the store takes no views of the sweep ({one_line(error)})", file=sys.stderr, flush=True)
        client.set_tag(run_id, VIEWS, views_tag({}), synchronous=True)
        return
    # Removed first: the tag that names them is replaced.
    remove_views(client, experiment_id, set(before.values()) - {key_of(text) for text in views.values()})
    client.set_tag(run_id, VIEWS, views_tag(views), synchronous=True)


def views_tag(views: Mapping[str, str]) -> str:
    """The value of the tag VIEWS of a sweep with these views."""
    return json.dumps({name: key_of(text) for name, text in views.items()})


def remove_views(client: "MlflowClient", experiment_id: str, keys: "set[str] | Sequence[str]") -> None:
    """Remove views from an experiment; those that it does not have, and a server that cannot, are skipped."""
    from mlflow.exceptions import MlflowException

    there = client.get_experiment(experiment_id).tags if keys else {}
    for key in keys:
        if f"{TAG}{key}" in there:
            with contextlib.suppress(MlflowException, AttributeError):  # MLflow before 3.5 cannot
                client.delete_experiment_tag(experiment_id, f"{TAG}{key}")


def write_recent_view(client: "MlflowClient", experiment_id: str, text: str) -> str:
    """Write a view that belongs to no sweep; return its key. Of such views an experiment keeps the last MOST_RECENT."""
    key = key_of(text)
    try:
        before = json.loads(client.get_experiment(experiment_id).tags.get(RECENT, "[]"))
    except ValueError:
        before = []
    kept = [each for each in before if each != key] + [key]
    _write(client, experiment_id, text)
    client.set_experiment_tag(experiment_id, RECENT, json.dumps(kept[-MOST_RECENT:]))
    remove_views(client, experiment_id, kept[:-MOST_RECENT])
    return key


def has_views(client: "MlflowClient", experiment_id: str, keys: Mapping[str, str]) -> bool:
    """True if the experiment has every view of `keys`, which are by name."""
    tags = client.get_experiment(experiment_id).tags
    return bool(keys) and all(f"{TAG}{key}" in tags for key in keys.values())


def shows_views(shown_by: str | None) -> bool:
    """True if MLflow's pages of this version, such as "3.17.2", are among those that were seen to show the views."""
    found = re.match(r"(\d+)\.(\d+)", shown_by or "")
    return found is not None and TRIED[0] <= (int(found[1]), int(found[2])) <= TRIED[1]


def own_version() -> str:
    """The version of the MLflow that is installed here, whose pages `hcr ui` serves."""
    return version("mlflow")


def server_version(uri: str) -> str | None:
    """The version of the MLflow that serves the pages at `uri`; None if it does not say."""
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    try:
        answer = http_request(get_default_host_creds(uri), "/version", "GET", timeout=5, max_retries=0)
    except Exception:  # any error of the server, or of a proxy before it
        return None
    return str(answer.text).strip() if answer.status_code == 200 else None


def _write(client: "MlflowClient", experiment_id: str, text: str) -> None:
    client.set_experiment_tag(experiment_id, f"{TAG}{key_of(text)}", text)
