"""`check_only=true`, a dry run: everything except training."""

from rich.table import Table

from hcr.config.text import printable
from hcr.console import PlainConsole
from hcr.data.splitting import load_splits
from hcr.gate import RunConfig
from hcr.gate.run_config import to_dict
from hcr.training import configure_threads, require_device
from hcr.training.build import build
from hcr.training.loop import steps_per_epoch


def print_check(cfg: RunConfig, console: PlainConsole | None = None) -> None:
    """Load the data, build the model, and print what would run.

    Raises:
        DataError: as in the run.
    """
    console = console or PlainConsole()
    require_device(cfg.training)
    configure_threads(cfg.training)
    splits = load_splits(cfg.dataset, cfg.split, cfg.seed)
    model, _ = build(cfg, len(splits.train))

    layers = Table("layer", "kind", "output")
    layers.add_column("parameters", justify="right")
    for layer in model.layers:
        shape = "x".join("N" if size is None else str(size) for size in layer.output.shape)
        layers.add_row(layer.name, type(layer).__name__, shape, f"{layer.count_params():,}")
    layers.add_section()
    layers.add_row("total", "", "", f"{model.count_params():,}")
    console.print(f"model {cfg.model.name}")
    console.print_table(layers)

    images = Table("split")
    images.add_column("images", justify="right")
    for name, subset in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        images.add_row(name, f"{len(subset):,}")
    console.print(printable(f"data set {cfg.dataset.name}, split {cfg.split.name}"))
    console.print_table(images)
    for note in splits.notes:
        console.print(printable(f"note: {note}"))

    steps = steps_per_epoch(len(splits.train), cfg.training)
    values = to_dict(cfg)
    console.say(f"optimizer {_settings(values['optimizer'])}; schedule {_settings(values['schedule'])}")
    console.say(
        f"at most {cfg.training.epochs} epochs of {steps} steps of {cfg.training.batch_size} images,"
        f" {'best epoch by ' + cfg.monitor if cfg.training.keep == 'best' else 'the last epoch is kept'},"
        f" {cfg.training.num_threads} threads{' and a GPU' * (cfg.training.device == 'gpu')}, seed {cfg.seed}"
    )
    console.say("the config is valid; nothing was trained (check_only=true)")


def _settings(values: dict[str, object]) -> str:
    rest = ", ".join(f"{key} {value}" for key, value in values.items() if key != "name")
    return f"{values['name']} ({rest})" if rest else str(values["name"])
