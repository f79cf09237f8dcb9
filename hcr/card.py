"""The run card: Markdown shown as the run's description in MLflow, with the result, the setup and the caveats."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from hcr.config.secrets import redact
from hcr.config.text import markdown, printable
from hcr.evaluation.calibration import Calibration
from hcr.evaluation.metrics import Evaluation, guessing_note
from hcr.gate import RunConfig
from hcr.gate.run_config import image_and_classes, to_dict
from hcr.machine import Machine

LONGEST = 4_900  # characters; MLflow's limit was 5,000 for years
LONGEST_COMMAND = 1_500
LONGEST_NAME, LONGEST_SETTINGS = 40, 300
NOT_IN_COMMAND = ("notes=", "tracking.run_name=")  # they change no result; the card already starts with the notes

WIDE = 0.01  # width of an accuracy interval above which the card warns: typical differences are no larger
FAR_BELOW = 0.1  # gap between a class's F1 and the mean F1 above which the card names the class
UNCOMMITTED = "The sources had uncommitted changes: `code/patch.diff`, and all of them in `code/source.tar.gz`."


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """The contents of a card.

    Attributes:
        cfg: the run's config; its notes come first.
        overrides: the arguments of `hcr train`.
        num_images: number of images in "train", "val" and "test".
        dataset_digest, split_digest: SHA-256 in hex.
        duplicates: number of scored images with an identical copy in the training split.
        data_notes: how pixels and labels were read, if that is unusual.
        num_params: number of parameters of the model.
        history: the metrics of each epoch.
        best_epoch: counted from 1.
        shown: the split that `evaluation` scores, "test" or "val".
        evaluation: the scores.
        calibration: of the model; None if it was not calibrated.
        total_s: duration of the run.
        machine: the machine that ran it.
        commit: the commit of the sources; None outside a git checkout.
        is_patched: True if the sources differ from that commit.
        tta: validation accuracy without and with test-time augmentation; None: there is none.
        undrawn_key: the run's key if `hcr plots` has yet to draw its pictures; None if they are drawn.
    """

    cfg: RunConfig
    overrides: Sequence[str]
    num_images: Mapping[str, int]
    dataset_digest: str
    split_digest: str
    duplicates: int = 0
    data_notes: tuple[str, ...] = ()
    num_params: int
    history: Sequence[Mapping[str, float]]
    best_epoch: int
    shown: str
    evaluation: Evaluation
    calibration: Calibration | None = None
    total_s: float
    machine: Machine
    commit: str | None
    is_patched: bool
    tta: tuple[float, float] | None = None
    undrawn_key: str | None = None


def card(facts: CardFacts) -> str:
    """The card in Markdown, at most LONGEST characters; long notes are cut to leave room for the rest."""
    parts = [_headline(facts), _list(facts)]
    found = caveats(facts)
    if found:
        parts.append("**Caveats**\n\n" + "\n".join(f"- {caveat}" for caveat in found))
    parts.append(_again(facts))
    text = "\n\n".join(parts)
    if facts.cfg.notes:
        text = f"{closed(redact(facts.cfg.notes), LONGEST - len(text) - 10)}\n\n---\n\n{text}"
    return shortened(text, LONGEST)


def caveats(facts: CardFacts) -> list[str]:
    """The caveats: reasons to doubt the result, one sentence each."""
    cfg = facts.cfg
    found = []
    if facts.shown != "test":
        found.append("Test was not scored. The validation images chose the best epoch, so the result is flattered.")
    found += doubts(facts.evaluation)
    epochs = len(facts.history)
    if epochs < cfg.training.epochs:
        found.append(
            f"Stopped early, after epoch {epochs} of {cfg.training.epochs}:"
            f" {cfg.monitor} had not improved for {cfg.training.patience} epochs."
        )
    elif facts.best_epoch == epochs and cfg.training.keep == "best":
        found.append(
            f"The last epoch was the best: {cfg.monitor} was still improving, and a higher `training.epochs` may help."
        )
    found += weaknesses(facts.evaluation)
    if facts.calibration is not None and facts.calibration.note is not None:
        found.append(plain(f"Calibration: {facts.calibration.note}.", LONGEST_SETTINGS))
    found += notes_on_images(facts.duplicates, facts.data_notes)
    if facts.is_patched:
        found.append(UNCOMMITTED)
    return found


def doubts(evaluation: Evaluation) -> list[str]:
    """Caveats of an accuracy that is no better than guessing, or uncertain."""
    found = []
    guessing = guessing_note(evaluation)
    if guessing is not None:
        found.append(plain(f"The {guessing}.", LONGEST_SETTINGS))
    width = evaluation.accuracy_high - evaluation.accuracy_low
    if width > WIDE:
        found.append(
            f"{evaluation.num_images:,} images leave the accuracy uncertain by about ±{50 * width:.1f} points:"
            " a smaller difference to another run may be chance."
        )
    return found


def weaknesses(evaluation: Evaluation) -> list[str]:
    """Caveats of classes that are recognized far worse than others, or that no image measures."""
    found = []
    weak = [score for score in evaluation.classes if score.support and score.f1 < evaluation.macro_f1 - FAR_BELOW]
    if weak:
        weak.sort(key=lambda score: score.f1)
        names = ", ".join(f"{plain(score.name, 20)} (F1 {score.f1:.2f}, {score.support} images)" for score in weak[:5])
        more = f" and {len(weak) - 5} more" if weak[5:] else ""
        found.append(f"Far below the mean F1 of {evaluation.macro_f1:.2f}: {names}{more}.")
    absent = [plain(score.name, 20) for score in evaluation.classes if not score.support]
    if absent:
        found.append(f"Not measured, having no images here: {', '.join(absent[:10])}{' …' * bool(absent[10:])}.")
    return found


def notes_on_images(duplicates: int, data_notes: Sequence[str]) -> list[str]:
    """Caveats of copies of training images among the `duplicates` scored ones, and of how the data was read."""
    copies = [f"{duplicates:,} of the images scored here are also in training, pixel for pixel."] if duplicates else []
    return copies + [plain(f"{note}.", LONGEST_SETTINGS) for note in data_notes]


def headline(shown: str, score: Evaluation) -> str:
    """The result of a card: what was measured on the part `shown`, "test" or "val"."""
    what = {"test": "Test", "val": "Validation"}[shown]
    return (
        f"### **{what} accuracy {100 * score.accuracy:.2f} %**\n\n"
        f"95 % interval {100 * score.accuracy_low:.2f} to {100 * score.accuracy_high:.2f} %"
        f" ({score.num_images:,} images) · loss {score.loss:.4f} · macro F1 {score.macro_f1:.4f}"
    )


def shortened(text: str, longest: int) -> str:
    """`text`, cut to at most `longest` (>= 10) characters."""
    return text if len(text) <= longest else text[: longest - 2].rstrip() + " …"


def duration(seconds: float) -> str:
    """A duration for people: `9.5 s`, `3 min 20 s`."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def plain(text: str, longest: int = LONGEST_NAME) -> str:
    """The user's text, escaped for Markdown and cut to about `longest` characters.

    Secrets are redacted first: an escaped or cut secret would no longer be recognized.
    """
    text, kept = " ".join(printable(redact(text)).split()), longest
    while len(shown := markdown(shortened(text, kept))) > longest + 60 and kept > 10:  # escapes take room too
        kept -= 1
    return shown


def data_row(cfg: RunConfig, num_images: Mapping[str, int], digests: Sequence[str], copies: str = "") -> str:
    """The line on a run's images.

    Args:
        num_images: in "train", "val" and "test".
        digests: of data set and split.
        copies: text on copies of training images.
    """
    names = (("train", "training"), ("val", "validation"), ("test", "test"))
    images = ", ".join(f"{num_images[split]:,} {name}" for split, name in names)
    image, num_classes = image_and_classes(cfg)
    data, split = (digest[:12] for digest in digests)
    return (
        f"{plain(cfg.dataset.name)}: {images} images of {'×'.join(map(str, image))}, {num_classes} classes{copies};"
        f" data `{data}`, split `{split}`"
    )


def machine_rows(machine: Machine, num_threads: int | None) -> dict[str, str]:
    """The lines on the machine and the software of a run."""
    memory = "" if machine.memory_gib is None else f", {machine.memory_gib:.0f} GiB"
    gpu = "" if machine.gpu is None else f"{plain(machine.gpu)}; "
    return {
        "Machine": f"{gpu}{plain(machine.cpu)}, {machine.cores} cores{memory}, {num_threads} threads used;"
        f" {machine.system}",
        "Software": ", ".join(f"{name} {version}" for name, version in machine.versions.items()),
    }


def _headline(facts: CardFacts) -> str:
    return f"{headline(facts.shown, facts.evaluation)} · best epoch {facts.best_epoch} of {len(facts.history)}"


def _list(facts: CardFacts) -> str:
    cfg, values = facts.cfg, to_dict(facts.cfg)
    copies = f"; {facts.duplicates} of {facts.shown} also in train" if facts.duplicates else ""
    speed = median(epoch["time/images_per_s"] for epoch in facts.history)
    rows = {
        "Data": data_row(cfg, facts.num_images, (facts.dataset_digest, facts.split_digest), copies),
        "Model": f"{plain(cfg.model.name)}, {facts.num_params:,} parameters; {_settings(values['model'])}",
        "Training": f"{plain(cfg.optimizer.name)} ({_settings(values['optimizer'])}), schedule {cfg.schedule.name},"
        f" augmentation {cfg.augmentation.name}, batches of {cfg.training.batch_size}, seed {cfg.seed}",
        **({} if facts.calibration is None else {"Calibration": _calibration(facts.calibration)}),
        "Time": f"{duration(facts.total_s)} in all, {speed:,.0f} images/s in training",
        **machine_rows(facts.machine, cfg.training.num_threads),
    }
    if facts.tta is not None:
        without, with_it = facts.tta
        rows["Test-time augmentation"] = (
            f"{cfg.training.tta}, {cfg.training.predictions_per_image} predictions per image; validation accuracy"
            f" {100 * with_it:.2f} %, {100 * without:.2f} % without it"
        )
    if facts.undrawn_key is not None:
        rows["Pictures"] = f"`hcr plots {facts.undrawn_key}` draws them"
    # A list, not a table: MLflow renders tables without space between the columns.
    return "\n".join(f"- **{name}:** {text}" for name, text in rows.items())


def _calibration(found: Calibration) -> str:
    if found.temperature == 1:
        return "none"
    text = f"temperature {found.temperature:.3g}, fitted on {found.num_images:,} validation images"
    if found.ece_after is None or found.nll_after is None:
        return text
    return (
        f"{text}; there ECE {found.ece_before:.4f} before and {found.ece_after:.4f} after,"
        f" loss {found.nll_before:.4f} and {found.nll_after:.4f} (after: cross-fitted)"
    )


def _again(facts: CardFacts) -> str:
    """The command that repeats the run, and the sources it needs to give the same numbers."""
    cfg = facts.cfg
    settled = {"seed": cfg.seed, "training.device": cfg.training.device, "training.threads": cfg.training.num_threads}
    left_out = (*NOT_IN_COMMAND, *(f"{key}=" for key in settled))
    given = [word for word in facts.overrides if not word.startswith(left_out)]
    command = shlex.join(["hcr", "train", *given, *(f"{key}={value}" for key, value in settled.items())])
    if len(command) > LONGEST_COMMAND:
        command = "# too long to show: config/overrides.yaml has what was given, config/config.yaml all of it"
    fence = "`" * max(3, *(len(ticks) + 1 for ticks in re.findall("`+", command) or [""]))
    changed = " with `code/patch.diff`" if facts.is_patched else ""
    at = f"at commit `{facts.commit}`{changed}" if facts.commit else "with the sources in `code/source.tar.gz`"
    return f"**Again**\n\n{fence}\n{command}\n{fence}\n\n{at}"


def _settings(values: Mapping[str, Any]) -> str:
    """A group's settings except its name: `depth 2, filters 32`."""

    def text(value: Any) -> str:
        if isinstance(value, bool) or value is None:
            return {True: "yes", False: "no", None: "none"}[value]
        return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)

    return plain(
        ", ".join(f"{name} {text(value)}" for name, value in values.items() if name != "name"), LONGEST_SETTINGS
    )


def closed(notes: str, longest: int) -> str:
    """The user's Markdown, cut to `longest` characters.

    HTML is escaped and an open code block is closed, so that neither swallows the card that follows.
    """
    text = re.sub(r"<(?=[a-z/!?$])(?!https?:|mailto:)", "&lt;", notes.strip(), flags=re.IGNORECASE)
    text = shortened(re.sub(r"([`~])\1{9,}", r"\1" * 9, text), max(20, longest - 10))
    fence = ""
    for line in text.splitlines():
        found = re.match(r" {0,3}(`{3,}|~{3,})(.*)", line)
        if found is None:
            continue
        if not fence:
            fence = found[1] if found[1][0] == "~" or "`" not in found[2] else ""
        elif found[1].startswith(fence) and not found[2].strip():
            fence = ""
    return f"{text}\n{fence}" if fence else text
