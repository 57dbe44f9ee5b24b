"""Golden models: normalizations, resizing, wrappers and other layers of newer Keras versions."""

from _zoo import golden
from _zoo_layers import fan

SMALL = (1, 4, 5, 6)


def one_file(kit):
    """Return the format that people save with this Keras."""
    return ("archive",) if kit.keras_3 else ("full",)


def newest_with(layer):
    """Return `needs` for the newest Keras 2 and 3, if they have a layer."""
    return lambda kit: kit.newest() and kit.has(layer)


@golden(
    SMALL,
    formats=one_file,
    needs=lambda kit: kit.newest() or kit.label == "tf.keras-1.15",
)
def layer_norms(kit):
    """LayerNormalization over every kind of axes, on images and sequences."""
    norm = kit.layers.LayerNormalization
    image = kit.Input(SMALL[1:], name="image")
    inner = kit.layers.Conv2D(6, 1, name="inner")(image)
    sequence = kit.layers.Reshape((20, 6), name="sequence")(inner)
    outputs = [
        norm(name="last")(inner),
        norm(axis=[1, 2, 3], epsilon=1e-6, name="all")(inner),
        norm(axis=[1, 2], center=False, name="spatial")(inner),
        norm(axis=1, scale=False, name="rows")(inner),
        norm(axis=-1, epsilon=1e-2, name="of_source")(image),
        norm(name="of_sequence")(sequence),
        norm(axis=1, scale=False, center=False, name="of_steps")(sequence),
    ]
    return kit.functional(image, outputs)


@golden(SMALL, formats=one_file, needs=lambda kit: kit.label == "keras-3.15")
def group_norms(kit):
    """GroupNormalization with one, two and as many groups as channels, on images and sequences."""
    norm = kit.layers.GroupNormalization
    image = kit.Input(SMALL[1:], name="image")
    inner = kit.layers.Conv2D(6, 1, name="inner")(image)
    sequence = kit.layers.Reshape((20, 6), name="sequence")(inner)
    outputs = [
        norm(2, name="two")(inner),
        norm(3, scale=False, name="three")(inner),
        norm(-1, name="instance")(inner),
        norm(1, center=False, epsilon=1e-5, name="one")(inner),
        norm(2, name="of_source")(image),
        norm(3, name="of_sequence")(sequence),
        norm(2, axis=1, name="rows")(inner),
    ]
    return kit.functional(image, outputs)


@golden(
    SMALL,
    formats=one_file,
    needs=lambda kit: kit.label == "keras-3.15",
)
def unit_norms(kit):
    """UnitNormalization and RMSNormalization."""
    layers = kit.layers
    branches = [
        layers.UnitNormalization(name="unit"),
        layers.UnitNormalization(axis=[1, 2], name="unit_spatial"),
        layers.RMSNormalization(name="rms"),
        layers.RMSNormalization(axis=[2, 3], epsilon=1e-3, name="rms_rows"),
    ]
    return fan(kit, SMALL, branches)


@golden((1, 4, 5, 3), formats=one_file, needs=newest_with("SpectralNormalization"))
def spectral_norms(kit):
    """SpectralNormalization around a convolution and a Dense layer."""
    layers = kit.layers
    image = kit.Input((4, 5, 3), name="image")
    x = layers.SpectralNormalization(layers.Conv2D(4, 3, name="conv"), name="conv_sn")(image)
    x = layers.LeakyReLU(name="bent")(x)
    x = layers.SpectralNormalization(layers.Dense(2, use_bias=False, name="dense"), name="sn")(x)
    return kit.functional(image, x)


@golden((1, 3, 4, 6, 2), formats=one_file, needs=lambda kit: kit.label == "keras-3.15")
def time_distributed(kit):
    """TimeDistributed around layers with and without weights: a small net over a sequence."""
    layers = kit.layers
    each = layers.TimeDistributed
    frames = kit.Input((3, 4, 6, 2), name="frames")
    x = each(layers.Conv2D(4, 3, padding="same", activation="relu", name="c"), name="conv")(frames)
    x = each(layers.BatchNormalization(name="b"), name="bn")(x)
    y = each(layers.MaxPooling2D(name="p"), name="pool")(x)
    y = each(layers.LayerNormalization(name="l"), name="ln")(y)
    y = each(layers.UpSampling2D(name="u"), name="up")(y)
    x = layers.Concatenate(name="skip")([x, y])
    mask = each(layers.Conv2D(1, 1, activation="sigmoid", name="m"), name="mask")(x)
    pooled = each(layers.GlobalAveragePooling2D(name="g"), name="pooled")(x)
    return kit.functional(frames, [mask, each(layers.Dense(3, name="d"), name="label")(pooled)])


@golden((1, 6, 9, 2), formats=one_file, needs=newest_with("Resizing"))
def resizing(kit):
    """Resizing to larger and smaller sizes by every exact interpolation; crops."""
    resize, crop = kit.layers.Resizing, kit.layers.CenterCrop
    image = kit.Input((6, 9, 2), name="image")
    inner = kit.layers.Conv2D(2, 1, name="inner")(image)
    branches = [
        resize(height, width, interpolation=how, name=f"{how}_{height}_{width}")
        for how in ("nearest", "bilinear", "bicubic")
        for height, width in ((12, 18), (4, 7), (13, 5), (3, 36))
    ]
    branches += [
        resize(8, 5, crop_to_aspect_ratio=True, name="cropped"),
        crop(4, 4, name="center"),
        crop(5, 8, name="center_odd"),
        crop(8, 8, name="center_larger"),
    ]
    if kit.keras_3:
        branches.append(resize(8, 5, pad_to_aspect_ratio=True, fill_value=0.5, name="padded"))
        branches.append(resize(4, 9, pad_to_aspect_ratio=True, name="padded_wide"))
    outputs = [layer(inner) for layer in branches]
    return kit.functional(image, outputs)


@golden((1, 4, 5, 2), formats=one_file, needs=lambda kit: kit.label == "keras-3.15")
def bicubic_upsampling(kit):
    """UpSampling2D bicubic, by factors on and off the grid of TensorFlow's table."""
    up = kit.layers.UpSampling2D
    branches = [
        up(2, interpolation="bicubic", name="by_2"),
        up(3, interpolation="bicubic", name="by_3"),
        up((4, 5), interpolation="bicubic", name="by_4_5"),
        up((1, 2), interpolation="bicubic", name="by_1_2"),
    ]
    return fan(kit, (1, 4, 5, 2), branches)


@golden((2, 6, 7, 3), formats=one_file, needs=lambda kit: kit.label == "keras-3.15")
def augmentation(kit):
    """Augmentation layers in front of a convolution, as published models carry them."""
    layers = kit.layers
    image = x = kit.Input((6, 7, 3), name="image")
    x = layers.RandomFlip("horizontal_and_vertical", name="flip")(x)
    x = layers.RandomRotation(0.2, name="rotation")(x)
    x = layers.RandomZoom(0.1, name="zoom")(x)
    x = layers.RandomTranslation(0.1, 0.1, name="translation")(x)
    x = layers.RandomContrast(0.2, name="contrast")(x)
    if kit.has("RandomBrightness"):
        x = layers.RandomBrightness(0.2, name="brightness")(x)
    x = layers.GaussianNoise(0.1, name="noise")(x)
    x = layers.GaussianDropout(0.1, name="gaussian_dropout")(x)
    x = layers.AlphaDropout(0.1, name="alpha_dropout")(x)
    return kit.functional(image, layers.Conv2D(2, 3, name="conv")(x))


@golden(
    (2, 4, 6),
    (2, 5, 6),
    formats=one_file,
    needs=lambda kit: kit.label in ("keras-3.15", "keras-2.2.4"),
)
def products(kit):
    """Dot over every axis of sequences and vectors, and RepeatVector."""
    layers = kit.layers
    left, right = kit.Input((4, 6), name="left"), kit.Input((5, 6), name="right")
    a = layers.Dense(6, name="a")(layers.Flatten(name="left_flat")(left))
    b = layers.Dense(6, name="b")(layers.Flatten(name="right_flat")(right))
    turned = layers.Permute((2, 1), name="turned")(right)
    outputs = [
        layers.Dot(axes=2, name="rows")([left, right]),
        layers.Dot(axes=(2, 1), name="rows_columns")([left, turned]),
        layers.Dot(axes=-1, normalize=True, name="cosines")([left, right]),
        layers.Dot(axes=1, name="vectors")([a, b]),
        layers.Dot(axes=1, normalize=True, name="cosine")([a, b]),
        layers.RepeatVector(3, name="repeated")(a),
    ]
    return kit.functional([left, right], outputs)
