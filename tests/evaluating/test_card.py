"""The card of an evaluation."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hcr.card import LONGEST
from hcr.evaluating.card import EvaluationFacts, evaluation_card
from hcr.evaluation.metrics import evaluate
from hcr.gate.compose import compose
from hcr.recorded import RecordedRun

RUN = RecordedRun(
    key="a1b2c3d4e5f6",
    name="my *best* run",
    folder=Path("x"),
    artifacts=Path("x"),
    cfg=compose(),
    tags={},
    metrics={"test/accuracy": 0.9875},
    history=[],
)


def facts(**changes: Any) -> EvaluationFacts:
    names = tuple("0123456789")
    labels = np.arange(10_000) % 10
    probabilities = np.eye(10, dtype=np.float32)[labels]
    probabilities[:100] = probabilities[1:101]
    known: dict[str, Any] = {
        "run": RUN,
        "run_id": "0f" * 16,
        "what": "all images of usps",
        "dataset": "usps",
        "dataset_digest": "ab" * 32,
        "image_shape": (8, 8, 1),
        "evaluation": evaluate(probabilities, labels, names),
        "look": 1,
        "notes": (),
        "user_notes": None,
        "overrides": ("dataset=usps", "notes=it's new"),
    }
    return EvaluationFacts(**known | changes)


def test_a_card_has_the_result_the_model_with_a_link_and_the_command() -> None:
    text = evaluation_card(facts())
    assert text.startswith("### **Accuracy 99.00 %** on all images of usps\n")
    assert (
        "- **Model:** [my \\*best\\* run `a1b2c3d4e5f6`](#/runs/0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f), cnn trained on"
        in text
    )
    assert "that run recorded test accuracy 98.75 %" in text
    assert "- **Look:** 1 at these images with this model" in text
    assert "\nhcr evaluate a1b2c3d4e5f6 dataset=usps 'notes=it'\"'\"'s new'\n" in text
    assert "**Caveats**" not in text


def test_a_card_says_what_makes_its_figures_doubtful() -> None:
    text = evaluation_card(facts(look=3, notes=("no images of 7, which the model may still answer",)))
    assert "- A model or setting that is chosen by repeated looks is flattered by them." in text
    assert "- No images of 7, which the model may still answer." in text


def test_without_the_model_s_run_here_there_is_no_link_and_no_count() -> None:
    text = evaluation_card(facts(run_id=None, look=None))
    assert "](#/runs" not in text
    assert "not counted: only the store has the model's run" in text


def test_a_card_fits_into_a_description_whatever_the_notes() -> None:
    text = evaluation_card(replace(facts(), user_notes="word " * 3_000, notes=("caveat " * 200,) * 5))
    assert len(text) <= LONGEST
    assert "hcr evaluate a1b2c3d4e5f6" in text
