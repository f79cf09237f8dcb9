"""The run to reproduce, read from its record alone: the installed code may not even know its config."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hcr.archives import read_sources
from hcr.config.errors import TrackingError, one_line
from hcr.config.tracking import output_root, tracking_uri
from hcr.recorded import CONFIG, Record, read_record, read_stored_record
from hcr.tracking.events import MODEL_RUN, UNBUNDLED, first_event, kind_of
from hcr.tracking.finding import look_up
from hcr.tracking.lock import is_of_this_host
from hcr.tracking.place import store_of

OVERRIDES, SOURCES, REQUIREMENTS = "config/overrides.yaml", "code/source.tar.gz", "code/requirements.txt"


@dataclass(frozen=True, kw_only=True)
class Original:
    """A finished training run.

    Attributes:
        record: its tags and numbers.
        config: its resolved config, as plain values.
        overrides: its command line.
        sources: the files of its code, as `code/source.tar.gz` names them.
        packages: the installed versions by package.
        uri: the store that has it.
        is_own: True if it was trained by this machine, by its journal: its code is the user's own.
    """

    record: Record
    config: Mapping[str, Any]
    overrides: list[str]
    sources: Mapping[str, bytes] = field(repr=False)
    packages: Mapping[str, str] = field(repr=False)
    uri: str
    is_own: bool

    @property
    def key(self) -> str:
        """The run's key."""
        return self.record.key


def read_original(name: str) -> Original:
    """The run called `name`, as `hcr.tracking.finding.look_up` takes it.

    Raises:
        TrackingError: there is no such run, it has not finished, it was not trained, or its record is incomplete.
    """
    found = look_up(output_root(), name)
    record = read_record(found) if isinstance(found, Path) else read_stored_record(found)
    _require_trained(record)
    header = first_event(found) if isinstance(found, Path) else {}
    return Original(
        record=record,
        config=_plain(record.artifacts / CONFIG),
        overrides=[str(word) for word in OmegaConf.to_container(_loaded(record.artifacts / OVERRIDES)) or ()],
        sources=read_sources(record.artifacts / SOURCES),
        packages=_versions(record.artifacts / REQUIREMENTS),
        uri=store_of(found, header) if isinstance(found, Path) else tracking_uri(None),
        is_own=isinstance(found, Path) and is_of_this_host(header) and UNBUNDLED not in header,
    )


def _require_trained(record: Record) -> None:
    kind, key = kind_of(record.tags), record.key
    if kind == "sweep":
        raise TrackingError(f"run {key} is a sweep; expected one of its runs, which `hcr runs {key}` lists")
    if kind == "ensemble":
        members = ", ".join(record.tags.get("hcr.members", "").split())
        raise TrackingError(f"run {key} is an ensemble, which is not trained; expected one of its runs ({members})")
    if kind == "evaluate":
        raise TrackingError(
            f"run {key} is an evaluation of run {record.tags.get(MODEL_RUN)}; expected a run that was trained"
        )
    if kind != "train":
        raise TrackingError(f"run {key} is one of `hcr {kind}`; expected a run that was trained")
    if record.status != "FINISHED":
        raise TrackingError(f"run {key}: expected a run that has finished, got {record.status or 'one that has not'}")


def _plain(path: Path) -> dict[str, Any]:
    values = OmegaConf.to_container(_loaded(path), resolve=False)
    if not isinstance(values, dict):
        raise TrackingError(f"{path}: expected the run's config")
    return {str(name): value for name, value in values.items()}


def _loaded(path: Path) -> DictConfig | Any:
    try:
        return OmegaConf.load(path)
    except Exception as error:  # missing or damaged: OmegaConf and YAML raise many types
        raise TrackingError(f"{path}: expected a part of the run's config ({one_line(error)})") from error


def _versions(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise TrackingError(f"{path}: expected the versions of packages ({one_line(error)})") from error
    return {name.lower(): version for name, _, version in (line.partition("==") for line in lines)}
