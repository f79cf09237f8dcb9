"""Runs as pandas data frames."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hcr.config.tracking import tracking_uri
from hcr.tracking.conditions import parse_conditions
from hcr.tracking.reading import StoreRow, history_of, reading_store, search, system_metrics_of

if TYPE_CHECKING:
    import pandas as pd

EPOCH_METRICS = ("train/loss", "train/accuracy", "val/loss", "val/accuracy", "lr", "time/epoch_s", "time/images_per_s")


def load_runs(
    where: str | None = None,
    *,
    sweep: str | None = None,
    history: bool = False,
    system_metrics: bool = False,
    top: int | None = None,
    uri: str | None = None,
) -> "pd.DataFrame":
    """The runs of a store, a row each, newest first; or a row for each of their epochs.

    Args:
        where: conditions such as "val/accuracy > 0.99 and model.depth = 3"; None: every run.
        sweep: the key of a sweep's parent run, to get its runs alone.
        history: True for a row per epoch, with the metrics of that epoch.
        system_metrics: True for the metrics of the machine too (`tracking.system_metrics`): the last values, or with
            `history` the means of each epoch.
        top: at most so many runs; None: all.
        uri: the store; None: that of MLFLOW_TRACKING_URI, or the default one.

    Returns:
        Columns `key`, `run_id`, `name`, `kind`, `status`, `started` (UTC), `duration_s`, then every setting (numbers
        and booleans as such) and every metric by its name; NaN or None where a run has none. With `history`: `key`,
        `name`, `epoch` and the metrics per epoch.

    Raises:
        ConfigError: `where` is not understood.
        TrackingError: there is no store, or it does not answer.
    """
    conditions = parse_conditions(where) if where else ()
    with reading_store(tracking_uri(uri)) as client:
        rows = search(client, conditions=conditions, sweep=sweep, top=top)
        if not history:
            records = [_record(row, row.metrics if system_metrics else row.own_metrics) for row in rows]
            return _frame(records, ("key", "run_id", "name", "kind", "status", "started"))
        epochs: list[dict[str, Any]] = []
        for row in rows:
            values = history_of(client, row.run_id, [name for name in EPOCH_METRICS if name in row.metrics])
            if system_metrics:
                values |= system_metrics_of(client, row)
            steps = sorted({step for steps in values.values() for step in steps})
            epochs += [
                {"key": row.key, "name": row.name, "epoch": step}
                | {name: column[step] for name, column in values.items() if step in column}
                for step in steps
            ]
    return _frame(epochs, ("key", "name", "epoch"))


def _record(row: StoreRow, metrics: Mapping[str, float]) -> dict[str, Any]:
    import pandas as pd

    duration = None if row.end_ms is None else (row.end_ms - row.start_ms) / 1000
    facts: dict[str, Any] = {
        "key": row.key,
        "run_id": row.run_id,
        "name": row.name,
        "kind": row.kind,
        "status": row.status,
    }
    facts |= {"started": pd.Timestamp(row.start_ms, unit="ms", tz="UTC"), "duration_s": duration}
    return facts | {name: _value(text) for name, text in row.params.items()} | dict(metrics)


def _value(text: str) -> Any:
    """A setting as it was before it was recorded as text: a number, a boolean, None; a list stays text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if value is None or isinstance(value, bool | int | float) else text


def _frame(records: Sequence[dict[str, Any]], columns: Sequence[str]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(list(records)) if records else pd.DataFrame(columns=list(columns))
