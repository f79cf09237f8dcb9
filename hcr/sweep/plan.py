"""The plan of a sweep: all its runs, frozen before the first one starts.

    <output root>/sweeps/<id>/
        plan.json          the `Plan`
        trials/<number>/   a trial (see `trial`)
        lock               held by the controller

The id is a digest of what is planned, independent of time and code, so the same command finds its sweep again.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from hcr.config import ConfigError
from hcr.config.errors import one_line
from hcr.config.replicates import REPLICATE_KEYS, Replicate, point_words
from hcr.data.formats import DataFormat
from hcr.gate import RunConfig
from hcr.gate.fingerprint import code_sources, deciding_config, without_added
from hcr.gate.points import AskedRun, Space
from hcr.gate.run_config import MONITORS, RUN_GROUPS, parse_resolved, to_dict
from hcr.recorded_sweep import BASE_CONFIG

T = TypeVar("T")

PLAN, TRIALS = "plan.json", "trials"
ID_LENGTH = 12  # hex digits: enough to tell the sweeps of one output root apart
PLACE_LENGTH = 12  # hex digits: enough to tell the data sets of one sweep apart
NO_PLACE = ("class_names", "url", "sha256")  # settings of a data set that do not select images


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run of a sweep.

    Attributes:
        number: its position in the plan, from 0.
        overrides: its differences from the base config, as Hydra overrides.
        values: by axis, without seed and fold.
        point: the number of its point, from 0.
        seed: the run's.
        config: the resolved config, as plain values.
        phase: "grid", "search", or "confirm" for a run that confirms a winner.
    """

    number: int
    overrides: tuple[str, ...]
    values: dict[str, Any]
    point: int
    seed: int
    config: dict[str, Any]
    phase: str = "grid"

    @property
    def label(self) -> str:
        """Its name on the screen and in MLflow: all overrides."""
        return " ".join(self.overrides) or BASE_CONFIG

    @property
    def point_label(self) -> str:
        """The name of its point: the overrides without seed and fold."""
        return " ".join(point_words(self.overrides)) or BASE_CONFIG

    @property
    def num_folds(self) -> int | None:
        """The number of folds of the cross-validation that it is a part of; None: no cross-validation."""
        split = self.config.get("split", {})
        return int(split["folds"]) if "folds" in split and "fold" in split else None

    @property
    def replicate(self) -> Replicate:
        """Its seed and, in a cross-validation, its fold."""
        return Replicate(self.seed, None if self.num_folds is None else int(self.config["split"]["fold"]))

    @property
    def cfg(self) -> RunConfig:
        """The checked config."""
        return parse_resolved(json.loads(json.dumps(self.config)))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A frozen sweep.

    Attributes:
        id: a digest of the rest, without `code` and settings that only affect speed.
        name: shown in MLflow.
        command: the overrides of the command line.
        fixed: the overrides that all runs share.
        axes: the keys that vary, without seed and fold.
        base: their values in the base config.
        runs: all runs of a grid; empty for a search, which proposes its runs one at a time.
        space: the base config and its axes (see `Space.to_json`).
        monitor: the metric that points are compared by.
        seed: of the search or the sample.
        uri, experiment: the store.
        workers: runs at a time; None: as many as the launcher has room for.
        threads: of each run.
        code: SHA-256 by file of the sources that affect results, and versions by library.
        data: for each data set, by `place_of`: the "source" it was read from and the "digest" of its images and labels.
        sweep: the sweep's config, as plain values.
        is_mixed: True if it was resumed after the code changed.
        parents: keys of the parent run: the current one last, after those that were deleted in MLflow.
    """

    id: str
    name: str
    command: tuple[str, ...]
    axes: tuple[str, ...]
    base: dict[str, Any]
    runs: tuple[PlannedRun, ...]
    space: dict[str, Any]
    monitor: str
    seed: int
    uri: str
    experiment: str
    workers: int | None
    threads: int
    code: dict[str, str]
    sweep: dict[str, Any]
    is_mixed: bool = False
    fixed: tuple[str, ...] = ()
    data: dict[str, dict[str, str]] = field(default_factory=dict)
    parents: tuple[str, ...] = ()

    @property
    def higher_is_better(self) -> bool:
        """True if higher values of the monitored metric are better."""
        return MONITORS[self.monitor]

    @property
    def is_search(self) -> bool:
        """True if its points are proposed one at a time, by a sampler."""
        return bool(self.sweep["sampler"] != "grid")


def make_plan(
    runs: Sequence[AskedRun],
    space: Space,
    *,
    command: Sequence[str],
    name: str,
    uri: str,
    base: RunConfig,
    workers: int | None,
    threads: int,
    data: Mapping[str, dict[str, str]] | None = None,
) -> Plan:
    """Freeze a sweep.

    Args:
        runs: all runs of a grid; empty for a search.
        space: the space that the command line spans.
        base: a config of the sweep, for the settings that its runs share.
        workers, threads: runs at a time, and threads of each.
        data: see `Plan.data`.
    """
    sweep = space.sweep
    points: dict[tuple[tuple[str, str], ...], int] = {}
    planned: list[PlannedRun] = []
    for run in runs:
        point = points.setdefault(run.point, len(points))
        values = {key: value for key, value in run.values.items() if key not in REPLICATE_KEYS}
        planned.append(
            PlannedRun(
                number=len(planned),
                overrides=run.overrides,
                values=values,
                point=point,
                seed=run.cfg.seed,
                config=frozen_config(run.cfg, space, threads),
            )
        )
    kept = {"sampler", "design", "sample"}
    kept |= {name for name in sweep.model_dump() if name.startswith("pruner")} if sweep.is_search else set()
    identity = {
        "runs": sorted(digest(_identity(run.cfg, space)) for run in runs),
        "base": _identity(base, space) if sweep.is_search else None,
        "axes": sorted(digest(_in_order(axis.to_json())) for axis in space.axes),
        "sweep": {name: value for name, value in sweep.model_dump().items() if name in kept},
        "store": [uri, base.tracking.experiment_name],
    }
    code: dict[str, str] = {}
    for cfg in {_kinds(run.cfg): run.cfg for run in runs}.values() if runs else [base]:
        code |= code_sources(cfg)
    return Plan(
        id=digest(identity)[:ID_LENGTH],
        name=name,
        command=tuple(command),
        axes=tuple(axis.key for axis in space.axes if axis.key not in REPLICATE_KEYS),
        base={key: value for key, value in space.base_values().items() if key not in REPLICATE_KEYS},
        runs=tuple(planned),
        space=space.to_json(),
        monitor=base.monitor,
        seed=base.seed,
        uri=uri,
        experiment=base.tracking.experiment_name,
        workers=workers,
        threads=threads,
        code=code,
        sweep=sweep.model_dump(),
        fixed=space.fixed,
        data=dict(data or {}),
    )


def frozen_config(cfg: RunConfig, space: Space, threads: int) -> dict[str, Any]:
    """The resolved config of one run of a sweep.

    It gets the sweep's threads, unless threads are an axis. `resume=never` starts the sweep over, not each run: an
    interrupted run of the new sweep still resumes.
    """
    config = to_dict(cfg)
    if cfg.resume == "never":
        config |= {"resume": "auto", "new_run": True}
    return config if space.has_own_threads else with_threads(config, threads)


def with_threads(config: Mapping[str, Any], threads: int) -> dict[str, Any]:
    """A copy of a resolved config with `threads` threads."""
    return {**config, "training": {**config["training"], "threads": threads}}


def write_plan(folder: Path, plan: Plan) -> None:
    """Write `plan.json` atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / (PLAN + ".new")
    with new.open("w", encoding="utf-8") as file:
        json.dump(asdict(plan), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    new.replace(folder / PLAN)


def read_plan(folder: Path) -> Plan | None:
    """The plan in a sweep's folder, including plans of earlier versions; None if there is none.

    Raises:
        ConfigError: the plan is damaged.
    """
    try:
        values = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        values["runs"] = tuple(
            _known(PlannedRun, {**run, "overrides": tuple(run["overrides"])}) for run in values["runs"]
        )
        tuples = {name: tuple(values[name]) for name in ("command", "axes", "fixed", "parents") if name in values}
        plan = _known(Plan, values | tuples)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{folder / PLAN}: expected the plan of a sweep ({one_line(error)})") from error
    if not plan.parents:
        with contextlib.suppress(OSError):  # earlier versions kept it here
            parent = (folder / "parent.txt").read_text(encoding="utf-8").strip()
            return replace(plan, parents=(parent,))
    return plan


def _known(kind: type[T], values: Mapping[str, Any]) -> T:
    """A `kind` made of `values`, without fields that only earlier versions had."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in values.items() if name in names})


def changed_code(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The sources and libraries that were changed, added or removed."""
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def told_changes(changed: Sequence[str]) -> str:
    """The message that refuses to resume a sweep whose code changed."""
    shown = ", ".join(changed[:10]) + (f" and {len(changed) - 10} more" if len(changed) > 10 else "")
    return (
        f"sweep: the code changed since this sweep started: {shown};"
        " sweep.allow_code_change=true resumes and marks the results as mixed, resume=never starts over"
    )


def place_of(dataset: DataFormat) -> str:
    """An id of a data set's location: a digest of the settings that select its images, not of the images."""
    settings = without_added("dataset", vars(dataset))
    return digest({key: value for key, value in settings.items() if key not in NO_PLACE})[:PLACE_LENGTH]


def digest(value: Any) -> str:
    """SHA-256 of plain values, in hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _in_order(axis: dict[str, Any]) -> dict[str, Any]:
    """An axis with its choices sorted."""
    return {**axis, "choices": sorted(map(repr, axis["choices"]))}


def _kinds(cfg: RunConfig) -> tuple[type, ...]:
    """The classes of a run's parts, which tell which installed packages it uses."""
    return tuple(type(getattr(cfg, group)) for group in RUN_GROUPS)


def _identity(cfg: RunConfig, space: Space) -> dict[str, Any]:
    """The settings that decide a run's results, and its data's location; without threads chosen by the machine."""
    values = deciding_config(cfg) | {"place": place_of(cfg.dataset)}
    return values if space.has_own_threads else with_threads(values, 0)
