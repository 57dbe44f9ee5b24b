"""Custom layers as their authors publish them, for Keras 2 and 3; the sources are named at each."""

# ruff: noqa: B905, N807, PLW0108

import types

import tensorflow as tf


def published(kit):
    """Return the layers as attributes, made for one Keras."""
    layer = kit.layers.Layer

    def base(name, call, *settings, build=None, init=None):
        """Make a layer class whose settings are saved under their names."""

        def __init__(self, *values, **options):
            given = dict(zip(settings, values))
            given.update({key: options.pop(key) for key in settings if key in options})
            layer.__init__(self, **options)
            for key in settings:
                setattr(self, key, given.get(key))
            if init is not None:
                init(self)

        def get_config(self):
            return {**layer.get_config(self), **{key: getattr(self, key) for key in settings}}

        body = {
            "__init__": __init__,
            "get_config": get_config,
            "call": lambda self, x: call(self, x),
        }
        if build is not None:
            body["build"] = build
        return type(name, (layer,), body)

    own = types.SimpleNamespace()
    _padding(own, base)
    _moving(own, base)
    _functions(own, base)
    _segnet(own, base)
    _contrib(own, base)
    _patches(own, base, kit)
    return own


def _borders(padding):
    (top, bottom), (left, right) = (
        padding if isinstance(padding[0], (tuple, list)) else [(p, p) for p in padding]
    )
    return [[0, 0], [top, bottom], [left, right], [0, 0]]


def _padding(own, base):
    # tf.pad, as in many style-transfer and CycleGAN ports.
    own.ReflectionPadding2D = base(
        "ReflectionPadding2D", lambda s, x: tf.pad(x, _borders(s.padding), "REFLECT"), "padding"
    )
    # https://github.com/fizyr/keras-retinanet, layers/_misc.py
    own.UpsampleLike = base(
        "UpsampleLike",
        lambda s, xs: tf.compat.v1.image.resize_images(xs[0], tf.shape(xs[1])[1:3], 1),
    )
    own.SymmetricPadding2D = base(
        "SymmetricPadding2D", lambda s, x: tf.pad(x, _borders(s.padding), "SYMMETRIC"), "padding"
    )


def _moving(own, base):
    own.PixelShuffle = base("PixelShuffle", lambda s, x: tf.nn.depth_to_space(x, s.scale), "scale")
    own.SpaceToDepth = base(
        "SpaceToDepth", lambda s, x: tf.nn.space_to_depth(x, s.block_size), "block_size"
    )

    def coordinates(self, x):
        # https://github.com/titu1994/keras-coordconv
        rows, columns = x.shape[1], x.shape[2]
        y = tf.cast(tf.range(rows), tf.float32) / (rows - 1) * 2 - 1
        z = tf.cast(tf.range(columns), tf.float32) / (columns - 1) * 2 - 1
        planes = list(tf.meshgrid(y, z, indexing="ij"))
        if self.use_radius:
            planes.append(tf.sqrt((planes[0] - 0.5) ** 2 + (planes[1] - 0.5) ** 2))
        places = tf.stack(planes, axis=-1)[None] + tf.zeros_like(x[:, :, :, :1])
        return tf.concat([x, places], axis=-1)

    own.CoordinateChannel2D = base("CoordinateChannel2D", coordinates, "use_radius", "data_format")


def _functions(own, base):
    own.Mish = base("Mish", lambda s, x: x * tf.math.tanh(tf.math.softplus(x)))
    own.HardSwish = base("HardSwish", lambda s, x: x * tf.nn.relu6(x + 3) / 6)
    own.Swish = base("Swish", lambda s, x: x * tf.math.sigmoid(x))


def _segnet(own, base):
    def pool(self, x):
        # https://github.com/ykamikawa/SegNet
        value, places = tf.nn.max_pool_with_argmax(
            x, list(self.pool_size), list(self.strides), self.padding.upper()
        )
        return [value, tf.cast(places, tf.float32)]

    own.MaxPoolingWithArgmax2D = base(
        "MaxPoolingWithArgmax2D", pool, "pool_size", "strides", "padding"
    )

    def unpool(self, inputs):
        value, places = inputs
        places = tf.cast(places, tf.int32)
        shape = tf.shape(value)
        height, width = shape[1] * self.size[0], shape[2] * self.size[1]
        one = tf.ones_like(places)
        batch = one * tf.reshape(tf.range(shape[0]), [-1, 1, 1, 1])
        y, x = places // (width * shape[3]), (places // shape[3]) % width
        channel = one * tf.range(shape[3])
        count = tf.size(value)
        indices = tf.transpose(tf.reshape(tf.stack([batch, y, x, channel]), [4, count]))
        filled = tf.scatter_nd(
            indices, tf.reshape(value, [count]), [shape[0], height, width, shape[3]]
        )
        known = value.shape
        filled.set_shape([None, known[1] * self.size[0], known[2] * self.size[1], known[3]])
        return filled

    own.MaxUnpooling2D = base("MaxUnpooling2D", unpool, "size")

    def resize(x, size):
        return tf.compat.v1.image.resize_bilinear(x, size, align_corners=True)

    # https://github.com/bonlime/keras-deeplab-v3-plus
    own.BilinearUpsampling = base(
        "BilinearUpsampling",
        lambda s, x: resize(x, [x.shape[1] * s.upsampling[0], x.shape[2] * s.upsampling[1]]),
        "upsampling", "output_size", "data_format",
    )  # fmt: skip
    # https://github.com/Vladkryvoruchko/PSPNet-Keras-tensorflow
    own.Interp = base("Interp", lambda s, x: resize(x, s.new_size), "new_size")


def _contrib(own, base):
    # https://github.com/keras-team/keras-contrib
    def build(self, shape):
        size = (1,) if self.axis is None else (shape[self.axis],)
        self.gamma = self.add_weight(name="gamma", shape=size, initializer="ones")
        self.beta = self.add_weight(name="beta", shape=size, initializer="zeros")
        self.built = True

    def defaults(self):
        self.epsilon = 1e-3 if self.epsilon is None else self.epsilon
        self.center = self.scale = True

    def call(self, x):
        axes = [1, 2, 3] if self.axis is None else [1, 2]
        mean = tf.reduce_mean(x, axes, keepdims=True)
        deviation = tf.math.reduce_std(x, axes, keepdims=True) + self.epsilon
        return (x - mean) / deviation * self.gamma + self.beta

    own.InstanceNormalization = base(
        "InstanceNormalization", call, "axis", "epsilon", "center", "scale",
        build=build, init=defaults,
    )  # fmt: skip


def _patches(own, base, kit):
    # https://keras.io/examples/vision/image_classification_with_vision_transformer
    def patches(self, x):
        size = self.patch_size
        cut = tf.image.extract_patches(
            x, [1, size, size, 1], [1, size, size, 1], [1, 1, 1, 1], "VALID"
        )
        return tf.reshape(cut, [-1, cut.shape[1] * cut.shape[2], cut.shape[3]])

    own.Patches = base("Patches", patches, "patch_size")

    def init(self):
        self.projection = kit.layers.Dense(self.projection_dim)
        self.position_embedding = kit.layers.Embedding(self.num_patches, self.projection_dim)

    def build(self, shape):
        self.projection.build(shape)
        self.position_embedding.build((None,) if not kit.keras_3 else (self.num_patches,))
        self.built = True

    own.PatchEncoder = base(
        "PatchEncoder",
        lambda s, x: s.projection(x) + s.position_embedding(tf.range(s.num_patches)),
        "num_patches", "projection_dim",
        init=init, build=build,
    )  # fmt: skip
