"""The card of an evaluation: Markdown shown as its description in MLflow, with a link to the model's run."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from hcr.card import LONGEST, closed, plain, shortened
from hcr.config.secrets import redact
from hcr.evaluation.metrics import Evaluation, guessing_note
from hcr.recorded import RecordedRun

WIDE = 0.01  # width of an accuracy interval above which the card warns
LONGEST_NOTE = 400  # characters


@dataclass(frozen=True, kw_only=True)
class EvaluationFacts:
    """The contents of a card.

    Attributes:
        run: the model's run.
        run_id: its id in MLflow; None: unknown here.
        what: which images were evaluated.
        dataset: the data set's name.
        dataset_digest: SHA-256 in hex.
        image_shape: height, width, channels of the prepared images.
        evaluation: the scores.
        look: the number of this look at these images; None: it could not be counted.
        notes: what else to know about the figures.
        user_notes: the user's own notes, in Markdown.
        overrides: as given.
    """

    run: RecordedRun
    run_id: str | None
    what: str
    dataset: str
    dataset_digest: str
    image_shape: tuple[int, int, int]
    evaluation: Evaluation
    look: int | None
    notes: Sequence[str]
    user_notes: str | None
    overrides: Sequence[str]


def evaluation_card(facts: EvaluationFacts) -> str:
    """The card in Markdown, at most LONGEST characters; long notes are cut to leave room for the rest."""
    parts = [_headline(facts), _list(facts)]
    if found := _caveats(facts):
        parts.append("**Caveats**\n\n" + "\n".join(f"- {plain(caveat, LONGEST_NOTE)}" for caveat in found))
    command = shlex.join(["hcr", "evaluate", facts.run.key, *facts.overrides])
    parts.append(f"**Again** (counts as a further look)\n\n````\n{command}\n````")
    text = "\n\n".join(parts)
    if facts.user_notes:
        text = f"{closed(redact(facts.user_notes), LONGEST - len(text) - 10)}\n\n---\n\n{text}"
    return shortened(text, LONGEST)


def _headline(facts: EvaluationFacts) -> str:
    score = facts.evaluation
    return (
        f"### **Accuracy {100 * score.accuracy:.2f} %** on {plain(facts.what, 100)}\n\n"
        f"95 % interval {100 * score.accuracy_low:.2f} to {100 * score.accuracy_high:.2f} %"
        f" ({score.num_images:,} images) · loss {score.loss:.4f} · macro F1 {score.macro_f1:.4f}"
        f" · calibration error {score.ece:.4f}"
    )


def _list(facts: EvaluationFacts) -> str:
    run = facts.run
    name = f"{plain(run.name)} `{run.key}`"
    link = name if facts.run_id is None else f"[{name}](#/runs/{facts.run_id})"
    own = run.metrics.get("test/accuracy")
    known = "" if own is None else f"; that run recorded test accuracy {100 * own:.2f} %"
    shape = "×".join(map(str, facts.image_shape))
    look = "not counted: only the store has the model's run" if facts.look is None else f"{facts.look} at these images"
    rows = {
        "Model": f"{link}, {plain(run.cfg.model.name)} trained on {plain(run.cfg.dataset.name)}{known}",
        "Data": f"{plain(facts.dataset)}, prepared to {shape}; data `{facts.dataset_digest[:12]}`",
        "Look": f"{look} with this model",
    }
    return "\n".join(f"- **{name}:** {text}" for name, text in rows.items())


def _caveats(facts: EvaluationFacts) -> list[str]:
    evaluation = facts.evaluation
    found = []
    if facts.look is not None and facts.look > 1:
        found.append("A model or setting that is chosen by repeated looks is flattered by them.")
    if (guessing := guessing_note(evaluation)) is not None:
        found.append(f"The {guessing}.")
    width = evaluation.accuracy_high - evaluation.accuracy_low
    if width > WIDE:
        found.append(
            f"{evaluation.num_images:,} images leave the accuracy uncertain by about ±{50 * width:.1f} points."
        )
    return [*found, *(f"{note[:1].upper()}{note[1:]}." for note in facts.notes)]
