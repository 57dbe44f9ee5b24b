"""Makes ``tests/golden/own``: models with layers of somebody's own, in every format Keras writes.

    python tests/golden/make_own_layers.py                             own/keras-3.15, keras-3.0
    python tests/golden/make_own_layers.py --keras tensorflow.keras    own/tf.keras-2.15

(environments: see ``make_goldens.py``). Their converters are in ``own_converters.py``: one file for
all formats. Keras 3.0 names arrays in HDF5 by their last name alone and cannot save what has two
of one name; the index says so.
"""

# ruff: noqa: T201
# mypy: ignore-errors

import argparse
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from make_goldens import load_kit, run, save


def classes(keras, relu):
    """Return the layers: they differ in no Keras."""
    layers = keras.layers

    class ScaleShift(layers.Layer):
        """Arrays of its own; what is not trained comes first."""

        def build(self, shape):
            self.shift = self.add_weight(name="shift", shape=(shape[-1],), trainable=False)
            self.scale = self.add_weight(name="scale", shape=(shape[-1],))
            super().build(shape)

        def call(self, x):
            return x * self.scale + self.shift

        def compute_output_shape(self, shape):
            return tuple(shape)

    class Configured(layers.Layer):
        def __init__(self, filters, **options):
            super().__init__(**options)
            self.filters = filters

        def get_config(self):
            return {**super().get_config(), "filters": self.filters}

        def compute_output_shape(self, shape):
            return (*shape[:-1], self.filters)

    class Single(Configured):
        """One layer inside and one array of its own."""

        def __init__(self, filters, **options):
            super().__init__(filters, **options)
            self.conv = layers.Conv2D(filters, 3, padding="same")

        def build(self, shape):
            self.alpha = self.add_weight(name="slope", shape=(self.filters,))
            self.conv.build(shape)
            super().build(shape)

        def call(self, x):
            return self.conv(x) * self.alpha

    class ConvBlock(Configured):
        """Layers inside that are made in another order than they are called in."""

        def __init__(self, filters, **options):
            super().__init__(filters, **options)
            self.second = layers.Conv2D(filters, 3, padding="same")
            self.first = layers.Conv2D(filters + 1, 3, padding="same")
            self.norm = layers.BatchNormalization()
            self._gate = layers.Dense(filters, activation="sigmoid")

        def call(self, x):
            y = self.second(relu(self.norm(self.first(x))))
            return y * self._gate(y)

    class Outer(Configured):
        """Layers of one's own inside one's own, a list of layers, and an array."""

        def __init__(self, filters, **options):
            super().__init__(filters, **options)
            self.block = ConvBlock(filters)
            self.fit = ScaleShift()
            self.blocks = [layers.Conv2D(filters, 1) for _ in range(2)]
            self.last = layers.Conv2D(filters, 1, name="named_conv")

        def build(self, shape):
            self.offset = self.add_weight(name="offset", shape=(1, 1, self.filters))
            super().build(shape)

        def call(self, x):
            y = self.fit(self.block(x)) + self.offset
            for layer in self.blocks:
                y = layer(y)
            return self.last(y)

    class OwnConv(layers.Conv2D):
        """A convolution by another name."""

    return SimpleNamespace(
        ScaleShift=ScaleShift, Single=Single, ConvBlock=ConvBlock, Outer=Outer, OwnConv=OwnConv
    )


def single(kit, own):
    image = kit.Input((6, 5, 3), name="image")
    x = kit.layers.Conv2D(4, 1, name="before")(image)
    x = own.ScaleShift(name="plain")(x)
    return kit.functional(image, own.Single(4, name="single")(x))


def nested(kit, own):
    image = kit.Input((6, 5, 3), name="image")
    x = own.ConvBlock(4, name="block")(image)
    x = own.Outer(3, name="outer")(x)
    return kit.functional(image, own.ConvBlock(2, name="last")(x))


def wrapped(kit, own):
    stack = kit.Input((3, 6, 5, 2), name="stack")
    x = kit.layers.TimeDistributed(own.ConvBlock(3), name="blocks")(stack)
    x = kit.layers.TimeDistributed(own.ScaleShift(), name="scales")(x)
    return kit.functional(stack, x)


def spectral(kit, own):
    image = kit.Input((6, 5, 3), name="image")
    convolution = own.OwnConv(4, 3, padding="same")
    return kit.functional(image, kit.layers.SpectralNormalization(convolution, name="sn")(image))


MODELS = {
    "single": (single, (2, 6, 5, 3)),
    "nested": (nested, (2, 6, 5, 3)),
    "wrapped": (wrapped, (2, 3, 6, 5, 2)),
    "spectral": (spectral, (2, 6, 5, 3)),
}


def make(kit, own, folder, name):
    build, shape = MODELS[name]
    seed = zlib.crc32(name.encode()) % 2**31
    kit.clear()
    model = build(kit, own)
    x = np.random.default_rng(seed).normal(size=shape).astype("float32")
    model(x)  # Keras 3 builds layers inside others only now
    kit.randomise(model, seed)
    entry = SimpleNamespace(name=name, formats=("full", "archive", "weights"))
    files, remarks = save(kit, model, str(folder), entry)
    meta = {"made_by": "tests/golden/make_own_layers.py", "source_sha256": files[0]["sha256"]}
    run(kit, model, [x], str(folder / f"{name}.npz"), meta)
    for file in files:
        file.pop("sha256")
    return {"name": name, "files": files, "recording": f"{name}.npz", "remarks": remarks}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--keras", default="keras", help="keras or tensorflow.keras")
    kit = load_kit(parser.parse_args().keras)
    if kit.keras_3:
        relu = kit.keras.ops.relu
    else:
        import tensorflow

        relu = tensorflow.nn.relu
    own = classes(kit.keras, relu)
    folder = Path(__file__).parent / "own" / kit.label
    folder.mkdir(parents=True, exist_ok=True)
    import json

    index = [make(kit, own, folder, name) for name in MODELS]
    (folder / "index.json").write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")
    print("made", kit.label)
    return 0


if __name__ == "__main__":
    sys.exit(main())
