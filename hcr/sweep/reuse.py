"""Reasons not to reuse finished runs with a sweep's settings: another device, other threads, data or code."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from hcr.config.tracking import output_root
from hcr.evaluation.labels import counted
from hcr.gate import RunConfig
from hcr.gate.fingerprint import ADDED, NOT_DECIDING, NOT_DECIDING_OF_DATASET, code_version
from hcr.gate.run_config import as_param, flatten, to_dict
from hcr.sweep.plan import Plan, place_of
from hcr.tracking.events import read_events
from hcr.tracking.status import finished_runs

# Settings that may differ by machine alone, and what stood for them before they could be chosen.
OF_MACHINE = ("training.device", "training.threads", "training.shards")
BEFORE = {"training.device": "cpu", "training.shards": "1"}


def why_not_reused(plan: Plan, configs: Sequence[RunConfig]) -> list[str]:
    """One line for each reason not to reuse finished runs, with their number.

    Args:
        plan: gives the store and the experiment that runs are reused from.
        configs: of the runs still to be trained.
    """
    wanted = {_settings({key: as_param(v) for key, v in flatten(to_dict(cfg)).items()}): cfg for cfg in configs}
    if not wanted:
        return []
    reasons: Counter[str] = Counter()
    for folder in finished_runs(output_root(), uri=plan.uri, experiment=plan.experiment).values():
        header, params = _tags_and_params(folder)
        cfg = wanted.get(_settings(params))
        if cfg is None:
            continue
        data = plan.data.get(place_of(cfg.dataset), {}).get("digest")
        settings = _machine_of(cfg)
        before = {key: params.get(key, BEFORE.get(key)) for key in settings}
        other = next((key for key, value in settings.items() if before[key] != value), None)
        if other is not None:
            reasons[f"trained with {other}={before[other]}; this sweep uses {settings[other]}"] += 1
        elif data is not None and header.get("hcr.dataset_digest") != data:
            reasons["trained on other data"] += 1
        elif header.get("hcr.code") != code_version(cfg):
            reasons["trained with other code"] += 1
    return [f"{counted(number, 'finished run')} {reason}" for reason, number in sorted(reasons.items())]


def _machine_of(cfg: RunConfig) -> dict[str, str]:
    """The settings of a run that may differ by machine alone, as params."""
    flat = flatten(to_dict(cfg))
    return {key: as_param(flat[key]) for key in OF_MACHINE}


def _tags_and_params(folder: Path) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The initial tags and the params of the run in `folder`."""
    tags: dict[str, str] = {}
    params: dict[str, str] = {}
    for event, _ in read_events(folder):
        if event["event"] == "run":
            tags = event["tags"]
        elif event["event"] == "params":
            params |= event["values"]
    return tags, params


def _settings(params: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """The params that decide a run's results, except those of the machine."""
    places = {f"dataset.{name}" for name in NOT_DECIDING_OF_DATASET} | set(OF_MACHINE)
    added = {(f"{group}.{name}", as_param(value)) for group, keys in ADDED.items() for name, value in keys.items()}
    return frozenset(
        (key, value)
        for key, value in params.items()
        if key.partition(".")[0] not in NOT_DECIDING and key not in places and (key, value) not in added
    )
