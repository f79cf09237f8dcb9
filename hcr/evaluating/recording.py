"""Writes an evaluation into its journal: what was evaluated, metrics, card, predictions, reports and pictures."""

import json
import shlex
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from hcr.card import LONGEST, shortened
from hcr.config.secrets import override_without_secrets, redact
from hcr.drawing import draw, prediction_pictures
from hcr.evaluating.asked import Asked
from hcr.evaluating.card import EvaluationFacts, evaluation_card
from hcr.evaluating.images import EvaluatedImages
from hcr.evaluation.metrics import Evaluation
from hcr.gate.run_config import flatten, to_dict, to_yaml
from hcr.record import (
    own_tags,
    package_metrics,
    record_report,
    record_text,
    shown_param,
    source_tags,
    test_metrics,
    write_predictions,
    writing,
)
from hcr.recorded import CONFIG, RecordedRun
from hcr.tracking.events import DESCRIPTION, KIND, MODEL_RUN
from hcr.tracking.journal import DatasetFacts, Journal
from hcr.tracking.status import read_position

PREDICTIONS = "predictions/test.npz"
USED = ("dataset", "split", "seed")  # of the config: what decides which images are evaluated


class EvaluationRecorder:
    """Writes one evaluation into its journal, step by step.

    Args:
        journal: not begun yet.
        run: the model's run.
        asked: the request.
        seen: the images.
        look: the number of this look at them; None: it could not be counted.
    """

    def __init__(
        self, journal: Journal, run: RecordedRun, asked: Asked, seen: EvaluatedImages, look: int | None
    ) -> None:
        self._journal, self._run, self._seen, self._cfg, self._look = journal, run, seen, seen.cfg, look
        self._overrides = [override_without_secrets(word) for word in asked.overrides]
        self._run_id = None if run.folder is None else read_position(run.folder).get("run_id")

    def start(self) -> None:
        """Begin the evaluation's own run: tags, params, config and data set.

        Raises:
            TrackingError: its folder cannot be written.
        """
        cfg, seen, journal = self._cfg, self._seen, self._journal
        name = cfg.tracking.run_name or f"{self._run.name} on {cfg.dataset.name}"
        with writing(journal):
            journal.begin(name=redact(name), tags=self._tags())
            values = {key: value for key, value in to_dict(cfg).items() if key in USED}
            what = {"model_run": self._run.key, "evaluated": seen.what, "num_images": len(seen.part)}
            journal.params({key: shown_param(key, value) for key, value in flatten({**what, **values}).items()})
            used = DatasetFacts(
                name=cfg.dataset.name,
                digest=seen.dataset_digest,
                source=seen.source,
                schema={"image_shape": list(self._run.image_shape), "dtype": "uint8"},
                profile={"classes": len(cfg.dataset.kept_classes or ())},
                context="evaluation",
            )
            journal.datasets([used])
            record_text(journal, CONFIG, to_yaml(cfg, secrets=False))
            record_text(journal, "config/overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(self._overrides)))

    def finish(self, found: Evaluation, probabilities: NDArray[np.float32], notes: Sequence[str]) -> None:
        """Record metrics, card, predictions, reports and pictures.

        Raises:
            TrackingError: they cannot be written.
        """
        journal, part = self._journal, self._seen.part
        with writing(journal):
            journal.metrics(test_metrics(found) | package_metrics("test/", probabilities, part.labels), step=0)
            journal.tags({DESCRIPTION: self._card(found, notes)})
            write_predictions(journal.artifact(PREDICTIONS), probabilities, part)
            journal.artifact_written(PREDICTIONS)
            record_report(journal, found, scored_on="test")
            shown_as = "test" if self._seen.is_own else "evaluated"
            pictures = prediction_pictures(found, probabilities, part.labels, part.images, shown_as)
            draw(pictures, journal.artifact, journal.artifact_written)

    def _tags(self) -> dict[str, str]:
        run, seen, cfg = self._run, self._seen, self._cfg
        tags = own_tags(cfg) | source_tags(shlex.join(["hcr", "evaluate", run.key, *self._overrides]))
        tags |= {
            KIND: "evaluate",
            MODEL_RUN: run.key,
            "hcr.dataset_digest": seen.dataset_digest,
            "hcr.images": json.dumps({"test": len(seen.part)}),
            "hcr.dataset_source": redact(seen.source),
        }
        if self._look is not None:
            tags["hcr.look"] = str(self._look)
        if self._run_id is not None:
            tags["hcr.model_run_id"] = self._run_id
        if seen.split_digest is not None:
            tags["hcr.split_digest"] = seen.split_digest
        if seen.data_notes:
            tags["hcr.data_notes"] = redact("; ".join(seen.data_notes))
        if cfg.notes is not None:
            tags[DESCRIPTION] = shortened(redact(cfg.notes), LONGEST)
        return tags

    def _card(self, found: Evaluation, notes: Sequence[str]) -> str:
        facts = EvaluationFacts(
            run=self._run,
            run_id=self._run_id,
            what=self._seen.what,
            dataset=self._cfg.dataset.name,
            dataset_digest=self._seen.dataset_digest,
            image_shape=self._run.image_shape,
            evaluation=found,
            look=self._look,
            notes=notes,
            user_notes=self._cfg.notes,
            overrides=self._overrides,
        )
        return evaluation_card(facts)
