"""The training step: traced once, and the same to the bit however an epoch is cut into chunks."""

from typing import Any

import numpy as np
import pytest

from hcr.data.splitting import Splits, Subset, load_splits
from hcr.gate import RunConfig
from hcr.gate.compose import compose
from hcr.training import TrainingState, chunks, fit
from hcr.training.build import build
from hcr.training.chunks import Chunk
from hcr.training.steps import TrainingSteps

SMALL = ["model.filters=8", "model.dense_units=[]", "training.epochs=2", "training.batch_size=32"]
PLAIN = compose(SMALL)
EVERYTHING = compose(
    [
        *SMALL,
        "model.dropout=0.5",
        "augmentation=affine",
        "optimizer=muon",
        "training.average_decay=0.9",
        "training.class_weights=balanced",
    ]
)


@pytest.fixture(scope="module")
def splits() -> Splits:
    return load_splits(PLAIN.dataset, PLAIN.split, seed=0)


def train(splits: Splits, subset: Subset, cfg: RunConfig) -> tuple[list[np.ndarray], TrainingState]:
    model, optimizer = build(cfg, len(subset))
    state = fit(
        model, optimizer, subset, splits.val, cfg.training, cfg.augmentation, monitor=cfg.monitor, seed=cfg.seed
    )
    return model.get_weights(), state


@pytest.mark.slow
@pytest.mark.parametrize("cfg", [PLAIN, EVERYTHING], ids=["plain", "everything"])
def test_how_an_epoch_is_cut_into_chunks_changes_no_weight(splits: Splits, cfg: RunConfig) -> None:
    whole, state = train(splits, splits.train, cfg)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "MOST_STEPS", 3)
        cut, other = train(splits, splits.train, cfg)
    assert all(np.array_equal(one, another) for one, another in zip(whole, cut, strict=True))
    for row, another_row in zip(state.history, other.history, strict=True):
        for name in ("train/accuracy", "val/loss", "val/accuracy", "lr"):
            assert row[name] == another_row[name]
        # A mean of float64 sums, which are added up in another order.
        assert row["train/loss"] == pytest.approx(another_row["train/loss"], rel=1e-12)


@pytest.mark.slow
def test_images_of_a_view_train_as_the_same_images_in_an_array_do(splits: Splits) -> None:
    in_memory = Subset(splits.train.images[:], splits.train.labels, splits.train.index)
    (viewed, a), (copied, b) = train(splits, splits.train, PLAIN), train(splits, in_memory, PLAIN)
    assert all(np.array_equal(one, another) for one, another in zip(viewed, copied, strict=True))
    assert [row["train/loss"] for row in a.history] == [row["train/loss"] for row in b.history]


def test_chunks_of_any_size_are_traced_once(splits: Splits) -> None:
    training = PLAIN.training.replace(shards=2)
    model, optimizer = build(PLAIN, len(splits.train))
    steps = TrainingSteps(model, optimizer, splits.train.labels, training, PLAIN.augmentation)
    labels = splits.train.labels.astype(np.int32)
    seen: list[Any] = []
    for size in (32, 512, 100, 1, 33):
        sizes = steps.run(Chunk(splits.train.images[:size], labels[:size]), [0, 0])[1]
        seen.append(np.asarray(sizes).tolist())
    assert seen == [[32], [32] * 16, [32, 32, 32, 4], [1], [32, 1]]
    # The batches of one image are traced apart: they cannot be cut.
    assert [own.experimental_get_tracing_count() for own in steps._traced.values()] == [1, 1]


@pytest.mark.parametrize("size", [64 + 3, 3])
def test_a_last_batch_of_fewer_images_than_shards_is_trained_on_whole(splits: Splits, size: int) -> None:
    chunk = Chunk(splits.train.images[:size], splits.train.labels[:size].astype(np.int32))
    found = []
    for shards in (1, 4):
        model, optimizer = build(EVERYTHING, len(splits.train))
        training = EVERYTHING.training.replace(shards=shards)
        steps = TrainingSteps(model, optimizer, splits.train.labels, training, EVERYTHING.augmentation)
        losses, sizes, right, is_finite = steps.run(chunk, [0, 5])
        assert np.asarray(sizes).tolist() == ([32, 32, 3] if size > 3 else [3])
        assert is_finite
        found.append((np.asarray(losses), int(right), model.get_weights()))
    (losses, right, weights), (cut_losses, cut_right, cut_weights) = found
    np.testing.assert_allclose(cut_losses, losses, rtol=1e-3)
    assert abs(cut_right - right) <= 1
    for one, another in zip(weights, cut_weights, strict=True):
        np.testing.assert_allclose(another, one, atol=2e-3)


def test_a_weight_that_is_nan_is_told_although_the_loss_is_finite(splits: Splits) -> None:
    import keras
    from keras import layers

    images = keras.Input((8, 8, 1), dtype="uint8")
    convolution = layers.Conv2D(4, 3)
    x = keras.ops.nan_to_num(convolution(layers.Rescaling(1 / 255)(images)))  # as some CPUs' activations do
    model = keras.Model(images, layers.Dense(10, activation="softmax")(layers.Flatten()(x)))
    convolution.bias.assign([np.nan, 0.0, 0.0, 0.0])
    steps = TrainingSteps(model, keras.optimizers.SGD(), splits.train.labels, PLAIN.training, PLAIN.augmentation)
    chunk = Chunk(splits.train.images[:32], splits.train.labels[:32].astype(np.int32))
    losses, _, _, is_finite = steps.run(chunk, [0, 0])
    assert np.isfinite(losses).all()
    assert not is_finite
