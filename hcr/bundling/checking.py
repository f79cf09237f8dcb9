"""The journal of a run from a bundle, checked before anything reads it: it decides what is uploaded, and to where."""

import json
from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hcr.archives import check_names
from hcr.config.errors import TrackingError, one_line
from hcr.tracking.journal import PLACES, now_ms

MOST = 1 << 53  # larger integers are not exact everywhere
AHEAD_MS = 86_400_000  # that another machine's clock may be ahead: a day
# Tags by which MLflow would hang a run under another, or take it for something else.
# And the keys of views, which a later upload would remove.
NOT_OURS = (
    "mlflow.parentRunId",
    "mlflow.rootRunId",
    "mlflow.experiment",
    "mlflow.databricks",
    "mlflow.runName",
    "hcr.views",
)


def _inside(path: str) -> str:
    try:
        check_names([path], "artifact")
    except TrackingError as error:
        raise ValueError(one_line(error)) from error
    return path


def _no_foreign_tag(values: dict[str, str]) -> dict[str, str]:
    for name in values:
        if name.startswith(NOT_OURS):
            raise ValueError(f"expected tags of hcr, got {name!r}")
    return values


def _time_and_values(sample: list[Any]) -> list[Any]:
    if [type(value) for value in sample] != [int, dict] or not 0 <= sample[0] < MOST:
        raise ValueError("expected a time and values")
    return sample


Name = Annotated[str, Field(pattern=r"^[\w\-.:/ ]+$", max_length=250)]  # as MLflow accepts
Texts = dict[Name, str]
Tags = Annotated[Texts, AfterValidator(_no_foreign_tag)]
Inside = Annotated[str, AfterValidator(_inside)]


class _Event(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    time_ms: Annotated[int, Field(ge=0, lt=MOST)]


class _Run(_Event):
    event: Literal["run"]
    key: str
    experiment: Annotated[str, Field(pattern=r"^[^\x00-\x1f]*\S[^\x00-\x1f]*$", max_length=250)]
    parent: str | None
    name: str
    tags: Tags


class _Params(_Event):
    event: Literal["params"]
    values: Texts


class _Tags(_Event):
    event: Literal["tags"]
    values: Tags


class _Metrics(_Event):
    event: Literal["metrics"]
    step: Annotated[int, Field(ge=0, lt=MOST)]
    values: dict[Name, float]
    of_model: dict[Name, Annotated[list[str], Field(min_length=2, max_length=2)]] = {}


class _Facts(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    name: str
    digest: str
    source: str
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    profile: dict[str, int]
    context: str = "training"


class _Dataset(_Facts, _Event):
    event: Literal["dataset"]


class _Datasets(_Event):
    event: Literal["datasets"]
    datasets: list[_Facts]


class _Artifact(_Event):
    event: Literal["artifact"]
    path: Inside


class _Model(_Event):
    event: Literal["model"]
    path: Inside
    architecture: str
    params: Texts
    step: Annotated[int, Field(ge=0, lt=MOST)]


class _System(_Event):
    event: Literal["system"]
    step: Annotated[int, Field(ge=0, lt=MOST)]
    samples: list[Annotated[list[int | dict[Name, float]], AfterValidator(_time_and_values)]]


class _Views(_Event):
    event: Literal["views"]
    views: dict[Literal["table", "charts", "parallel"], Annotated[str, Field(max_length=100_000)]]


class _Resume(_Event):
    event: Literal["resume"]


class _End(_Event):
    event: Literal["end"]
    status: Literal["FINISHED", "FAILED", "KILLED"]
    died: bool = False


_EVENTS: TypeAdapter[Any] = TypeAdapter(
    Annotated[
        _Run
        | _Params
        | _Tags
        | _Metrics
        | _System
        | _Views
        | _Dataset
        | _Datasets
        | _Artifact
        | _Model
        | _Resume
        | _End,
        Field(discriminator="event"),
    ]
)


def check_journal(contents: bytes, key: str, runs: Collection[str], where: str) -> None:
    """Check a portable journal.

    Args:
        contents: the journal.
        key: the run's key.
        runs: the keys of the bundle's runs, of which its parent is one.
        where: the bundle, for messages.

    Raises:
        TrackingError: it is not that of an ended run with this key; or it names files outside of the run's folder,
            places, times in the future, or tags that hcr does not write.
    """
    *lines, rest = contents.split(b"\n")
    events: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            event = json.loads(line)
            _EVENTS.validate_python(event)
            if json.dumps(event).encode() != line:  # the same name twice, or another spelling of the same
                raise ValueError("not as hcr writes it")
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise TrackingError(f"{where}: journal of run {key}, line {number}: {place}: {first['msg']}") from error
        except (ValueError, RecursionError) as error:
            raise TrackingError(f"{where}: journal of run {key}, line {number}: {one_line(error)}") from error
        events.append(event)
    kinds = [event["event"] for event in events]
    if rest or kinds.count("run") != 1 or kinds[0] != "run" or kinds[-1] != "end":
        raise TrackingError(f"{where}: run {key}: expected the journal of a run that has ended")
    header = events[0]
    if max(event["time_ms"] for event in events) > now_ms() + AHEAD_MS:  # `latest` would mean it for ever
        raise TrackingError(f"{where}: run {key}: expected events of the past, got one of the future")
    if header["key"] != key or header["tags"].get("hcr.key") != key or set(PLACES) & header.keys():
        raise TrackingError(f"{where}: run {key}: expected its own journal, got one of {header['key']!r}")
    if header["parent"] is not None and (header["parent"] not in runs or header["parent"] == key):
        raise TrackingError(f"{where}: run {key}: expected its parent run {header['parent']!r} beside it")
