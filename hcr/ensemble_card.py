"""The card of an ensemble: Markdown shown as the run's description in MLflow, with its members and what it gained."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hcr.card import (
    LONGEST,
    UNCOMMITTED,
    data_row,
    doubts,
    duration,
    headline,
    machine_rows,
    notes_on_images,
    plain,
    shortened,
    weaknesses,
)
from hcr.config.secrets import redact
from hcr.config.text import printable
from hcr.console import num_columns, pad
from hcr.evaluation.labels import counted
from hcr.evaluation.metrics import Evaluation
from hcr.gate import RunConfig
from hcr.machine import Machine

MOST_SHOWN = 12  # members in a table; members.csv has all
LONGEST_NAME = 40  # columns


@dataclass(frozen=True)
class Member:
    """A member's run, its validation scores and the number of its parameters."""

    key: str
    run_id: str | None
    name: str
    val_loss: float
    val_accuracy: float
    num_params: int


@dataclass(frozen=True)
class Gain:
    """What an ensemble changes on validation, where its members were chosen.

    Attributes:
        corrected: images that the best member gets wrong and the ensemble right.
        broken: images that the best member gets right and the ensemble wrong.
        mean_accuracy, mean_loss: means over the members.
    """

    corrected: int
    broken: int
    mean_accuracy: float
    mean_loss: float


@dataclass(frozen=True, kw_only=True)
class EnsembleFacts:
    """The contents of an ensemble's card.

    Attributes:
        cfg: the config of the best member.
        sweep_key, sweep_name, monitor: the sweep, and the metric that the members were chosen by.
        members: best first.
        num_chosen_from: finished runs of the sweep.
        val, test: the ensemble's metrics; `test` is None if it was not scored.
        gain: on validation.
        num_images, digests, duplicates, data_notes: of the images (see `CardFacts`).
        total_s: duration of the run.
        machine, num_threads: the machine that scored the ensemble.
        commit, is_patched: of the sources.
        command: the command that repeats it.
    """

    cfg: RunConfig
    sweep_key: str
    sweep_name: str
    monitor: str
    members: Sequence[Member]
    num_chosen_from: int
    val: Evaluation
    test: Evaluation | None
    gain: Gain
    num_images: Mapping[str, int]
    digests: tuple[str, str]
    duplicates: int
    data_notes: Sequence[str]
    total_s: float
    machine: Machine
    num_threads: int
    commit: str | None
    is_patched: bool
    command: Sequence[str]

    @property
    def shown(self) -> str:
        """The part that the headline is on: "test" if it was scored, else "val"."""
        return "val" if self.test is None else "test"

    @property
    def evaluation(self) -> Evaluation:
        """The metrics of the part `shown`."""
        return self.val if self.test is None else self.test


def ensemble_card(facts: EnsembleFacts) -> str:
    """The card in Markdown, at most LONGEST characters."""
    k = len(facts.members)
    sweep = f"`{facts.sweep_key}` ({plain(facts.sweep_name)})"
    chosen = (
        f"The mean of the probabilities of {k} models: the best by {facts.monitor} of"
        f" {counted(facts.num_chosen_from, 'finished run')} of sweep {sweep}."
    )
    caveats = "\n".join(f"- {caveat}" for caveat in ensemble_caveats(facts))
    changed = " with `code/patch.diff`" if facts.is_patched else ""
    at = f"at commit `{facts.commit}`{changed}" if facts.commit else "with the sources in `code/source.tar.gz`"
    parts = [
        f"{headline(facts.shown, facts.evaluation)} · soft vote of {k} models",
        chosen,
        f"```\n{members_table(facts.members, facts.gain, facts.val)}\n```",
        _list(facts),
        f"**Caveats**\n\n{caveats}",
        f"**Again**\n\n```\n{shlex.join(facts.command)}\n```\n\n{at}",
    ]
    return shortened("\n\n".join(parts), LONGEST)


def members_table(members: Sequence[Member], gain: Gain, val: Evaluation) -> str:
    """The validation scores of the first members, the mean of all, and the ensemble, as a table of plain text."""
    rows = [["", "run", "val/loss", "val/accuracy", "params"]]
    rows += [
        [
            f"{i}",
            f"{member.key}  {shortened(printable(redact(member.name)), LONGEST_NAME)}",
            f"{member.val_loss:.4f}",
            f"{member.val_accuracy:.4f}",
            f"{member.num_params:,}",
        ]
        for i, member in enumerate(members[:MOST_SHOWN], start=1)
    ]
    if len(members) > MOST_SHOWN:
        rows.append(["", f"and {len(members) - MOST_SHOWN} more: config/members.csv", "", "", ""])
    rows.append(["", "mean of the members", f"{gain.mean_loss:.4f}", f"{gain.mean_accuracy:.4f}", ""])
    num_params = sum(member.num_params for member in members)
    rows.append(["", "ensemble", f"{val.loss:.4f}", f"{val.accuracy:.4f}", f"{num_params:,}"])
    widths = [max(num_columns(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        number, run, *numbers = row
        cells = [number.rjust(widths[0]), pad(run, widths[1])]
        cells += [cell.rjust(width) for cell, width in zip(numbers, widths[2:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def gained(facts: EnsembleFacts) -> str:
    """What the ensemble gained on validation, in a line."""
    best, val, gain = facts.members[0], facts.val, facts.gain

    def against(accuracy: float, loss: float) -> str:
        return f"accuracy {100 * (val.accuracy - accuracy):+.2f} points, loss {val.loss - loss:+.4f}"

    return (
        f"on validation, against the mean of its members {against(gain.mean_accuracy, gain.mean_loss)}; against the"
        f" best one {against(best.val_accuracy, best.val_loss)}: {gain.corrected} of its errors corrected,"
        f" {gain.broken} new ones"
    )


def ensemble_caveats(facts: EnsembleFacts) -> list[str]:
    """Reasons to doubt the result, one sentence each."""
    flattered = "The validation images chose the members and the epoch of each, so scores on them are flattered"
    found = [f"{flattered}; test was not scored." if facts.test is None else f"{flattered}; those on test are not."]
    if not _is_better_than_best(facts):
        found.append(
            f"By {facts.monitor} on validation it is not better than its best member, which costs"
            f" {len(facts.members)} times less."
        )
    found += [*doubts(facts.evaluation), *weaknesses(facts.evaluation)]
    found += notes_on_images(facts.duplicates, facts.data_notes)
    return [*found, UNCOMMITTED] if facts.is_patched else found


def _is_better_than_best(facts: EnsembleFacts) -> bool:
    best, val = facts.members[0], facts.val
    return val.accuracy > best.val_accuracy if facts.monitor == "val/accuracy" else val.loss < best.val_loss


def _list(facts: EnsembleFacts) -> str:
    k = len(facts.members)
    rows = {
        "Gain": gained(facts),
        "Cost": f"{k} models predict each image, which takes about {k} times the time and the memory of one",
        "Data": data_row(facts.cfg, facts.num_images, facts.digests),
        "Time": f"{duration(facts.total_s)} in all; nothing was trained",
        **machine_rows(facts.machine, facts.num_threads),
    }
    return "\n".join(f"- **{name}:** {text}" for name, text in rows.items())
