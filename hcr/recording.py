"""What a run tells its journal: who it is, what it predicted, how good that was, in numbers and reports."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from hcr import __version__
from hcr.card import LONGEST, CardFacts, card, shortened
from hcr.config import TrackingError
from hcr.config.errors import one_line
from hcr.config.parts import extra_metrics
from hcr.config.secrets import HIDDEN, is_secret_name, override_without_secrets, redact
from hcr.data.splitting import Splits
from hcr.environment import deciding_settings
from hcr.evaluation.metrics import Evaluation, classification_report, classification_report_text
from hcr.gate import RunConfig
from hcr.gate.fingerprint import code_version, extension_sources, fingerprint
from hcr.gate.run_config import as_param, flatten, to_dict, to_yaml
from hcr.machine import this_machine, user_name
from hcr.model.fast_layers import with_keras_layers
from hcr.tracking.events import DESCRIPTION
from hcr.tracking.journal import Journal
from hcr.tracking.sources import frozen_requirements, git_commit, git_patch, write_sources
from hcr.training import TrainingState
from hcr.training.checkpoint import CHECKPOINT

Probabilities = NDArray[np.float32]

COMMIT = "mlflow.source.git.commit"
PATCH = "code/patch.diff"


@contextmanager
def disk_of(journal: Journal) -> Iterator[None]:
    """What is written inside, artifacts above all, may find the disk full: one line, and the run ends as FAILED.

    Raises:
        TrackingError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise TrackingError(f"{journal.artifacts}: cannot be written ({one_line(error)}); the run ends here") from error


def fingerprint_of(cfg: RunConfig, splits: Splits) -> str:
    """The fingerprint of the run that `cfg` asks for on these images."""
    digests = {"dataset_digest": splits.dataset_digest, "split_digest": splits.split_digest}
    return fingerprint(cfg, **digests, code=code_version(cfg))


def record_start(
    journal: Journal,
    cfg: RunConfig,
    splits: Splits,
    model: keras.Model,
    name: str | None,
    overrides: Sequence[str],
    identity: str,
    further_tags: Mapping[str, str],
) -> None:
    """Open the run, whose fingerprint is `identity`: its name and tags, the whole config, its data and its code.

    A resumed run is open already; what it had told is told again, which changes nothing.
    """
    given = [override_without_secrets(word) for word in overrides]
    tags = {name: _shown(name, value) for name, value in (cfg.tags or {}).items()} | {
        "hcr.fingerprint": identity,
        "hcr.dataset_digest": splits.dataset_digest,
        "hcr.split_digest": splits.split_digest,
        "hcr.code": code_version(cfg),
        "hcr.test_looks": "0",
        "hcr.version": __version__,
        "mlflow.source.name": shlex.join(["hcr", "train", *given]),
        "mlflow.source.type": "LOCAL",
        "mlflow.user": user_name(),
    }
    counts = {"train": len(splits.train), "val": len(splits.val), "test": len(splits.test)}
    # MLflow keeps the first record of a data set for all runs of an experiment: what is this run's own is a tag.
    tags |= {"hcr.images": json.dumps(counts), "hcr.dataset_source": redact(splits.source)}
    tags |= further_tags
    duplicates = {"hcr.duplicates_val": splits.duplicates_val, "hcr.duplicates_test": splits.duplicates_test}
    tags |= {name: str(count) for name, count in duplicates.items() if count}
    commit = git_commit()
    settings = deciding_settings()
    if settings:
        tags["hcr.environment"] = redact(" ".join(f"{name}={value}" for name, value in settings.items()))
    if journal.parent is not None:
        tags["hcr.sweep"] = journal.parent
    if commit is not None:
        tags[COMMIT] = commit
    if cfg.notes is not None:
        tags[DESCRIPTION] = shortened(redact(cfg.notes), LONGEST)
    default_name = f"{cfg.dataset.name}-{cfg.model.name}-seed{cfg.seed}"
    if not journal.is_open:
        shown = redact(cfg.tracking.run_name or name or default_name)
        journal.begin(name=shown, tags=tags, scratch=CHECKPOINT)
    journal.params({key: _shown(key, value) for key, value in flatten(to_dict(cfg)).items()})
    journal.dataset(
        name=cfg.dataset.name,
        digest=splits.dataset_digest,
        source=splits.source,
        schema={"image_shape": list(cfg.dataset.image_shape), "dtype": "uint8", "num_classes": cfg.dataset.num_classes},
        profile={"images": sum(counts.values()), "classes": cfg.dataset.num_classes},
    )
    _write(journal, "config/config.yaml", to_yaml(cfg, secrets=False))
    _write(journal, "config/overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(given)))
    _write(journal, "code/requirements.txt", frozen_requirements())
    patch = git_patch()
    if patch:
        _write(journal, PATCH, redact(patch))
    write_sources(journal.artifact("code/source.tar.gz"), extension_sources(cfg))
    journal.artifact_written("code/source.tar.gz")
    journal.metrics({"model/params": float(model.count_params())}, step=0)


def record_epochs(journal: Journal, state: TrainingState) -> None:
    """The metrics of every epoch that the journal has not been told of; each is stamped with its own end."""
    for epoch, (metrics, ended_ms) in enumerate(zip(state.history, state.ended_ms, strict=True), start=1):
        journal.metrics(metrics, step=epoch, time_ms=ended_ms)


def record_artifacts(
    journal: Journal,
    model: keras.Model,
    splits: Splits,
    probabilities: Mapping[str, Probabilities],
    evaluations: Mapping[str, Evaluation | None],
) -> None:
    """Predictions, reports and the model."""
    from hcr.tracking.keras_model import save_keras_model

    subsets = {"val": splits.val, "test": splits.test}
    for name, values in probabilities.items():
        subset = subsets[name]
        path = journal.artifact(f"predictions/{name}.npz")
        np.savez(path, probabilities=values, labels=subset.labels, index=subset.index)
        journal.artifact_written(f"predictions/{name}.npz")
    # What is shown of a run is what it is judged by: test where it was scored, else validation.
    shown = "test" if evaluations["test"] is not None else "val"
    evaluation = evaluations[shown]
    assert evaluation is not None
    report = {"scored_on": shown} | classification_report(evaluation)
    _write(journal, "reports/classification_report.txt", classification_report_text(evaluation))
    _write(journal, "reports/classification_report.json", json.dumps(report, indent=2) + "\n")
    save_keras_model(with_keras_layers(model), journal.artifact("model"))
    journal.artifact_written("model")


def record_metrics(
    journal: Journal,
    splits: Splits,
    state: TrainingState,
    probabilities: Mapping[str, Probabilities],
    test: Evaluation | None,
    *,
    total_s: float,
) -> None:
    """The numbers at the end, by their public names, and those of installed packages behind theirs."""
    metrics = {
        "best/epoch": float(state.best_epoch),
        "best/val_loss": state.best["val/loss"],
        "best/val_accuracy": state.best["val/accuracy"],
        "time/total_s": total_s,
    }
    if test is not None:
        metrics |= test_metrics(test)
    for name, metric in extra_metrics().items():
        metrics[f"best/val_{name}"] = float(metric(probabilities["val"], splits.val.labels))
        if test is not None:
            metrics[f"test/{name}"] = float(metric(probabilities["test"], splits.test.labels))
    journal.metrics(metrics, step=state.epoch)


def test_metrics(test: Evaluation) -> dict[str, float]:
    """What is measured on test, by its public names."""
    return {
        "test/loss": test.loss,
        "test/accuracy": test.accuracy,
        "test/top2_accuracy": test.top2_accuracy,
        "test/macro_f1": test.macro_f1,
        "test/ece": test.ece,
    }


def record_card(
    journal: Journal,
    cfg: RunConfig,
    splits: Splits,
    model: keras.Model,
    state: TrainingState,
    evaluations: Mapping[str, Evaluation | None],
    overrides: Sequence[str],
    *,
    total_s: float,
    is_drawn: bool,
) -> None:
    """The run card, as the run's description in MLflow: it replaces the notes there, and begins with them."""
    shown = "test" if evaluations["test"] is not None else "val"
    evaluation = evaluations[shown]
    assert evaluation is not None
    facts = CardFacts(
        cfg=cfg,
        overrides=[override_without_secrets(word) for word in overrides],
        num_images={"train": len(splits.train), "val": len(splits.val), "test": len(splits.test)},
        dataset_digest=splits.dataset_digest,
        split_digest=splits.split_digest,
        num_params=model.count_params(),
        history=state.history,
        best_epoch=state.best_epoch,
        shown=shown,
        evaluation=evaluation,
        total_s=total_s,
        machine=this_machine(),
        duplicates=splits.duplicates_test if shown == "test" else splits.duplicates_val,
        data_note=splits.data_note,
        commit=journal.header["tags"].get(COMMIT),
        is_patched=journal.artifact(PATCH).exists(),
        undrawn_key=None if is_drawn else journal.key,
    )
    journal.tags({DESCRIPTION: card(facts)})


def _shown(name: str, value: Any) -> str:
    """A value as it may be recorded: nothing of a secret."""
    return HIDDEN if value is not None and is_secret_name(name) else redact(as_param(value))


def _write(journal: Journal, path: str, text: str) -> None:
    journal.artifact(path).write_text(text, encoding="utf-8")
    journal.artifact_written(path)
