"""Optimizers and schedules: what was asked for, step by step."""

import math

import keras
import numpy as np
import pytest

from hcr.gate.compose import compose
from hcr.model.building import build_optimizer


def rates(overrides: list[str], total_steps: int, steps: list[int]) -> list[float]:
    """The learning rate at each of `steps`."""
    cfg = compose(overrides)
    optimizer = build_optimizer(cfg.optimizer, cfg.schedule, total_steps)
    found = []
    for step in steps:
        optimizer.iterations.assign(step)
        found.append(float(optimizer.learning_rate.numpy()))
    return found


def test_adam_has_the_settings_of_its_config() -> None:
    cfg = compose(["optimizer=adam", "optimizer.beta_1=0.8", "optimizer.beta_2=0.95", "optimizer.epsilon=0.001"])
    optimizer = build_optimizer(cfg.optimizer, cfg.schedule, 10)
    assert isinstance(optimizer, keras.optimizers.Adam)
    assert (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon) == (0.8, 0.95, 0.001)


def test_sgd_has_nesterov_momentum() -> None:
    cfg = compose(["optimizer=sgd", "optimizer.momentum=0.7"])
    optimizer = build_optimizer(cfg.optimizer, cfg.schedule, 10)
    assert isinstance(optimizer, keras.optimizers.SGD)
    assert (optimizer.momentum, optimizer.nesterov) == (0.7, True)


def test_a_constant_schedule_keeps_the_rate() -> None:
    assert rates(["schedule=constant", "optimizer.learning_rate=0.25"], 100, [0, 50, 100]) == [0.25, 0.25, 0.25]


def test_cosine_warms_up_in_a_line_and_falls_by_half_a_cosine() -> None:
    overrides = ["schedule=cosine", "schedule.warmup_fraction=0.2", "optimizer.learning_rate=1.0"]
    found = rates([*overrides, "schedule.final_fraction=0.1"], 100, [0, 10, 20, 40, 60, 100])
    fall = [0.1 + 0.9 * (1 + math.cos(math.pi * share)) / 2 for share in (0.0, 0.25, 0.5, 1.0)]
    assert found == pytest.approx([0.0, 0.5, *fall], abs=1e-6)


def test_cosine_without_warm_up_starts_at_the_peak() -> None:
    overrides = ["schedule=cosine", "schedule.warmup_fraction=0", "optimizer.learning_rate=0.5"]
    assert rates(overrides, 100, [0, 100]) == pytest.approx([0.5, 0.0], abs=1e-7)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("rmsprop", keras.optimizers.RMSprop), ("lion", keras.optimizers.Lion)],
)
def test_other_optimizers_are_keras_own(name: str, kind: type) -> None:
    cfg = compose([f"optimizer={name}"])
    assert type(build_optimizer(cfg.optimizer, cfg.schedule, 10)) is kind


@pytest.mark.parametrize(("name", "kind"), [("adam", keras.optimizers.Adam), ("adamw", keras.optimizers.AdamW)])
def test_adam_in_one_operation_steps_as_keras_does(name: str, kind: type) -> None:
    cfg = compose([f"optimizer={name}", "optimizer.learning_rate=0.05", "optimizer.epsilon=0.01", "schedule=constant"])
    ours = build_optimizer(cfg.optimizer, cfg.schedule, 10)
    settings = {"weight_decay": ours.weight_decay} if name == "adamw" else {}
    theirs = kind(0.05, beta_1=ours.beta_1, beta_2=ours.beta_2, epsilon=0.01, **settings)
    random = np.random.default_rng(0)
    start = random.normal(size=(5, 7)).astype(np.float32)
    found, expected = (keras.Variable(start, name="kernel") for _ in range(2))
    for _ in range(20):
        gradient = keras.ops.convert_to_tensor(random.normal(size=(5, 7)).astype(np.float32))
        ours.apply([gradient], [found])
        theirs.apply([gradient], [expected])
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-5, atol=1e-5)
    assert not np.allclose(found.numpy(), start, atol=0.1)
    for mine, other in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(np.asarray(mine), np.asarray(other), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["adamw", "lion"])
def test_kernels_decay_and_biases_and_norms_do_not(name: str) -> None:
    cfg = compose(
        [f"optimizer={name}", "optimizer.weight_decay=0.5", "optimizer.learning_rate=0.1", "schedule=constant"]
    )
    optimizer = build_optimizer(cfg.optimizer, cfg.schedule, 10)
    variables = [keras.Variable(np.ones(3, np.float32), name=name) for name in ("kernel", "bias", "gamma", "beta")]
    optimizer.apply([keras.ops.zeros(3)] * 4, variables)
    kernel, *others = (variable.numpy()[0] for variable in variables)
    assert kernel == pytest.approx(1 - 0.1 * 0.5)
    assert others == [1, 1, 1]


def test_one_cycle_is_a_triangle() -> None:
    overrides = ["schedule=onecycle", "schedule.warmup_fraction=0.2", "schedule.start_fraction=0.1"]
    found = rates(
        [*overrides, "schedule.final_fraction=0.05", "optimizer.learning_rate=1.0"], 100, [0, 10, 20, 60, 100]
    )
    assert found == pytest.approx([0.1, 0.55, 1.0, 0.525, 0.05], abs=1e-6)


def test_exponential_falls_by_the_same_factor_at_every_step() -> None:
    overrides = ["schedule=exponential", "schedule.final_fraction=0.01", "optimizer.learning_rate=1.0"]
    assert rates(overrides, 100, [0, 50, 100]) == pytest.approx([1.0, 0.1, 0.01], rel=1e-5)
