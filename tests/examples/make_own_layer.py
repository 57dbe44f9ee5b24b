"""Make data/own_layer.keras and its recording.

    PYTHONPATH=src python tests/examples/make_own_layer.py

Needs Keras 3 and TensorFlow; was run with Keras 3.15 and TensorFlow 2.21.
"""

from pathlib import Path

import keras
import numpy as np

from segrt import record

DATA = Path(__file__).parent / "data"


@keras.saving.register_keras_serializable()
class SteepLeak(keras.layers.Layer):
    """The guide's layer."""

    def __init__(self, slope=0.25, **kwargs):
        super().__init__(**kwargs)
        self.slope = slope

    def call(self, x):
        return keras.ops.where(x < 0, self.slope * x, x)

    def get_config(self):
        return {**super().get_config(), "slope": self.slope}


def network():
    keras.utils.set_random_seed(7)
    image = keras.Input((12, 8, 1), name="image")
    x = keras.layers.Conv2D(8, 3, padding="same", name="low")(image)
    skip = SteepLeak(0.125, name="leak_low")(x)
    x = keras.layers.MaxPooling2D(name="pool")(skip)
    x = keras.layers.Conv2D(8, 3, padding="same", name="deep")(x)
    x = SteepLeak(name="leak_deep")(x)
    x = keras.layers.UpSampling2D(name="up")(x)
    x = keras.layers.Concatenate(name="join")([skip, x])
    x = keras.layers.UpSampling2D(interpolation="bilinear", name="large")(x)
    mask = keras.layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x)
    return keras.Model(image, mask, name="own_layer")


if __name__ == "__main__":
    DATA.mkdir(exist_ok=True)
    network().save(DATA / "own_layer.keras")
    images = np.random.default_rng(8).random((1, 12, 8, 1), dtype=np.float32)
    record(
        DATA / "own_layer.keras",
        inputs={"image": images},
        output=DATA / "own_layer.npz",
        allow_code=False,
    )
