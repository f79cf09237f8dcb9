"""What every run with a model has in its record: its data, its code, predictions, reports and the model."""

import json
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hcr import __version__
from hcr.config import TrackingError
from hcr.config.errors import one_line
from hcr.config.parts import extra_metrics
from hcr.config.secrets import HIDDEN, is_secret_name, redact
from hcr.data.splitting import Splits, Subset
from hcr.environment import deciding_settings, settings_text
from hcr.evaluation.metrics import Evaluation, classification_report, classification_report_text
from hcr.gate import RunConfig
from hcr.gate.fingerprint import extension_sources
from hcr.gate.run_config import as_param, image_and_classes
from hcr.machine import machine_text, this_machine, user_name
from hcr.model_facts import what_it_reads
from hcr.sources import frozen_requirements, git_commit, git_patch, write_sources
from hcr.tracking.events import read_events
from hcr.tracking.journal import DatasetFacts, Journal, Measured

if TYPE_CHECKING:
    import keras

COMMIT = "mlflow.source.git.commit"
PATCH = "code/patch.diff"
MODEL = "model"  # the artifact, and the model's name in MLflow
CONTEXTS = {"train": "training", "val": "validation", "test": "testing"}  # of data sets, in MLflow's words
SHOWN = 12  # digits of a digest on MLflow's pages
PARTS = tuple(CONTEXTS)


@contextmanager
def writing(journal: Journal) -> Iterator[None]:
    """A block that writes artifacts. On a full disk the run ends as FAILED, with a one-line error.

    Raises:
        TrackingError: an OSError occurred.
    """
    try:
        yield
    except OSError as error:
        raise TrackingError(f"{journal.artifacts}: cannot be written ({one_line(error)}); the run ends here") from error


def tags_of(splits: Splits, *, fingerprint: str, code: str, command: str) -> dict[str, str]:
    """The tags that every run with a model begins with: its data, its code, and where it comes from.

    Args:
        fingerprint: identifies the run.
        code: the code version.
        command: the command line, without secrets.
    """
    tags = {
        "hcr.fingerprint": fingerprint,
        "hcr.dataset_digest": splits.dataset_digest,
        "hcr.split_digest": splits.split_digest,
        **({} if splits.preparation_digest is None else {"hcr.preparation_digest": splits.preparation_digest}),
        **({} if not splits.data_notes else {"hcr.data_notes": redact("; ".join(splits.data_notes))}),
        "hcr.code": code,
        "hcr.test_looks": "0",
        **source_tags(command),
        # MLflow keeps one record of a data set for all runs of an experiment, so details of this run are tags.
        "hcr.images": json.dumps(num_images(splits)),
        "hcr.dataset_source": redact(splits.source),
    }
    duplicates = {"hcr.duplicates_val": splits.duplicates_val, "hcr.duplicates_test": splits.duplicates_test}
    tags |= {name: str(count) for name, count in duplicates.items() if count}
    if (commit := git_commit()) is not None:
        tags[COMMIT] = commit
    return tags


def source_tags(command: str) -> dict[str, str]:
    """The tags of any run: its command line, without secrets, its user, and the software and environment it ran in."""
    tags = {
        "hcr.version": __version__,
        "hcr.python": platform.python_version(),
        "hcr.machine": machine_text(this_machine()),
        "mlflow.source.name": command,
        "mlflow.source.type": "LOCAL",
        "mlflow.user": user_name(),
    }
    if settings := deciding_settings():
        tags["hcr.environment"] = redact(settings_text(settings))
    return tags


def own_tags(cfg: RunConfig) -> dict[str, str]:
    """The user's own tags, with secrets redacted."""
    return {name: shown_param(name, value) for name, value in (cfg.tags or {}).items()}


def num_images(splits: Splits) -> dict[str, int]:
    """The number of images of each of PARTS."""
    return {name: len(getattr(splits, name)) for name in PARTS}


def record_datasets(journal: Journal, cfg: RunConfig, splits: Splits, parts: Sequence[str]) -> None:
    """Record each of `parts` ("train", "val", "test") as a data set of its own, such as digits/val."""
    journal.datasets([dataset_facts(cfg, splits, part) for part in parts])


def measured(metrics: Iterable[str], cfg: RunConfig, splits: Splits) -> dict[str, Measured]:
    """Those of `metrics` (public names) that measure the model, each with its data set, as for `Journal.metrics`."""
    data = {
        begin: (f"{cfg.dataset.name}/{part}", splits.part_digest(part)[:SHOWN])
        for begin, part in (("best", "val"), ("test", "test"))
    }
    begins = {name: name.partition("/")[0] for name in metrics}
    return {name: data[begin] for name, begin in begins.items() if begin in data}


def record_code(journal: Journal, cfg: RunConfig) -> None:
    """Record the installed versions, the sources, and their difference from the commit."""
    record_text(journal, "code/requirements.txt", frozen_requirements())
    patch = git_patch()
    if patch:
        record_text(journal, PATCH, redact(patch))
    write_sources(journal.artifact("code/source.tar.gz"), extension_sources(cfg))
    journal.artifact_written("code/source.tar.gz")


def record_test_look(journal: Journal) -> None:
    """Count the run's look at test before it is taken, so that an interrupted look counts too."""
    looks = [
        int(event["values"].get("hcr.test_looks", 0))
        for event, _ in read_events(journal.folder)
        if event["event"] == "tags"
    ]
    journal.tags({"hcr.test_looks": str(1 + max(looks, default=0))})


def record_predictions(
    journal: Journal, splits: Splits, probabilities: Mapping[str, NDArray[np.float32]], evaluation: Evaluation
) -> None:
    """Record predictions and the classification report.

    Args:
        probabilities: (N, K), for "val", and for "test" if it was scored.
        evaluation: the metrics of "test" if it was scored, else of "val".
    """
    for name, of_part in probabilities.items():
        path = f"predictions/{name}.npz"
        write_predictions(journal.artifact(path), of_part, getattr(splits, name))
        journal.artifact_written(path)
    record_report(journal, evaluation, scored_on="test" if "test" in probabilities else "val")


def record_report(journal: Journal, evaluation: Evaluation, *, scored_on: str) -> None:
    """Record the classification report as text and as JSON."""
    report = {"scored_on": scored_on} | classification_report(evaluation)
    record_text(journal, "reports/classification_report.txt", classification_report_text(evaluation))
    record_text(journal, "reports/classification_report.json", json.dumps(report, indent=2) + "\n")


def record_model(
    journal: Journal, cfg: RunConfig, model: "keras.Model", settings: Mapping[str, Any], *, step: int
) -> None:
    """Record a model of Keras' own layers, as MLflow lists, loads and serves it.

    Args:
        settings: what MLflow shows with the model.
        step: the epoch of its weights.
    """
    from hcr.tracking.keras_model import save_keras_model

    save_keras_model(model, journal.artifact(MODEL), metadata=what_it_reads(cfg))
    params = {name: shown_param(name, value) for name, value in settings.items()}
    journal.model(MODEL, architecture=cfg.model.name, params=params, step=step)


def record_text(journal: Journal, path: str, text: str) -> None:
    """Record the artifact `path`, a text file."""
    journal.artifact(path).write_text(text, encoding="utf-8")
    journal.artifact_written(path)


def write_predictions(path: Path, probabilities: NDArray[np.float32], subset: Subset) -> None:
    """Write predictions: `probabilities` (N, K), and `labels`, `index` and, if there are groups, `groups` (N,)."""
    arrays: dict[str, Any] = {"probabilities": probabilities, "labels": subset.labels, "index": subset.index}
    np.savez(path, **arrays | ({} if subset.groups is None else {"groups": subset.groups}))


def test_metrics(test: Evaluation) -> dict[str, float]:
    """The test metrics, by their public names."""
    return {
        "test/loss": test.loss,
        "test/accuracy": test.accuracy,
        "test/top2_accuracy": test.top2_accuracy,
        "test/macro_f1": test.macro_f1,
        "test/ece": test.ece,
    }


def further_metrics(splits: Splits, probabilities: Mapping[str, NDArray[np.float32]]) -> dict[str, float]:
    """The metrics of installed packages, by their public names; `probabilities` as in `record_predictions`."""
    prefixes = {"val": "best/val_", "test": "test/"}
    found: dict[str, float] = {}
    for part, of_part in probabilities.items():
        found |= package_metrics(prefixes[part], of_part, getattr(splits, part).labels)
    return found


def package_metrics(prefix: str, probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    """The metrics of installed packages, each named `prefix` and its name."""
    return {f"{prefix}{name}": float(metric(probabilities, labels)) for name, metric in extra_metrics().items()}


def dataset_facts(cfg: RunConfig, splits: Splits, part: str) -> DatasetFacts:
    """The images of "train", "val" or "test" as a data set of its own, such as digits/val."""
    shape, num_classes = image_and_classes(cfg)
    return DatasetFacts(
        name=f"{cfg.dataset.name}/{part}",
        digest=splits.part_digest(part)[:SHOWN],
        source=splits.source,
        schema={"image_shape": list(shape), "dtype": "uint8", "num_classes": num_classes},
        profile={"images": len(getattr(splits, part)), "classes": num_classes},
        context=CONTEXTS[part],
    )


def shown_param(name: str, value: Any) -> str:
    """A value as MLflow shows it, with secrets redacted."""
    return HIDDEN if value is not None and is_secret_name(name) else redact(as_param(value))
