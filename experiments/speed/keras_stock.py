"""The Keras MNIST example as a user would write it, with stock `fit` on NumPy arrays, over mnist-original.mat.

    python keras_stock.py MNIST_ORIGINAL_MAT SEED EPOCHS OUTPUT_JSON [--images 60000] [--threads 1]

Knows nothing of hcr. Beside what a user would write it only notes the time of each epoch with its validation, and how
good the model is on test after it, which is not part of that time.
"""

import argparse
import json
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from scipy.io import loadmat

NUM_TRAIN = 60_000
BATCH_SIZE = 128


def load(path, seed, images):
    """`images` images for training and validation, in random order, and all test images; each with one-hot labels."""
    file = loadmat(path)
    x = file["data"].T.reshape(-1, 28, 28, 1).astype("float32") / 255
    y = keras.utils.to_categorical(file["label"][0], 10)
    # The file is sorted by label, and validation_split takes the last.
    order = np.random.default_rng(seed).permutation(NUM_TRAIN)[:images]
    return x[order], y[order], x[NUM_TRAIN:], y[NUM_TRAIN:]


def build():
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    return model


class Times(keras.callbacks.Callback):
    """When each epoch, with its validation, was over, and the accuracy on test then."""

    def __init__(self, x_test, y_test):
        super().__init__()
        self.test = (x_test, y_test)
        self.epoch_s, self.val_accuracy, self.test_accuracy = [], [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.epoch_s.append(time.perf_counter() - self.start)
        self.val_accuracy.append(logs["val_accuracy"])
        self.test_accuracy.append(accuracy(self.model, *self.test))


def accuracy(model, x, y):
    starts = range(0, len(x), 1000)
    right = [model(x[i : i + 1000], training=False).numpy().argmax(1) == y[i : i + 1000].argmax(1) for i in starts]
    return float(np.concatenate(right).mean())


def parser():
    words = argparse.ArgumentParser()
    words.add_argument("mnist", type=Path, help="mnist-original.mat")
    words.add_argument("seed", type=int)
    words.add_argument("epochs", type=int)
    words.add_argument("output", type=Path, help="JSON")
    words.add_argument("--images", type=int, default=NUM_TRAIN, help="for training and validation")
    words.add_argument("--threads", type=int, help="TensorFlow's; one per core if left out")
    return words


def main(options, build, fit):
    if options.threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
        tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    keras.utils.set_random_seed(options.seed)
    x_train, y_train, x_test, y_test = load(options.mnist, options.seed, options.images)
    times = Times(x_test, y_test)
    fit(build(), x_train, y_train, options.epochs, times)
    values = {name: getattr(times, name) for name in ("epoch_s", "val_accuracy", "test_accuracy")}
    num_validation = len(x_train) // 10
    images = {"train": len(x_train) - num_validation, "val": num_validation}
    options.output.write_text(json.dumps({**values, "images": images}), encoding="utf-8")


def fit(model, x_train, y_train, epochs, times):
    model.fit(
        x_train, y_train, batch_size=BATCH_SIZE, epochs=epochs, validation_split=0.1, verbose=0, callbacks=[times]
    )


if __name__ == "__main__":
    main(parser().parse_args(), build, fit)
