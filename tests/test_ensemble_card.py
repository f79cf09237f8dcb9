"""The card of an ensemble: what it is, what it gained, and why to doubt that."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hcr.card import LONGEST
from hcr.ensemble_card import EnsembleFacts, Gain, Member, ensemble_card, ensemble_caveats, gained, members_table
from hcr.evaluation.metrics import ClassScore, Evaluation
from hcr.gate.compose import compose
from hcr.machine import Machine

MACHINE = Machine(cpu="Abacus 3000", cores=4, memory_gib=15.6, system="Linux 6", versions={"python": "3.12.1"})
CFG = compose([])
MEMBERS = (
    Member("a1", "8d0", "model=cnn seed=0", val_loss=0.05, val_accuracy=0.98, num_params=1_000),
    Member("b22", None, "数字", val_loss=0.07, val_accuracy=0.97, num_params=20_000),
)


def evaluation(**changes: Any) -> Evaluation:
    return replace(
        Evaluation(
            num_images=10_000,
            accuracy=0.9850,
            accuracy_low=0.9820,
            accuracy_high=0.9880,
            loss=0.0400,
            top2_accuracy=0.999,
            macro_f1=0.985,
            ece=0.01,
            classes=tuple(ClassScore(str(i), 0.985, 0.985, 0.985, 1000) for i in range(10)),
            confusion=np.eye(10, dtype=np.int64),
        ),
        **changes,
    )


def facts(**changes: Any) -> EnsembleFacts:
    values: dict[str, Any] = {
        "cfg": CFG,
        "sweep_key": "c0ffee",
        "sweep_name": "depths",
        "monitor": "val/loss",
        "members": MEMBERS,
        "num_chosen_from": 8,
        "val": evaluation(),
        "test": evaluation(accuracy=0.9912),
        "gain": Gain(corrected=60, broken=10, mean_accuracy=0.975, mean_loss=0.06),
        "num_images": {"train": 50_000, "val": 10_000, "test": 10_000},
        "digests": ("d" * 64, "5" * 64),
        "duplicates": 0,
        "data_notes": (),
        "total_s": 7.25,
        "machine": MACHINE,
        "num_threads": 2,
        "commit": "c0ffee",
        "is_patched": False,
        "command": ["hcr", "ensemble", "latest", "--top", "2"],
    }
    return EnsembleFacts(**(values | changes))


def test_the_table_has_the_members_their_mean_and_the_ensemble() -> None:
    assert members_table(MEMBERS, facts().gain, evaluation()).splitlines() == [
        "   run                   val/loss  val/accuracy  params",
        "1  a1  model=cnn seed=0    0.0500        0.9800   1,000",
        "2  b22  数字               0.0700        0.9700  20,000",
        "   mean of the members     0.0600        0.9750",
        "   ensemble                0.0400        0.9850  21,000",
    ]


def test_a_card_tells_result_members_gain_cost_and_how_to_repeat_it() -> None:
    text = ensemble_card(facts())
    for told in (
        "Test accuracy 99.12 %",
        "· soft vote of 2 models",
        "the best by val/loss of 8 finished runs of sweep `c0ffee` (depths)",
        "on validation, against the mean of its members accuracy +1.00 points, loss -0.0200; against the best one"
        " accuracy +0.50 points, loss -0.0100: 60 of its errors corrected, 10 new ones",
        "2 models predict each image, which takes about 2 times the time and the memory of one",
        "digits: 50,000 training, 10,000 validation, 10,000 test images of 8×8×1, 10 classes",
        "Abacus 3000, 4 cores, 16 GiB, 2 threads used; Linux 6",
        "```\nhcr ensemble latest --top 2\n```\n\nat commit `c0ffee`",
    ):
        assert told in text
    assert gained(facts()) in text


def test_validation_scores_are_always_said_to_be_flattered() -> None:
    (found,) = ensemble_caveats(facts())
    assert found.startswith("The validation images chose the members and the epoch of each")
    assert found.endswith("those on test are not.")
    (found,) = ensemble_caveats(facts(test=None))
    assert found.endswith("test was not scored.")
    assert "Validation accuracy 98.50 %" in ensemble_card(facts(test=None))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"test": evaluation(num_images=360, accuracy_low=0.97, accuracy_high=0.99)}, "360 images leave the accuracy"),
        ({"val": evaluation(loss=0.05)}, "By val/loss on validation it is not better than its best member"),
        ({"val": evaluation(accuracy=0.98), "monitor": "val/accuracy"}, "it is not better than its best member"),
        ({"duplicates": 12}, "12 of the images scored here are also in training"),
        ({"data_notes": ("scans: inverted",)}, "scans: inverted."),
        ({"is_patched": True}, "uncommitted changes"),
    ],
)
def test_a_caveat_is_there_when_it_holds(changes: dict[str, Any], told: str) -> None:
    flattered, found = ensemble_caveats(facts(**changes))
    assert told in found
    assert f"- {flattered}\n- {found}" in ensemble_card(facts(**changes))


def test_many_members_with_long_names_fit_and_secrets_are_hidden() -> None:
    name = "tracking.uri=postgresql://me:hunter2@host/db " + "x" * 200
    many = [Member(f"{i:012x}", None, name, 0.05, 0.98, 1_000) for i in range(400)]
    text = ensemble_card(facts(members=many, sweep_name=name))
    assert len(text) <= LONGEST
    assert "and 388 more: config/members.csv\n" in text
    assert "hcr ensemble latest --top 2" in text
    assert "400,000" in text  # parameters of all
    assert "hunter2" not in text
