"""The same example with the stalls of stock `fit` removed: a tf.data pipeline that is not tuned while it runs.

python keras_stall_free.py MNIST_ORIGINAL_MAT SEED EPOCHS OUTPUT_JSON
"""

import tensorflow as tf
from keras_stock import main

NUM_VALIDATION = 6_000


def pipeline(x, y, *, shuffle):
    data = tf.data.Dataset.from_tensor_slices((x, y))
    if shuffle:
        data = data.shuffle(len(x))
    data = data.batch(128, num_parallel_calls=2).prefetch(4)
    options = tf.data.Options()
    options.autotune.enabled = False
    return data.with_options(options)


def fit(model, x_train, y_train, epochs, times):
    train = pipeline(x_train[:-NUM_VALIDATION], y_train[:-NUM_VALIDATION], shuffle=True)
    validation = pipeline(x_train[-NUM_VALIDATION:], y_train[-NUM_VALIDATION:], shuffle=False)
    model.fit(train, epochs=epochs, validation_data=validation, shuffle=False, verbose=0, callbacks=[times])


if __name__ == "__main__":
    main(fit)
