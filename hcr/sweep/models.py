"""The models of a sweep, built once each before any of its runs."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hcr.config import ConfigError, HcrError, RunConfig
from hcr.config.gate import to_dict
from hcr.sweep.controller import Controller
from hcr.sweep.plan import Plan
from hcr.sweep.trial import BUILDING, RESULT, TASK, told_by


def parts_of(cfg: RunConfig) -> str:
    """What a model and its optimizer are built from: equal texts, equal models."""
    training = replace(cfg.training, threads=1)
    parts = (cfg.model, cfg.optimizer, cfg.schedule, training, cfg.dataset.image_shape, cfg.dataset.num_classes)
    return repr(parts)


def check_models(controller: Controller, folder: Path, plan: Plan, configs: Sequence[RunConfig]) -> dict[str, int]:
    """Build the model and the optimizer of every config once, in a process of its own; parameters by `parts_of`.

    Raises:
        ConfigError: one that cannot be built; names its combination.
    """
    different = {parts_of(cfg): cfg for cfg in configs}
    if not different:
        return {}
    task = folder / "check"
    task.mkdir(exist_ok=True)
    (task / RESULT).unlink(missing_ok=True)
    values = [to_dict(cfg) for cfg in different.values()]
    (task / TASK).write_text(
        json.dumps({"task": BUILDING, "num_train": 1000, "threads": plan.threads, "configs": values}), encoding="utf-8"
    )
    result = controller.task(task)
    if result is None or result["status"] == "failed":
        raise HcrError(f"models cannot be built here: {told_by(task, result)}")
    if result["status"] == "refused":
        bad = list(different)[result["index"]]
        overrides = next((run.overrides for run in plan.runs if parts_of(run.cfg) == bad), ())
        raise ConfigError(f"{result['error']} (in the combination {' '.join(overrides)})")
    return dict(zip(different, result["num_params"], strict=True))
