"""The run card: a pure function of facts, so each caveat is shown to come and to stay away."""

import re
import shlex
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from hcr.card import LONGEST, CardFacts, card, caveats
from hcr.evaluation.calibration import Calibration
from hcr.evaluation.metrics import ClassScore, Evaluation
from hcr.gate import RunConfig
from hcr.gate import compose as module
from hcr.machine import Machine, this_machine


@cache
def compose(*overrides: str) -> RunConfig:
    return module.compose(overrides)


MACHINE = Machine(cpu="Abacus 3000", cores=4, memory_gib=15.6, system="Linux 6", versions={"python": "3.12.1"})


def evaluation(**changes: Any) -> Evaluation:
    names = compose().dataset.class_names
    return replace(
        Evaluation(
            num_images=10_000,
            accuracy=0.9912,
            accuracy_low=0.9892,
            accuracy_high=0.9928,
            loss=0.0312,
            top2_accuracy=0.999,
            macro_f1=0.991,
            ece=0.01,
            classes=tuple(ClassScore(name, 0.99, 0.99, 0.99, 1000) for name in names),
            confusion=np.eye(10, dtype=np.int64),
        ),
        **changes,
    )


def facts(overrides: tuple[str, ...] = (), **changes: Any) -> CardFacts:
    """A good run without a caveat."""
    values: dict[str, Any] = {
        "cfg": compose("training.epochs=3", "training.threads=2", *overrides),
        "overrides": ["training.epochs=3", *overrides],
        "num_images": {"train": 50_000, "val": 10_000, "test": 10_000},
        "dataset_digest": "d" * 64,
        "split_digest": "5" * 64,
        "num_params": 34_826,
        "history": [{"time/images_per_s": speed} for speed in (100.0, 2000.0, 2100.0)],
        "best_epoch": 2,
        "shown": "test",
        "evaluation": evaluation(),
        "total_s": 75.25,
        "machine": MACHINE,
        "commit": "c0ffee",
        "is_patched": False,
    }
    return CardFacts(**(values | changes))


def command(text: str) -> list[str]:
    (found,) = re.findall(r"^hcr train .*$", text, flags=re.MULTILINE)
    return shlex.split(found)[2:]


def test_a_card_tells_result_data_model_time_machine_and_how_to_repeat_it() -> None:
    text = card(facts())
    for told in (
        "Test accuracy 99.12 %",
        "95 % interval 98.92 to 99.28 % (10,000 images) · loss 0.0312 · macro F1 0.9910 · best epoch 2 of 3",
        "digits: 50,000 training, 10,000 validation, 10,000 test images of 8×8×1, 10 classes;",
        "`dddddddddddd`",
        "cnn, 34,826 parameters; depth 2, filters 32,",
        "75.2 s in all, 2,000 images/s in training",
        "Abacus 3000, 4 cores, 16 GiB, 2 threads used; Linux 6",
        "python 3.12.1",
        "at commit `c0ffee`",
    ):
        assert told in text
    assert "Caveats" not in text


def test_the_gpu_that_was_used_comes_before_the_rest_of_the_machine() -> None:
    text = card(facts(machine=replace(MACHINE, gpu="NVIDIA A100 | 40GB")))
    assert r"- **Machine:** NVIDIA A100 \| 40GB; Abacus 3000, 4 cores" in text


def test_a_calibrated_model_has_a_line_and_a_doubtful_one_a_caveat() -> None:
    assert "Calibration" not in card(facts())
    found = Calibration(
        temperature=1.5124, num_images=6000, ece_before=0.02, ece_after=0.01, nll_before=0.05, nll_after=0.04
    )
    line = (
        "- **Calibration:** temperature 1.51, fitted on 6,000 validation images;"
        " there ECE 0.0200 before and 0.0100 after, loss 0.0500 and 0.0400 (after: cross-fitted)\n"
    )
    assert line in card(facts(calibration=found))
    assert caveats(facts(calibration=found)) == []
    doubtful = replace(found, temperature=20.0, ece_after=None, nll_after=None, note="the temperature is at its bound")
    assert "temperature 20, fitted on 6,000 validation images\n" in card(facts(calibration=doubtful))
    assert caveats(facts(calibration=doubtful)) == ["Calibration: the temperature is at its bound."]
    assert "- **Calibration:** none\n" in card(facts(calibration=replace(found, temperature=1.0)))


def test_notes_come_first_and_are_as_they_were_written() -> None:
    assert card(facts(("notes='why **not**'",))).startswith("why **not**\n\n---\n\n### **Test accuracy")


def test_the_line_on_the_card_makes_the_same_config_again() -> None:
    overrides = ("model.filters=[8,16]", "notes=why", "tags={team: a b}", "seed=7", "optimizer=sgd")
    shown = facts(overrides)
    words = command(card(shown))
    assert compose(*words) == shown.cfg.replace(notes=None)
    assert words[-3:] == ["seed=7", "training.device=auto", "training.threads=2"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"shown": "val"}, "Test was not scored"),
        ({"evaluation": evaluation(num_images=360, accuracy_low=0.97, accuracy_high=0.99)}, "360 images .* ±1.0"),
        ({"best_epoch": 3}, "still improving"),
        ({"history": [{"time/images_per_s": 1.0}] * 2}, "early, after epoch 2 of 3: val/loss .* for 10 epochs"),
        (
            {"evaluation": evaluation(classes=(ClassScore("q|", 0.5, 0.5, 0.61, 33), ClassScore("b", 1, 1, 0.9, 9)))},
            r"mean F1 of 0.99: q\\\| \(F1 0.61, 33 images\)\.$",
        ),
        ({"evaluation": evaluation(classes=(ClassScore("z", 0, 0, 0, 0),))}, "no images here: z"),
        (
            {
                "evaluation": evaluation(
                    accuracy=0.11,
                    accuracy_low=0.095,
                    accuracy_high=0.1,  # narrow: no word on too few images
                    confusion=np.diag([11, *[10] * 8, 9]),
                    num_images=10_000,
                )
            },
            "accuracy 0.1100 .* is not shown to be better than always answering the largest class, '0', which is right"
            " for 0.1100 of these images",
        ),
        ({"data_notes": ("a_file: pixels from 0 to 1",)}, r"^a_file: pixels from 0 to 1\.$"),
        ({"duplicates": 12}, "12 of the images scored here are also in training"),
        ({"is_patched": True}, "uncommitted changes"),
    ],
)  # fmt: skip
def test_a_caveat_is_there_when_it_holds(changes: dict[str, Any], told: str) -> None:
    assert caveats(facts()) == []
    (found,) = caveats(facts(**changes))
    assert re.search(told, found)
    assert f"- {found}" in card(facts(**changes))


def test_duplicates_are_told_only_where_there_are_some() -> None:
    assert "also in train" not in card(facts())
    assert "3 of test also in train" in card(facts(duplicates=3))


def test_a_card_fits_into_a_tag_and_keeps_its_lines_whatever_names_and_notes_are() -> None:
    classes = tuple(ClassScore(f"|`\n{'x' * 500}{i}", 0, 0, 0.1 if i % 2 else 0.0, i % 2) for i in range(900))
    long = facts(
        evaluation=evaluation(classes=classes, num_images=9, accuracy_low=0.1, accuracy_high=0.9),
        shown="val",
        duplicates=10**9,
        is_patched=True,
    )
    long = replace(long, overrides=[f"model.dense_units={list(range(5000))}"])
    long = replace(long, cfg=long.cfg.replace(notes="n" * 9000, dataset=long.cfg.dataset.replace(name="a|b\n" * 400)))
    text = card(long)
    assert len(text) <= LONGEST
    assert text.startswith("n" * 100)
    assert len([line for line in text.splitlines() if line.startswith("- **")]) == 6
    assert "config/overrides.yaml" in text


def test_this_machine_is_described() -> None:
    machine = this_machine()
    assert machine.cpu and machine.system
    assert machine.cores >= 1
    assert machine.memory_gib is None or machine.memory_gib > 0.1
    assert set(machine.versions) == {"python", "tensorflow", "keras"}


OPENED = [
    "```",
    "~~~~\ncode",
    "<!-- a comment",
    "<details><summary>s",
    "a <div>\n\n<script>",
    "````md\n```\n",
    "`" * 9000,
]


@pytest.mark.parametrize("notes", OPENED)
def test_notes_that_leave_something_open_do_not_swallow_the_card(notes: str) -> None:
    text = card(replace(facts(), cfg=facts().cfg.replace(notes=notes)))
    assert len(text) <= LONGEST
    own, _, rest = text.partition("\n\n---\n\n")
    assert rest.startswith("### **Test accuracy")
    assert not re.search(r"<[a-z/!?]", own, flags=re.IGNORECASE)
    fences = [line for line in own.splitlines() if re.match(r"```|~~~", line)]
    assert not fences or (len(fences) > 1 and fences[-1][0] == fences[0][0] and len(fences[-1]) >= len(fences[0][:3]))


def test_code_and_addresses_in_notes_stay_as_they_are() -> None:
    notes = "see <https://example.com>, where a < b\n\n```\nx = [1]\n```"
    assert card(replace(facts(), cfg=facts().cfg.replace(notes=notes))).startswith(f"{notes}\n\n---\n\n")


def test_a_card_hides_secrets_before_it_escapes_and_cuts() -> None:
    token = "hf_" + "abcdEFGH" * 4
    notes = "n" * 4_000 + f" http://me:hunter22@host and {token} " + "password: missing horse battery\n" + "n" * 4_000
    name = "n" * 25 + " " + token
    found = facts()
    cfg = found.cfg.replace(notes=notes, dataset=found.cfg.dataset.replace(name=name))
    text = card(replace(found, cfg=cfg, data_notes=("read from http://me:hunter22@host",)))
    assert not any(secret in text for secret in ("hunter22", "abcdEFGH", "horse"))


def test_names_on_a_card_are_text_and_neither_markdown_nor_html() -> None:
    name = "a|b*c*`d` <script>\n- **Data:** e"
    hostile = facts(evaluation=evaluation(classes=(ClassScore(name, 0, 0, 0.1, 5), ClassScore("b", 0, 0, 1.0, 5))))
    text = card(replace(hostile, cfg=hostile.cfg.replace(dataset=hostile.cfg.dataset.replace(name=name))))
    assert text.count(r"a\|b\*c\*\`d\` &#60;script\>") == 2  # the data, and a caveat
    assert "<script" not in text
    assert text.count("\n- **Data:**") == 1
