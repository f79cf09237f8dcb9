"""Writes a run into its journal: name, config, metrics, card, predictions and model."""

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from hcr import __version__, stopping
from hcr.card import LONGEST, CardFacts, card, shortened
from hcr.config import TrackingError
from hcr.config.errors import one_line
from hcr.config.parts import extra_metrics
from hcr.config.secrets import HIDDEN, is_secret_name, override_without_secrets, redact
from hcr.data.splits.kfold import Kfold
from hcr.data.splitting import Splits, Subset
from hcr.environment import deciding_settings
from hcr.evaluation.metrics import Evaluation, classification_report, classification_report_text
from hcr.gate import RunConfig
from hcr.gate.fingerprint import code_version, extension_sources, fingerprint
from hcr.gate.run_config import as_param, flatten, image_and_classes, to_dict, to_yaml
from hcr.machine import this_machine, user_name
from hcr.model.fast_layers import with_keras_layers
from hcr.model_facts import point_settings, run_settings, what_it_reads
from hcr.sources import frozen_requirements, git_commit, git_patch, write_sources
from hcr.tracking.events import DESCRIPTION, KIND
from hcr.tracking.journal import DatasetFacts, Journal, Measured
from hcr.training import Scores, TrainingState
from hcr.training.checkpoint import CHECKPOINT, save_checkpoint

MODEL = "model"  # the artifact, and the model's name in MLflow
CONTEXTS = {"train": "training", "val": "validation", "test": "testing"}  # of data sets, in MLflow's words
SHOWN = 12  # digits of a digest on MLflow's pages
COMMIT = "mlflow.source.git.commit"
PATCH = "code/patch.diff"


class Recorder:
    """Writes one run into its journal, step by step.

    Args:
        journal: the run's journal; resumed, or begun by `start`.
        cfg: the run's config, resolved.
        splits: the run's images.
        model: the run's model; methods use its current weights.
        overrides: the arguments on the command line.

    Attributes:
        fingerprint: identifies the run by its config, data and code.
    """

    def __init__(
        self, journal: Journal, cfg: RunConfig, splits: Splits, model: keras.Model, overrides: Sequence[str] = ()
    ) -> None:
        self._journal, self._cfg, self._splits, self._model = journal, cfg, splits, model
        self._overrides = [override_without_secrets(word) for word in overrides]
        self._code = code_version(cfg)
        self.fingerprint = fingerprint(
            cfg,
            dataset_digest=splits.dataset_digest,
            split_digest=splits.split_digest,
            preparation_digest=splits.preparation_digest,
            code=self._code,
        )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A block that writes artifacts. On a full disk the run ends as FAILED, with a one-line error.

        Raises:
            TrackingError: an OSError occurred.
        """
        try:
            yield
        except OSError as error:
            raise TrackingError(
                f"{self._journal.artifacts}: cannot be written ({one_line(error)}); the run ends here"
            ) from error

    def start(self, name: str | None, further_tags: Mapping[str, str]) -> None:
        """Begin the run: record its name and tags, the whole config, its data and its code.

        For a run resumed before its first epoch this records the same again, without effect.

        Args:
            name: the run's name in MLflow if the config has none; None: data set, model, fold and seed.

        Raises:
            TrackingError: the run's folder cannot be written.
        """
        cfg, splits, journal = self._cfg, self._splits, self._journal
        with self.writing():
            if not journal.is_open:
                fold = f"-fold{cfg.split.fold}" if isinstance(cfg.split, Kfold) else ""
                default_name = f"{cfg.dataset.name}-{cfg.model.name}{fold}-seed{cfg.seed}"
                shown = redact(cfg.tracking.run_name or name or default_name)
                journal.begin(name=shown, tags=self._tags(further_tags), scratch=CHECKPOINT)
            journal.params({key: _shown(key, value) for key, value in flatten(to_dict(cfg)).items()})
            journal.datasets([dataset_facts(cfg, splits, part) for part in ("train", "val")])
            self._write_text("config/config.yaml", to_yaml(cfg, secrets=False))
            self._write_text("config/overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(self._overrides)))
            self._write_text("code/requirements.txt", frozen_requirements())
            patch = git_patch()
            if patch:
                self._write_text(PATCH, redact(patch))
            write_sources(journal.artifact("code/source.tar.gz"), extension_sources(cfg))
            journal.artifact_written("code/source.tar.gz")
            journal.metrics({"model/params": float(self._model.count_params())}, step=0)

    def epochs(self, state: TrainingState) -> None:
        """Record the metrics of every epoch, stamped with the time the epoch ended; recorded epochs are skipped."""
        for epoch, (metrics, ended_ms) in enumerate(zip(state.history, state.ended_ms, strict=True), start=1):
            self._journal.metrics(metrics, step=epoch, time_ms=ended_ms)

    def checkpoint(self, state: TrainingState) -> None:
        """Save the checkpoint of an epoch and record the epoch; a signal takes effect after both.

        Raises:
            TrackingError: the checkpoint cannot be written.
        """
        # The checkpoint first: the journal can be completed from a checkpoint, but not a checkpoint from the journal.
        folder = self._journal.folder
        with stopping.deferred():
            try:
                save_checkpoint(folder / CHECKPOINT, state, self.fingerprint)
            except OSError as error:
                raise TrackingError(f"{folder}: the checkpoint cannot be written ({one_line(error)})") from error
            self.epochs(state)

    def test_look(self) -> None:
        """Count the run's look at test before it is taken, so that an interrupted look counts too."""
        self._journal.tags({"hcr.test_looks": "1"})

    def model(self, state: TrainingState) -> None:
        """Record the model, before the metrics that measure it."""
        from hcr.tracking.keras_model import save_keras_model

        cfg, journal = self._cfg, self._journal
        save_keras_model(with_keras_layers(self._model), journal.artifact(MODEL), metadata=what_it_reads(cfg))
        is_in_sweep = journal.parent is not None
        settings = point_settings(cfg, journal.header["tags"]) if is_in_sweep else run_settings(cfg, self._overrides)
        params = {name: _shown(name, value) for name, value in settings.items()}
        journal.model(MODEL, architecture=cfg.model.name, params=params, step=state.best_epoch)

    def metrics(self, scores: Scores, *, total_s: float) -> None:
        """Record the final metrics, including those of installed packages, and test as data if it was scored."""
        state, splits = scores.state, self._splits
        metrics = {
            "best/epoch": float(state.best_epoch),
            "best/val_loss": state.best["val/loss"],
            "best/val_accuracy": state.best["val/accuracy"],
            "time/total_s": total_s,
        }
        if scores.test is not None:
            self._journal.datasets([dataset_facts(self._cfg, splits, "test")])
            metrics |= test_metrics(scores.test)
        for name, metric in extra_metrics().items():
            metrics[f"best/val_{name}"] = float(metric(scores.probabilities["val"], splits.val.labels))
            if scores.test is not None:
                metrics[f"test/{name}"] = float(metric(scores.probabilities["test"], splits.test.labels))
        self._journal.metrics(metrics, step=state.epoch, of_model=measured(metrics, self._cfg, splits))

    def card(self, scores: Scores, *, total_s: float, is_drawn: bool) -> None:
        """Record the run card as the run's description; it starts with the notes, which it replaces there."""
        splits, journal = self._splits, self._journal
        facts = CardFacts(
            cfg=self._cfg,
            overrides=self._overrides,
            num_images=self._num_images(),
            dataset_digest=splits.dataset_digest,
            split_digest=splits.split_digest,
            num_params=self._model.count_params(),
            history=scores.state.history,
            best_epoch=scores.state.best_epoch,
            shown=scores.judged_by,
            evaluation=scores.evaluation,
            total_s=total_s,
            machine=this_machine(),
            duplicates=splits.duplicates_test if scores.judged_by == "test" else splits.duplicates_val,
            data_notes=splits.data_notes,
            commit=journal.header["tags"].get(COMMIT),
            is_patched=journal.artifact(PATCH).exists(),
            undrawn_key=None if is_drawn else journal.key,
        )
        journal.tags({DESCRIPTION: card(facts)})

    def artifacts(self, scores: Scores) -> None:
        """Record predictions and reports."""
        journal = self._journal
        subsets = {"val": self._splits.val, "test": self._splits.test}
        for name, probabilities in scores.probabilities.items():
            path = f"predictions/{name}.npz"
            write_predictions(journal.artifact(path), probabilities, subsets[name])
            journal.artifact_written(path)
        report = {"scored_on": scores.judged_by} | classification_report(scores.evaluation)
        self._write_text("reports/classification_report.txt", classification_report_text(scores.evaluation))
        self._write_text("reports/classification_report.json", json.dumps(report, indent=2) + "\n")

    def _tags(self, further_tags: Mapping[str, str]) -> dict[str, str]:
        cfg, splits = self._cfg, self._splits
        tags = {name: _shown(name, value) for name, value in (cfg.tags or {}).items()} | {
            KIND: "train",
            "hcr.fingerprint": self.fingerprint,
            "hcr.dataset_digest": splits.dataset_digest,
            "hcr.split_digest": splits.split_digest,
            **({} if splits.preparation_digest is None else {"hcr.preparation_digest": splits.preparation_digest}),
            **({} if not splits.data_notes else {"hcr.data_notes": redact("; ".join(splits.data_notes))}),
            "hcr.code": self._code,
            "hcr.test_looks": "0",
            "hcr.version": __version__,
            "mlflow.source.name": shlex.join(["hcr", "train", *self._overrides]),
            "mlflow.source.type": "LOCAL",
            "mlflow.user": user_name(),
            # MLflow keeps one record of a data set for all runs of an experiment, so details of this run are tags.
            "hcr.images": json.dumps(self._num_images()),
            "hcr.dataset_source": redact(splits.source),
        }
        tags |= further_tags
        duplicates = {"hcr.duplicates_val": splits.duplicates_val, "hcr.duplicates_test": splits.duplicates_test}
        tags |= {name: str(count) for name, count in duplicates.items() if count}
        if settings := deciding_settings():
            tags["hcr.environment"] = redact(" ".join(f"{name}={value}" for name, value in settings.items()))
        if self._journal.parent is not None:
            tags["hcr.sweep"] = self._journal.parent
        if (commit := git_commit()) is not None:
            tags[COMMIT] = commit
        if cfg.notes is not None:
            tags[DESCRIPTION] = shortened(redact(cfg.notes), LONGEST)
        return tags

    def _num_images(self) -> dict[str, int]:
        return {name: len(getattr(self._splits, name)) for name in ("train", "val", "test")}

    def _write_text(self, path: str, text: str) -> None:
        self._journal.artifact(path).write_text(text, encoding="utf-8")
        self._journal.artifact_written(path)


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


def measured(metrics: Iterable[str], cfg: RunConfig, splits: Splits) -> dict[str, Measured]:
    """Those of `metrics` (public names) that measure the model, each with its data set, as for `Journal.metrics`."""
    data = {
        begin: (f"{cfg.dataset.name}/{part}", splits.part_digest(part)[:SHOWN])
        for begin, part in (("best", "val"), ("test", "test"))
    }
    begins = {name: name.partition("/")[0] for name in metrics}
    return {name: data[begin] for name, begin in begins.items() if begin in data}


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


def _shown(name: str, value: Any) -> str:
    """A value as text, with secrets redacted."""
    return HIDDEN if value is not None and is_secret_name(name) else redact(as_param(value))
