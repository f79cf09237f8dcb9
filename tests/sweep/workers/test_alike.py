"""Whether a node gives the numbers that the controller would."""

from dataclasses import replace

import pytest

from hcr.environment import ONEDNN
from hcr.gate.compose import compose
from hcr.sweep.workers.alike import Facts, difference, facts

HERE = Facts(
    name="head",
    versions={"Python": "3.11", "hcr": "0.1.0", "tensorflow": "2.21.0", "keras": "3.13.0", "numpy": "2.4.0"},
    sources={"hcr/training/loop.py": "aa", "hcr/model/muon.py": "bb"},
    has_bfloat16=True,
)
THERE = replace(HERE, name="n1 (10.0.0.1)")


def test_a_machine_is_like_itself() -> None:
    here = facts("head", [compose([])])
    assert difference(here, facts("n1", [compose([])]), precisions=["bfloat16"]) is None
    assert {"Python", "hcr", "tensorflow", "keras", "numpy"} == here.versions.keys()
    assert "hcr/training/loop.py" in here.sources


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (
            {"versions": HERE.versions | {"Python": "3.12"}},
            "has Python 3.12, and the controller head has 3.11; install the same on both",
        ),
        (
            {"versions": HERE.versions | {"numpy": "2.1.0"}},
            "has numpy 2.1.0, and the controller head has 2.4.0; install the same on both",
        ),
        (
            {"sources": HERE.sources | {"hcr/model/muon.py": "cc"}},
            "has other code than the controller head (hcr/model/muon.py); install the same on both",
        ),
        (
            {"settings": {"TF_ENABLE_ONEDNN_OPTS": "0"}},
            f"has TF_ENABLE_ONEDNN_OPTS 0, and the controller head has {ONEDNN or 'none'}; set the same on both",
        ),
        (
            {"has_bfloat16": False},
            "has a CPU with no bfloat16, and the controller head has one with bfloat16, so training.precision=bfloat16"
            " would mean different things; set training.precision=float32",
        ),
    ],
)
def test_what_differs_is_said_of_both(there: dict[str, object], said: str) -> None:
    assert difference(HERE, replace(THERE, **there), precisions=["bfloat16"]) == f"node n1 (10.0.0.1) {said}"


def test_a_cpu_without_bfloat16_may_train_float32() -> None:
    assert difference(HERE, replace(THERE, has_bfloat16=False), precisions=["float32"]) is None
