"""Golden models made of operations: TensorFlow's functions in Keras 2, `keras.ops` in Keras 3."""

# The oldest Keras needs Python 3.7, so this is written in its language.
# ruff: noqa: B905, BLE001, PTH100, PTH103, PTH107, PTH110, PTH118, PTH120, PTH123
# ruff: noqa: RUF005, RUF100, SIM905, T201, UP031

import numpy as np
from _zoo import golden

SHAPE = (1, 6, 8, 3)
VECTOR = np.array([0.5, -1.0, 2.0, 0.25], "float32")


def with_functions(kit):
    """Whether TensorFlow's functions can be called on this Keras' tensors, and saved."""
    return kit.tensorflow_keras


def with_ops(kit):
    """Whether this Keras has operations of its own."""
    return kit.keras_3


def start(kit, free=False):
    """Return the input, and a convolution of it with four channels."""
    image = kit.Input((None, None, 3) if free else SHAPE[1:], name="image")
    return image, kit.layers.Conv2D(4, 3, padding="same", name="conv")(image)


@golden(SHAPE, needs=lambda kit: with_functions(kit) and kit.modern)
def functions_arithmetic(kit):
    """Operators and functions element by element, constants, reductions."""
    import tensorflow as tf

    image, x = start(kit)
    y = (1.0 - x) * 2.0 / (tf.abs(x) + 1.5) + x * VECTOR
    z = tf.nn.relu6(y) - tf.sigmoid(x) ** 2
    outs = [
        tf.maximum(tf.tanh(z), -0.5),
        tf.clip_by_value(y, -0.7, 0.4),
        tf.where(x > 0, y, tf.zeros_like(y)),
        tf.reduce_mean(z, axis=[1, 2]),
        tf.reduce_max(z, axis=-1, keepdims=True) * y,
        tf.nn.softmax(tf.nn.leaky_relu(z, alpha=0.1)),
        tf.cast(tf.argmax(z, axis=-1), tf.float32),
        tf.math.floormod(y, 0.6),
        tf.nn.l2_normalize(y, axis=-1),
    ]
    return kit.functional(image, outs)


@golden(SHAPE, needs=with_functions)
def functions_moving(kit):
    """What moves numbers: slices, joins, pads, blocks, transposes, tiles."""
    import tensorflow as tf

    image, x = start(kit)
    first, second = tf.split(x, 2, axis=-1)
    outs = [
        x[:, 1:-1, ::2, 1:],
        x[:, :, :, 0],
        tf.concat([second, first, x], axis=-1),
        tf.stack([first, second], axis=3),
        tf.pad(x, [[0, 0], [1, 2], [0, 3], [0, 0]], "REFLECT"),
        tf.pad(x, [[0, 0], [1, 2], [0, 3], [0, 0]], "SYMMETRIC"),
        tf.nn.depth_to_space(x, 2),
        tf.compat.v1.space_to_depth(x, 2),
        tf.transpose(x, [0, 3, 1, 2]),
        tf.reshape(x, [-1, 48, 4]),
        tf.tile(tf.expand_dims(x, 1), [1, 2, 1, 1, 1]),
        tf.reverse(x, [2]),
        tf.squeeze(tf.reduce_sum(x, axis=[1, 2], keepdims=True), [1, 2]),
    ]
    return kit.functional(image, outs)


@golden((1, 10, 12, 3), needs=with_functions, remark="free sizes")
def functions_sizes(kit):
    """Sizes that are computed from shapes when the network runs."""
    import tensorflow as tf

    image, x = start(kit, free=True)
    small = kit.layers.MaxPooling2D(2, name="pool")(x)
    size = tf.shape(x)
    pooled = tf.reduce_mean(small, axis=[1, 2], keepdims=True)
    outs = [
        tf.compat.v2.image.resize(small, size[1:3]),
        tf.compat.v2.image.resize(small, size[1:3] * 2, method="nearest"),
        tf.broadcast_to(pooled, size),
    ]
    if kit.modern:  # TensorFlow 1 cannot save a layer `a` beside a layer `a/b`
        rows = tf.reshape(x, [-1, size[1] * size[2], 4])
        outs += [tf.matmul(rows, rows, transpose_a=True), x[:, : size[1] - 3, 2:]]
    return kit.functional(image, outs)


@golden(SHAPE, needs=with_functions)
def functions_resizing(kit):
    """Bilinear and nearest in the meanings of TensorFlow 1 and 2."""
    import tensorflow as tf

    image, x = start(kit)
    v1 = tf.compat.v1.image
    outs = [
        tf.compat.v2.image.resize(x, [12, 16]),
        tf.compat.v2.image.resize(x, [9, 5]),
        tf.compat.v2.image.resize(x, [3, 20], method="nearest"),
        v1.resize(x, [12, 16], method=0),
        v1.resize(x, [9, 5], method=0, align_corners=True),
        v1.resize(x, [9, 5], method=1),
    ]
    return kit.functional(image, outs)


@golden((1, 16, 16, 3), needs=lambda kit: with_functions(kit) and kit.modern)
def functions_deeplab(kit):
    """Pyramid pooling with resizes to the size of other tensors, and attention gates."""
    import tensorflow as tf

    layers = kit.layers
    image = kit.Input((None, None, 3), name="image")
    skip = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="skip")(image)
    deep = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="deep")(skip)
    mean = tf.reduce_mean(deep, axis=[1, 2], keepdims=True)
    mean = tf.image.resize(layers.Conv2D(4, 1, name="mean")(mean), tf.shape(deep)[1:3])
    wide = layers.Conv2D(4, 3, dilation_rate=2, padding="same", name="wide")(deep)
    up = tf.image.resize(tf.concat([wide, mean], axis=-1), tf.shape(skip)[1:3])
    gate = layers.Conv2D(4, 1, name="gate")(up) + skip
    gate = tf.nn.sigmoid(layers.Conv2D(1, 1, name="psi")(tf.nn.relu(gate)))
    logits = layers.Conv2D(2, 1, name="logits")(skip * gate)
    return kit.functional(image, tf.nn.softmax(tf.image.resize(logits, tf.shape(image)[1:3])))


@golden(SHAPE, needs=with_ops)
def ops_arithmetic(kit):
    """Operators and operations element by element, constants, reductions."""
    ops = kit.keras.ops
    image, x = start(kit)
    y = (1.0 - x) * 2.0 / (ops.abs(x) + 1.5) + x * VECTOR
    z = kit.keras.activations.relu(y, max_value=6) - ops.sigmoid(x) ** 2
    outs = [
        ops.maximum(ops.tanh(z), -0.5),
        ops.clip(y, -0.7, 0.4),
        ops.where(x > 0, y, 0.0),
        ops.mean(z, axis=(1, 2)),
        ops.max(z, axis=-1, keepdims=True) * y,
        ops.softmax(ops.gelu(ops.leaky_relu(z, 0.1)), axis=-1),
        ops.cast(ops.argmax(z, axis=-1), "float32"),
        ops.std(y, axis=1),
        ops.mod(y, 0.6),
        ops.einsum("bhwc,bhwd->bcd", x, y),
    ]
    if kit.version >= (3, 1):  # the first Keras 3 cannot run it
        outs.append(ops.normalize(y, axis=-1))
    return kit.functional(image, outs)


@golden(SHAPE, needs=with_ops)
def ops_moving(kit):
    """What moves numbers: slices, joins, pads, transposes, resizes."""
    ops = kit.keras.ops
    image, x = start(kit)
    first, second = ops.split(x, 2, axis=-1)
    outs = [
        x[:, 1:-1, ::2, 1:],
        x[:, :, :, 0],
        ops.concatenate([second, first, x], axis=-1),
        ops.stack([first, second], axis=3),
        ops.pad(x, [[0, 0], [1, 2], [0, 3], [0, 0]], mode="reflect"),
        ops.transpose(x, (0, 3, 1, 2)),
        ops.moveaxis(x, 1, 2),
        ops.reshape(x, (-1, 48, 4)),
        ops.repeat(x, 2, axis=1),
        ops.roll(x, 2, axis=2),
        ops.tile(ops.expand_dims(x, 1), (1, 2, 1, 1, 1)),
        ops.image.resize(x, (12, 16)),
        ops.image.resize(x, (9, 5), interpolation="nearest"),
        ops.max_pool(x, 3, 2, "same"),
        ops.matmul(x, np.outer(VECTOR, [1.0, 2.0]).astype("float32")),
    ]
    return kit.functional(image, outs)


@golden((1, 12, 12, 3), needs=with_ops, remark="free sizes")
def ops_attention(kit):
    """Channel and spatial attention by operations, in a net with free sizes."""
    ops = kit.keras.ops
    layers = kit.layers
    image, x = start(kit, free=True)
    dense = layers.Dense(4, name="shared")
    pooled = [dense(pool(x, axis=(1, 2), keepdims=True)) for pool in (ops.mean, ops.max)]
    x = x * ops.sigmoid(pooled[0] + pooled[1])
    across = [pool(x, axis=-1, keepdims=True) for pool in (ops.mean, ops.max)]
    spatial = layers.Conv2D(1, 5, padding="same", activation="sigmoid", name="spatial")
    x = x * spatial(ops.concatenate(across, axis=-1))
    edges = ops.pad(x[:, 1:] - x[:, :-1], [[0, 0], [0, 1], [0, 0], [0, 0]])
    return kit.functional(image, layers.Conv2D(2, 1, name="logits")(x + ops.absolute(edges)))
