"""Resolves the settings that depend on where a run is trained, before anything is recorded."""

import sys

from hcr.config.training import has_bfloat16
from hcr.gate.run_config import RunConfig


def resolve(cfg: RunConfig, *, in_sweep: bool) -> RunConfig:
    """The config to run and record.

    By default single runs score test; runs of a sweep do not, since the best of them is chosen and test must not
    influence a choice. bfloat16 becomes float32, with a warning, on a CPU without it.
    """
    if cfg.score_test is None:
        cfg = cfg.replace(score_test=not in_sweep)
    if cfg.training.precision == "bfloat16" and not has_bfloat16():
        print(
            "hcr: warning: training.precision=bfloat16 is far slower than float32 on this CPU, which lacks AVX512-BF16"
            " and AMX; training in float32",
            file=sys.stderr,
        )
        cfg = cfg.replace(training=cfg.training.replace(precision="float32"))
    return cfg
