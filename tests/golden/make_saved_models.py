"""Makes ``tests/golden/data/saved_models``: SavedModels of what has no Keras file SegRT could read.

    k3/bin/python tests/golden/make_saved_models.py grouped
    k3/bin/python tests/golden/make_saved_models.py augmented
    k215/bin/python tests/golden/make_saved_models.py subclassed

The environments are those of ``make_goldens.py`` with Keras 3.15 and with TensorFlow 2.15. Beside
each folder lies ``<name>.npz`` with an input and what ``predict`` said.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np

DATA = Path(__file__).parent / "data" / "saved_models"


def grouped():
    """Convolutions with groups, which Keras 3 has compiled by XLA, as ``export`` writes them."""
    import keras

    layers = keras.layers
    image = layers.Input((8, 6, 4), name="image")
    x = layers.Conv2D(8, 3, groups=2, padding="same", activation="relu")(image)
    x = layers.Conv2D(8, 3, groups=8, strides=2, padding="same")(x)
    mask = layers.Conv2DTranspose(2, 3, strides=2, padding="same")(x)
    model = keras.Model(image, mask)
    draw(model)
    keep("grouped", model, (2, 8, 6, 4))
    model.export(DATA / "grouped", verbose=False)


def augmented():
    """Augmentation in the network, which ``export`` of Keras 3.15 leaves drawing."""
    import keras

    layers = keras.layers
    image = layers.Input((8, 6, 3), name="image")
    x = layers.RandomFlip()(image)
    model = keras.Model(image, layers.Conv2D(1, 3, padding="same")(x))
    draw(model)
    keep("augmented", model, (2, 8, 6, 3))
    model.export(DATA / "augmented", verbose=False)


def subclassed():
    """A subclassed model: a function of XLA's in it, two ThresholdedReLU in a row, two outputs."""
    import tensorflow as tf

    layers = tf.keras.layers

    class Net(tf.keras.Model):
        def __init__(self):
            super().__init__()
            self.first = layers.Conv2D(4, 3, padding="same")
            self.norm = layers.BatchNormalization()
            self.cut, self.cut_more = layers.ThresholdedReLU(0.3), layers.ThresholdedReLU(0.6)
            self.drop = layers.Dropout(0.5)
            self.mask = layers.Conv2D(2, 1, activation="softmax")
            self.edge = layers.Conv2D(1, 1)

        @tf.function(jit_compile=True)
        def smooth(self, x):
            return tf.nn.gelu(self.first(x))

        def call(self, inputs, training=False):
            skip = self.norm(self.smooth(inputs), training=training)
            x = self.cut_more(self.cut(tf.nn.max_pool2d(skip, 2, 2, "SAME")))
            x = self.drop(x, training=training)
            x = tf.concat([tf.image.resize(x, tf.shape(skip)[1:3], method="nearest"), skip], -1)
            return {"mask": self.mask(x), "edge": self.edge(x)}

    model = Net()
    model(np.zeros((1, 8, 6, 3), "float32"))
    draw(model)
    keep("subclassed", model, (2, 8, 6, 3))
    model.save(DATA / "subclassed", save_format="tf")
    (DATA / "subclassed" / "keras_metadata.pb").unlink()


def draw(model):
    random = np.random.RandomState(7)
    for weight in model.weights:
        if "variance" in weight.name:
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
        elif "float" in str(weight.dtype):
            weight.assign(random.normal(0.0, 0.4, weight.shape))


def keep(name, model, shape):
    DATA.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(DATA / name, ignore_errors=True)
    image = np.random.RandomState(8).normal(size=shape).astype("float32")
    answer = model.predict(image, verbose=0)
    outputs = answer if isinstance(answer, dict) else {"answer": answer}
    np.savez_compressed(DATA / f"{name}.npz", image=image, **outputs)


if __name__ == "__main__":
    {"grouped": grouped, "augmented": augmented, "subclassed": subclassed}[sys.argv[1]]()
