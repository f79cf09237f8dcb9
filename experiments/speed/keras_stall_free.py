"""The same example with the stalls of stock `fit` removed: a tf.data pipeline that is not tuned while it runs.

python keras_stall_free.py MNIST_ORIGINAL_MAT SEED EPOCHS OUTPUT_JSON [--images 60000] [--threads 1]
"""

import tensorflow as tf
from keras_stock import BATCH_SIZE, build, main, parser

OPTIONS = parser().parse_args()


def pipeline(x, y, *, shuffle):
    data = tf.data.Dataset.from_tensor_slices((x, y))
    if shuffle:
        data = data.shuffle(len(x))
    data = data.batch(BATCH_SIZE, num_parallel_calls=OPTIONS.threads or 2).prefetch(4)
    options = tf.data.Options()
    options.autotune.enabled = False
    return data.with_options(options)


def fit(model, x_train, y_train, epochs, times):
    num_validation = len(x_train) // 10
    train = pipeline(x_train[:-num_validation], y_train[:-num_validation], shuffle=True)
    validation = pipeline(x_train[-num_validation:], y_train[-num_validation:], shuffle=False)
    model.fit(train, epochs=epochs, validation_data=validation, shuffle=False, verbose=0, callbacks=[times])


if __name__ == "__main__":
    main(OPTIONS, build, fit)
