"""What a config leaves to where it runs, decided before anything is recorded."""

import sys

from hcr.config.training import has_bfloat16
from hcr.gate.run_config import RunConfig


def resolve(cfg: RunConfig, *, in_sweep: bool) -> RunConfig:
    """The config that is run and recorded.

    Test is scored by single runs and not by those of a sweep, unless the config says so: they are there to be chosen
    from, and nothing is chosen by test. bfloat16 becomes float32, with a warning, on a CPU that lacks it.
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
