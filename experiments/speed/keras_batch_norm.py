"""hcr's `cnn` and `resnet`, which have batch normalization, as a user of Keras would write them, with stock `fit`.

    python keras_batch_norm.py MNIST_ORIGINAL_MAT SEED EPOCHS OUTPUT_JSON --model resnet [--images 21000] [--threads 1]

Knows nothing of hcr. With the same weights both give the same probabilities as hcr's models.
"""

import keras
from keras import layers
from keras_stock import main, parser

BATCH_SIZE = 64
LEARNING_RATE = 0.003
MOMENTUM = 0.9  # of batch normalization's moving statistics


def norm_relu(x):
    return layers.Activation("relu")(layers.BatchNormalization(momentum=MOMENTUM)(x))


def cnn():
    """Two blocks of convolution, batch norm, ReLU and pooling, then a dense layer: 421,930 parameters."""
    images = keras.Input((28, 28, 1))
    x = images
    for filters in (32, 64):
        x = norm_relu(layers.Conv2D(filters, 3, padding="same", use_bias=False)(x))
        x = layers.MaxPooling2D(2)(x)
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    x = layers.Dense(128, activation="relu")(x)
    x = layers.Dropout(0.3)(x)
    return keras.Model(images, layers.Dense(10, activation="softmax")(x))


def resnet():
    """Three pre-activation residual blocks of 16, 32 and 64 filters, then their means: 78,042 parameters."""
    images = keras.Input((28, 28, 1))
    x = layers.Conv2D(16, 3, padding="same", use_bias=False)(images)
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        y = norm_relu(x)
        shortcut = x if strides == 1 else layers.Conv2D(filters, 1, strides, use_bias=False)(y)
        y = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(y)
        y = layers.Conv2D(filters, 3, padding="same", use_bias=False)(norm_relu(y))
        x = layers.Add()([shortcut, y])
    x = layers.Dropout(0.1)(layers.GlobalAveragePooling2D()(norm_relu(x)))
    return keras.Model(images, layers.Dense(10, activation="softmax")(x))


MODELS = {"cnn": cnn, "resnet": resnet}


def compiled(model):
    model.compile(loss="categorical_crossentropy", optimizer=keras.optimizers.Adam(LEARNING_RATE), metrics=["accuracy"])
    return model


def fit(model, x_train, y_train, epochs, times):
    model.fit(
        x_train, y_train, batch_size=BATCH_SIZE, epochs=epochs, validation_split=0.1, verbose=0, callbacks=[times]
    )


if __name__ == "__main__":
    words = parser()
    words.add_argument("--model", choices=MODELS, required=True)
    options = words.parse_args()
    main(options, lambda: compiled(MODELS[options.model]()), fit)
