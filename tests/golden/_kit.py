"""One face for all Keras that the golden maker runs under (2.0.9 to 3.15, Python 3.7 to 3.11)."""

import numpy as np


class Kit:
    """A Keras module and what differs between its versions.

    Args:
        keras: ``keras``, ``tf_keras`` or ``tensorflow.keras``.
        label: Folder of the goldens, such as ``keras-3.15``.
        version: ``(3, 15, 1)``.
        graph_mode: TensorFlow 1: tensors have no values outside a session.
    """

    def __init__(self, keras, label, version, graph_mode):
        self.keras = keras
        self.label = label
        self.version = version
        self.graph_mode = graph_mode
        self.layers = keras.layers
        self.Model = keras.models.Model
        self.Sequential = keras.models.Sequential
        self.Input = keras.layers.Input
        self.keras_3 = version >= (3,)
        # tf.keras 1.15 calls itself 2.2.4-tf but has most of what came with Keras 2.3.
        self.tensorflow_keras = label.startswith("tf")
        self.modern = version >= (2, 4)

    def has(self, layer):
        """Say whether this Keras has the layer class."""
        return hasattr(self.layers, layer)

    def bilinear(self):
        """Say whether UpSampling2D has an interpolation."""
        return self.modern or self.tensorflow_keras or self.version >= (2, 2, 3)

    def newest(self):
        """Say whether this is the newest Keras 3, or the newest TensorFlow with Keras 2."""
        return self.label in ("keras-3.15", "tf.keras-2.15")

    def leaky(self, slope, **options):
        """Return a LeakyReLU; Keras 3 renamed its slope."""
        options["negative_slope" if self.keras_3 else "alpha"] = slope
        return self.layers.LeakyReLU(**options)

    def functional(self, inputs, outputs, name=None):
        """Return a Model; the arguments' names changed after 2.0."""
        return self.Model(inputs, outputs, **({"name": name} if name else {}))

    def clear(self):
        """Forget all layers, so that automatic names start over."""
        self.keras.backend.clear_session()

    def randomise(self, model, seed):
        """Give every weight unlike, unsymmetric values that keep activations of order one."""
        random = np.random.RandomState(seed)
        for weight in model.weights:
            name = getattr(weight, "path", weight.name).split("/")[-1].split(":")[0]
            shape = tuple(int(size) for size in weight.shape)
            value = _random_value(random, name, shape)
            if value is None:
                continue
            if self.keras_3:
                weight.assign(value)
            else:
                self.keras.backend.set_value(weight, value)


def _random_value(random, name, shape):
    if name in ("mean", "variance", "count") or "seed" in name:
        return None  # Normalization has its own, from `adapt`
    if "variance" in name:
        value = random.uniform(0.4, 1.6, shape)
    elif "gamma" in name:
        value = random.uniform(0.5, 1.5, shape) * random.choice([-1, 1, 1], shape)
    elif "alpha" in name:
        value = random.uniform(-0.1, 0.5, shape)
    elif "kernel" in name:
        fan_in = max(1, int(np.prod(shape[:-1])))
        value = random.normal(0.0, 1.3 / np.sqrt(fan_in), shape)
    else:
        value = random.normal(0.0, 0.3, shape)
    return value.astype("float32")
