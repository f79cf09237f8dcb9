"""The training loop: it learns, stops, restores, resumes and refuses NaN."""

import gc
import weakref
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest

from hcr.config import ConfigError, TrainingError
from hcr.data.splitting import Splits, Subset, load_splits
from hcr.gate import RunConfig
from hcr.gate.compose import compose
from hcr.training import TrainingState, fit, predict_probabilities
from hcr.training.build import build
from hcr.training.chunks import Chunk
from hcr.training.loop import is_better, steps_per_epoch
from hcr.training.steps import TrainingSteps, balanced_class_weights

SMALL = ["model.filters=8", "model.dense_units=[]"]
CFG = compose([*SMALL, "training.epochs=4", "training.batch_size=32", "optimizer.learning_rate=0.01"])


@pytest.fixture(scope="module")
def splits() -> Splits:
    return load_splits(CFG.dataset, CFG.split, seed=0)


def train(splits: Splits, cfg: RunConfig = CFG, *, state: TrainingState | None = None, **hooks: Any) -> tuple[Any, Any]:
    model, optimizer = build(cfg, len(splits.train))
    done = fit(
        model,
        optimizer,
        splits.train,
        splits.val,
        cfg.training,
        cfg.augmentation,
        monitor=cfg.monitor,
        seed=cfg.seed,
        state=state,
        **hooks,
    )
    return model, done


def with_training(**settings: Any) -> RunConfig:
    return CFG.replace(training=CFG.training.replace(**settings))


def numbers(state: TrainingState) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in state.history]


@pytest.fixture(scope="module")
def plain(splits: Splits) -> tuple[Any, TrainingState]:
    """A model that was trained as CFG says, and where its training ended. To be read only."""
    return train(splits)


def test_real_digits_are_learned(plain: tuple[Any, TrainingState]) -> None:
    _, state = plain
    assert [row["train/loss"] for row in state.history] == sorted(
        (row["train/loss"] for row in state.history), reverse=True
    )
    assert state.best["val/accuracy"] > 0.8


def test_the_public_metrics_are_there_for_every_epoch(splits: Splits) -> None:
    _, state = train(splits, with_training(epochs=2))
    names = {"train/loss", "train/accuracy", "val/loss", "val/accuracy", "lr", "time/epoch_s", "time/images_per_s"}
    assert [set(row) for row in state.history] == [names, names]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_another_seed_does_not(
    splits: Splits, plain: tuple[Any, TrainingState]
) -> None:
    (first, a), (again, b), (other, _) = plain, train(splits), train(splits, CFG.replace(seed=1))
    assert numbers(a) == numbers(b)
    assert all(np.array_equal(x, y) for x, y in zip(first.get_weights(), again.get_weights(), strict=True))
    assert not all(np.array_equal(x, y) for x, y in zip(first.get_weights(), other.get_weights(), strict=True))


EVERYTHING = compose(
    [
        *SMALL,
        "training.epochs=4",
        "model.dropout=0.5",
        "augmentation=affine",
        "schedule=onecycle",
        "optimizer=muon",
        "training.average_decay=0.9",
        "training.class_weights=balanced",
    ]
)


@pytest.mark.slow
@pytest.mark.parametrize("cfg", [CFG, EVERYTHING], ids=["plain", "everything"])
def test_going_on_from_a_state_ends_where_the_uninterrupted_run_ends(splits: Splits, cfg: RunConfig) -> None:
    whole, uninterrupted = train(splits, cfg)

    class Stop(Exception):
        pass

    kept: list[TrainingState] = []

    def stop_after_two(state: TrainingState) -> None:
        if state.epoch == 2:
            kept.append(state)
            raise Stop

    with pytest.raises(Stop):
        train(splits, cfg, on_epoch=stop_after_two)
    resumed, state = train(splits, cfg, state=kept[0])
    assert numbers(state) == numbers(uninterrupted)
    assert all(np.array_equal(x, y) for x, y in zip(whole.get_weights(), resumed.get_weights(), strict=True))


@pytest.mark.slow
def test_an_average_of_weights_is_what_is_validated_and_kept(splits: Splits, plain: tuple[Any, TrainingState]) -> None:
    model, state = train(splits, with_training(average_decay=0.9))
    other, without = plain
    assert not all(np.array_equal(x, y) for x, y in zip(other.get_weights(), model.get_weights(), strict=True))
    assert all(np.array_equal(x, y) for x, y in zip(model.get_weights(), state.best_weights, strict=True))
    if state.best_epoch == state.epoch:
        assert all(np.array_equal(x, y) for x, y in zip(state.average, state.best_weights, strict=True))
    probabilities = predict_probabilities(model, splits.val.images)
    assert (probabilities.argmax(axis=1) == splits.val.labels).mean() == pytest.approx(state.best["val/accuracy"])
    assert np.array_equal(probabilities, state.best_probabilities)
    # The weights that are trained on are the model's own: training goes the same way with an average and without.
    assert [row["train/loss"] for row in state.history] == [row["train/loss"] for row in without.history]


def test_balanced_class_weights_make_classes_count_alike() -> None:
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2], np.int64)
    weights = balanced_class_weights(labels, 3)
    np.testing.assert_allclose(weights, [0.5, 1.5, 3.0])
    assert weights[labels].mean() == pytest.approx(1)


@pytest.mark.slow
def test_balanced_class_weights_help_a_rare_class(splits: Splits) -> None:
    rare = np.flatnonzero(splits.train.labels == 3)[6:]
    keep = np.setdiff1d(np.arange(len(splits.train)), rare)
    few = replace(splits, train=Subset(splits.train.images[keep], splits.train.labels[keep], splits.train.index[keep]))
    recall = {}
    for name in ("none", "balanced"):
        model, _ = train(few, with_training(class_weights=name))
        predicted = predict_probabilities(model, splits.val.images).argmax(axis=1)
        recall[name] = (predicted == 3)[splits.val.labels == 3].mean()
    assert recall["balanced"] > recall["none"]


@pytest.mark.slow
def test_the_model_ends_with_the_weights_of_its_best_epoch(splits: Splits) -> None:
    seen: list[float] = []
    # A rate at which the loss jumps about, so that the best epoch is seldom the last.
    cfg = compose([*SMALL, "training.epochs=8", "schedule=constant", "optimizer.learning_rate=0.3"])
    model, state = train(splits, cfg, on_epoch=lambda state: seen.append(state.history[-1]["val/loss"]))
    probabilities = predict_probabilities(model, splits.val.images)
    loss = -np.log(np.clip(probabilities[np.arange(len(splits.val)), splits.val.labels], 1e-7, 1)).mean()
    assert state.best_epoch == int(np.argmin(seen)) + 1 < 8
    assert loss == pytest.approx(min(seen), rel=1e-5)
    assert np.array_equal(probabilities, state.best_probabilities)


@pytest.mark.slow
def test_the_last_epoch_is_kept_where_that_is_asked_for(splits: Splits) -> None:
    cfg = compose([*SMALL, "training.epochs=8", "schedule=constant", "optimizer.learning_rate=0.3"])
    best, _ = train(splits, cfg)
    model, state = train(splits, cfg.replace(training=cfg.training.replace(keep="last", patience=None)))
    assert state.best_epoch == state.epoch == 8
    assert all(np.array_equal(x, y) for x, y in zip(model.get_weights(), state.best_weights, strict=True))
    assert not all(np.array_equal(x, y) for x, y in zip(model.get_weights(), best.get_weights(), strict=True))


def test_patience_stops_a_run_that_no_longer_improves(splits: Splits) -> None:
    # No epoch improves by 100, so the first stays the best.
    _, state = train(splits, with_training(epochs=10, patience=2, min_delta=100.0))
    assert (state.epoch, state.best_epoch) == (3, 1)


def test_a_monitored_accuracy_is_better_when_higher_and_a_loss_when_lower() -> None:
    assert is_better(0.9, 0.8, "val/accuracy", 0.0)
    assert not is_better(0.9, 0.8, "val/loss", 0.0)
    assert not is_better(0.85, 0.8, "val/accuracy", 0.1)
    assert not is_better(0.8, 0.8, "val/loss", 0.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["model=mlp", "model.batch_norm=false"], r"epoch 1, step \d+: the loss became (nan|inf)"),
        # Whether the loss shows it depends on the CPU's code for activations and pooling.
        (SMALL, r"epoch 1, (by step \d+: weights became NaN|step \d+: the loss became nan)"),
    ],
)
def test_training_that_diverges_stops_with_a_clear_error(splits: Splits, overrides: list[str], told: str) -> None:
    cfg = compose([*overrides, "schedule=constant", "optimizer.learning_rate=1e30"])
    ended: list[int] = []
    with pytest.raises(TrainingError, match=told + r".*optimizer\.learning_rate"):
        train(splits, cfg, on_epoch=lambda state: ended.append(state.epoch))
    assert ended == []


@pytest.mark.parametrize(
    ("overrides", "layer"),
    [
        (["model=mlp", "model.batch_norm=true"], "norm1"),
        (["model.pooling=none", "model.strides=2", "model.depth=3"], "norm3"),
        (["model=resnet", "model.filters=[4,8,8,8]"], "stage4_block1_norm2"),
    ],
)
def test_batches_of_one_image_are_refused_where_batch_norm_would_leave_nothing_of_it(
    splits: Splits, overrides: list[str], layer: str
) -> None:
    told = f"training.batch_size: expected 2 or more, got 1; the batch normalization {layer} has one value per channel"
    with pytest.raises(ConfigError, match=told):
        build(compose([*overrides, "training.batch_size=1"]), len(splits.train))
    build(compose([*overrides, "training.batch_size=2"]), len(splits.train))


def test_batches_of_one_image_are_fine_for_a_norm_of_many_pixels_and_for_none(splits: Splits) -> None:
    for overrides in ([], ["model=mlp", "model.batch_norm=false"]):
        build(compose([*overrides, "training.batch_size=1"]), len(splits.train))


@pytest.mark.slow
def test_label_smoothing_raises_the_training_loss_and_not_what_validation_measures(
    splits: Splits, plain: tuple[Any, TrainingState]
) -> None:
    _, smooth = train(splits, with_training(label_smoothing=0.3))
    assert smooth.history[-1]["train/loss"] > plain[1].history[-1]["train/loss"] + 0.5


def test_every_image_is_trained_on_once_an_epoch_and_the_last_batch_takes_the_rest(splits: Splits) -> None:
    few = Subset(splits.train.images[:150], splits.train.labels[:150], splits.train.index[:150])
    calls: list[tuple[int, int, int]] = []
    cfg = with_training(epochs=1, batch_size=64)
    model, optimizer = build(cfg, 150)
    fit(
        model,
        optimizer,
        few,
        splits.val,
        cfg.training,
        cfg.augmentation,
        monitor=cfg.monitor,
        seed=0,
        on_steps=lambda now: calls.append((now.epoch, now.steps, now.num_steps)),
    )
    assert steps_per_epoch(150, cfg.training) == 3
    assert calls == [(1, 3, 3)]
    assert int(optimizer.iterations) == 3


@pytest.mark.slow
def test_an_epoch_of_fewer_steps_takes_other_images_each_time_and_the_schedule_fits_it(splits: Splits) -> None:
    cfg = compose([*SMALL, "training.epochs=2", "training.steps_per_epoch=3", "schedule=onecycle"])
    seen: list[list[bytes]] = []
    model, optimizer = build(cfg, len(splits.train))
    real = TrainingSteps.run

    def run(steps: TrainingSteps, chunk: Chunk, seed_and_step: list[int]) -> Any:
        seen.append([image.tobytes() for image in chunk.images])
        return real(steps, chunk, seed_and_step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingSteps, "run", run)
        state = fit(
            model, optimizer, splits.train, splits.val, cfg.training, cfg.augmentation, monitor=cfg.monitor, seed=0
        )
    assert [len(set(order)) for order in seen] == [96, 96]
    assert set(seen[0]) != set(seen[1])
    assert int(optimizer.iterations) == 6
    assert state.history[-1]["lr"] == pytest.approx(0, abs=1e-6)  # the triangle ends where training does
    assert steps_per_epoch(50, cfg.training) == 2


def test_a_model_that_has_predicted_is_forgotten_with_its_last_user(splits: Splits) -> None:
    model, _ = build(CFG, 100)
    predict_probabilities(model, splits.val.images)
    held = weakref.ref(model)
    del model
    keras.utils.clear_session()
    gc.collect()
    assert held() is None


def test_predictions_do_not_depend_on_how_many_are_asked_for(splits: Splits) -> None:
    model, _ = build(CFG, len(splits.train))
    images = np.concatenate([splits.train.images, splits.train.images])[:2300]
    whole = predict_probabilities(model, images)
    assert whole.shape == (2300, 10)
    np.testing.assert_allclose(whole[1990:2010], predict_probabilities(model, images[1990:2010]), rtol=1e-5)
    assert predict_probabilities(model, images[:0]).shape == (0, 10)
