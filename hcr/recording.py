"""Writes a training run into its journal: name, config, metrics, card, predictions and model."""

import shlex
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import keras
from omegaconf import OmegaConf

from hcr import stopping
from hcr.card import LONGEST, CardFacts, card, shortened
from hcr.config import TrackingError
from hcr.config.errors import one_line
from hcr.config.secrets import override_without_secrets, redact
from hcr.data.splitting import Splits
from hcr.gate import RunConfig
from hcr.gate.fingerprint import code_version, fingerprint
from hcr.gate.run_config import flatten, to_dict, to_yaml
from hcr.machine import this_machine
from hcr.model.fast_layers import with_keras_layers
from hcr.model_facts import point_settings, run_settings
from hcr.naming import default_name
from hcr.record import (
    COMMIT,
    PATCH,
    further_metrics,
    measured,
    num_images,
    own_tags,
    record_code,
    record_datasets,
    record_model,
    record_predictions,
    record_test_look,
    record_text,
    shown_param,
    tags_of,
    test_metrics,
    writing,
)
from hcr.tracking.events import DESCRIPTION, GPU, KIND
from hcr.tracking.journal import Journal
from hcr.training import Scores, TrainingState, gpu_in_use
from hcr.training.checkpoint import CHECKPOINT, save_checkpoint


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

    def writing(self) -> AbstractContextManager[None]:
        """A block that writes artifacts. On a full disk the run ends as FAILED, with a one-line error."""
        return writing(self._journal)

    def start(self, name: str | None, further_tags: Mapping[str, str]) -> None:
        """Begin the run: record its name and tags, the whole config, its data and its code.

        For a run resumed before its first epoch this records the same again, without effect.

        Args:
            name: the run's name in MLflow if the config has none; None: what it is made of (see `default_name`).

        Raises:
            TrackingError: the run's folder cannot be written.
        """
        cfg, journal = self._cfg, self._journal
        with self.writing():
            if not journal.is_open:
                shown = redact(cfg.tracking.run_name or name or default_name(cfg, self._overrides))
                journal.begin(name=shown, tags=self._tags(further_tags), scratch=CHECKPOINT)
            journal.params({key: shown_param(key, value) for key, value in flatten(to_dict(cfg)).items()})
            record_datasets(journal, cfg, self._splits, ("train", "val"))
            record_text(journal, "config/config.yaml", to_yaml(cfg, secrets=False))
            record_text(journal, "config/overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(self._overrides)))
            record_code(journal, cfg)
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
        record_test_look(self._journal)

    def model(self, model: keras.Model, state: TrainingState) -> None:
        """Record `model`, the one that the run keeps, before the metrics that measure it."""
        cfg, journal = self._cfg, self._journal
        is_in_sweep = journal.parent is not None
        settings = point_settings(cfg, journal.header["tags"]) if is_in_sweep else run_settings(cfg, self._overrides)
        record_model(journal, cfg, with_keras_layers(model), settings, step=state.best_epoch)

    def metrics(self, scores: Scores, *, total_s: float) -> None:
        """Record the final metrics, including those of installed packages, and test as data if it was scored."""
        metrics = {
            "best/epoch": float(scores.state.best_epoch),
            "best/val_loss": scores.best["val/loss"],
            "best/val_accuracy": scores.best["val/accuracy"],
            "time/total_s": total_s,
        }
        if scores.test is not None:
            record_datasets(self._journal, self._cfg, self._splits, ("test",))
            metrics |= test_metrics(scores.test)
        if scores.calibration is not None:
            metrics |= scores.calibration.metrics
        # As best/val_loss: before the model was calibrated.
        metrics |= further_metrics(self._splits, {**scores.probabilities, "val": scores.uncalibrated})
        of_model = measured(metrics, self._cfg, self._splits)
        self._journal.metrics(metrics, step=scores.state.epoch, of_model=of_model)

    def card(self, scores: Scores, *, total_s: float, is_drawn: bool) -> None:
        """Record the run card as the run's description; it starts with the notes, which it replaces there."""
        splits, journal = self._splits, self._journal
        facts = CardFacts(
            cfg=self._cfg,
            overrides=self._overrides,
            num_images=num_images(splits),
            dataset_digest=splits.dataset_digest,
            split_digest=splits.split_digest,
            num_params=self._model.count_params(),
            history=scores.state.history,
            best_epoch=scores.state.best_epoch,
            shown=scores.judged_by,
            evaluation=scores.evaluation,
            calibration=scores.calibration,
            total_s=total_s,
            machine=this_machine(gpu_in_use()),
            duplicates=splits.duplicates_test if scores.judged_by == "test" else splits.duplicates_val,
            data_notes=splits.data_notes,
            commit=journal.header["tags"].get(COMMIT),
            is_patched=journal.artifact(PATCH).exists(),
            tta=None
            if self._cfg.training.tta == "none"
            else (scores.state.best["val/accuracy"], scores.best["val/accuracy"]),
            undrawn_key=None if is_drawn else journal.key,
        )
        journal.tags({DESCRIPTION: card(facts)})

    def artifacts(self, scores: Scores) -> None:
        """Record predictions and reports."""
        record_predictions(self._journal, self._splits, scores.probabilities, scores.evaluation)

    def _tags(self, further_tags: Mapping[str, str]) -> dict[str, str]:
        cfg = self._cfg
        command = shlex.join(["hcr", "train", *self._overrides])
        tags = own_tags(cfg)
        tags |= tags_of(self._splits, fingerprint=self.fingerprint, code=self._code, command=command)
        tags[KIND] = "train"
        if (gpu := gpu_in_use()) is not None:
            tags[GPU] = gpu
        tags |= further_tags
        if self._journal.parent is not None:
            tags["hcr.sweep"] = self._journal.parent
        if cfg.notes is not None:
            tags[DESCRIPTION] = shortened(redact(cfg.notes), LONGEST)
        return tags
