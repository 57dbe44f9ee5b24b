"""Makes ``tests/golden/data/yaml``: architectures as ``model.to_yaml()`` wrote them.

    k209/bin/python tests/golden/make_yaml.py
    k224/bin/python tests/golden/make_yaml.py
    k224/bin/python tests/golden/make_yaml.py --keras tensorflow.keras

The environments are those of ``make_goldens.py`` with Keras 2.0.9 and 2.2.4. Each run writes one
``<Keras>.yaml``, the weights beside it (``.h5``), and an input with the net's answer (``.npz``).
"""

# The oldest Keras needs Python 3.7, so this is written in its language.
# ruff: noqa: PTH100, PTH103, PTH112, PTH118, PTH120, PTH123

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
from make_goldens import load_kit

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "yaml")


def build(kit):
    """Return a net with nested models, tuples, lists of axes and shared settings."""
    layers = kit.layers
    image = kit.Input((8, 6, 3), name="image")
    x = layers.Conv2D(4, (3, 3), padding="same", activation="relu")(image)
    skip = layers.BatchNormalization(axis=3)(x)
    x = layers.MaxPooling2D((2, 2))(skip)
    x = layers.ZeroPadding2D(((1, 0), (0, 1)))(x)
    x = layers.Conv2D(6, (2, 2))(x)
    x = layers.UpSampling2D((2, 2))(x)
    x = layers.Concatenate(axis=-1)([x, skip])
    inside = kit.Input((8, 6, 10), name="inside")
    inner = kit.functional(inside, layers.Conv2D(2, 1)(layers.LeakyReLU(0.2)(inside)), "inner")
    tail = kit.Sequential(name="tail")
    tail.add(layers.Conv2D(3, 3, padding="same", input_shape=(8, 6, 2)))
    tail.add(layers.PReLU(shared_axes=[1, 2]))
    return kit.functional(image, tail(inner(x)), "net")


def main():
    """Build the net, draw weights, write the three files."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--keras", default="keras")
    kit = load_kit(parser.parse_args().keras)
    model = build(kit)
    kit.randomise(model, 5)
    image = np.random.RandomState(6).normal(size=(2, 8, 6, 3)).astype("float32")
    if not os.path.isdir(DATA):
        os.makedirs(DATA)
    start = os.path.join(DATA, kit.label)
    with open(start + ".yaml", "w") as stream:
        stream.write(model.to_yaml())
    model.save_weights(start + ".h5")
    np.savez_compressed(start + ".npz", image=image, answer=model.predict(image))


if __name__ == "__main__":
    main()
