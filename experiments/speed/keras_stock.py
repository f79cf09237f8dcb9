"""The Keras MNIST example as a user would write it, with stock `fit` on NumPy arrays, over mnist-original.mat.

    python keras_stock.py MNIST_ORIGINAL_MAT SEED EPOCHS OUTPUT_JSON

Knows nothing of hcr. Beside what a user would write it only notes the time of each epoch with its validation, and how
good the model is on test after it, which is not part of that time.
"""

import json
import sys
import time
from pathlib import Path

import keras
import numpy as np
from keras import layers
from scipy.io import loadmat

NUM_TRAIN = 60_000
SEED = int(sys.argv[2])


def load(path):
    file = loadmat(path)
    images = file["data"].T.reshape(-1, 28, 28, 1).astype("float32") / 255
    labels = keras.utils.to_categorical(file["label"][0], 10)
    # The file is sorted by label, and validation_split takes the last.
    order = np.random.default_rng(SEED).permutation(NUM_TRAIN)
    train = (images[:NUM_TRAIN][order], labels[:NUM_TRAIN][order])
    return *train, images[NUM_TRAIN:], labels[NUM_TRAIN:]


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


def main(fit):
    mnist, epochs, output = sys.argv[1], int(sys.argv[3]), sys.argv[4]
    keras.utils.set_random_seed(SEED)
    x_train, y_train, x_test, y_test = load(mnist)
    times = Times(x_test, y_test)
    fit(build(), x_train, y_train, epochs, times)
    values = {name: getattr(times, name) for name in ("epoch_s", "val_accuracy", "test_accuracy")}
    Path(output).write_text(json.dumps(values), encoding="utf-8")


def fit(model, x_train, y_train, epochs, times):
    model.fit(x_train, y_train, batch_size=128, epochs=epochs, validation_split=0.1, verbose=0, callbacks=[times])


if __name__ == "__main__":
    main(fit)
