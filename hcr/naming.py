"""The default name of a run: its data set, its model, and what its command changed."""

from collections.abc import Sequence

from hcr.data.splits.kfold import Kfold
from hcr.evaluation.labels import short_names
from hcr.gate import RunConfig

LONGEST = 120  # characters
SHORT = {"learning_rate": "lr"}
GROUPS = ("experiment", "split", "augmentation", "optimizer", "schedule", "training")  # their choice names itself
# What is shown anyway, or says nothing about the model.
LEFT_OUT = ("dataset", "model", "seed", "split.fold", "resume", "new_run", "score_test", "check_only")
BEGIN_OF_LEFT_OUT = ("notes", "tags", "tracking", "launcher", "sweep", "hydra", "training.threads", "dataset.path")


def default_name(cfg: RunConfig, overrides: Sequence[str]) -> str:
    """A name such as "mnist cnn sgd depth=3 lr=0.01 seed=1", at most LONGEST characters.

    Args:
        cfg: the run's config.
        overrides: the arguments of `hcr train`, without secrets.
    """
    changed: dict[str, str] = {}
    for word in overrides:
        key, equals, value = word.lstrip("+").partition("=")
        if equals and key not in LEFT_OUT and not key.startswith(BEGIN_OF_LEFT_OUT):
            changed[key] = value
    chosen = [value for key, value in changed.items() if key in GROUPS]
    keys = [key for key in changed if key not in GROUPS]
    names = {key: SHORT.get(name, name) for key, name in short_names(keys).items()}
    settings = [f"{names[key]}={changed[key]}" for key in keys]
    last = [*([f"fold={cfg.split.fold}"] if isinstance(cfg.split, Kfold) else []), f"seed={cfg.seed}"]
    text = " ".join([cfg.dataset.name, cfg.model.name, *chosen, *settings])
    rest = " ".join(last)
    room = LONGEST - len(rest) - 1
    return f"{text if len(text) <= room else text[: room - 1] + '…'} {rest}"
