"""Golden models made of ``keras.backend``'s functions, which Keras 2 saves as TensorFlow's."""

# The oldest Keras needs Python 3.7, so this is written in its language.
# ruff: noqa: RUF005, RUF100, SIM905, T201, UP031

import numpy as np
from _zoo import golden

SHAPE = (1, 6, 8, 3)


def with_backend(kit):
    """Whether the backend's functions can be called on this Keras' tensors, saved and read."""
    return kit.label in ("tf.keras-2.15", "tf_keras-2.21")


@golden(SHAPE, needs=with_backend, remark="a product by shapes that are joined to empty lists")
def backend_moving(kit):
    """Products, repetitions, stacks, pools and choices."""
    backend = kit.keras.backend
    image = kit.Input(SHAPE[1:], name="image")
    x = kit.layers.Conv2D(4, 3, padding="same", name="conv")(image)
    rows = backend.reshape(x, (-1, 48, 4))
    kernel = np.linspace(-1, 1, 12).reshape(4, 3).astype("float32")
    outs = [
        backend.dot(rows, backend.constant(kernel)),
        backend.batch_dot(rows, rows, axes=(1, 1)),
        backend.batch_flatten(x),
        backend.repeat_elements(x, 2, axis=1),
        backend.stack([x, x * 2.0], axis=-1),
        backend.tile(x, (1, 1, 2, 1)),
        backend.reverse(x, axes=2),
        backend.pool2d(x, (2, 2), strides=(2, 2), pool_mode="avg"),
        x - backend.std(x, axis=[1, 2], keepdims=True),
        backend.switch(backend.greater(x, 0.0), x, x * 0.2),
        backend.conv2d(x, backend.constant(np.ones((2, 2, 4, 1)) / 8), dilation_rate=(2, 2)),
    ]
    return kit.functional(image, outs)
