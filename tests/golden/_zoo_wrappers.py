"""Golden models: whole models inside TimeDistributed, and what showed only in whole networks."""

# The oldest Keras needs Python 3.7, so this is written in its language.
# ruff: noqa: B905, BLE001, PTH100, PTH103, PTH107, PTH110, PTH118, PTH120, PTH123
# ruff: noqa: RUF005, RUF100, SIM905, T201, UP031

from _zoo import golden

EVERYTHING = ("full", "archive", "weights")


@golden(
    (2, 3, 8, 8, 1),
    formats=EVERYTHING,
    needs=lambda kit: kit.newest(),
    remark="2.5-D: a model and a Sequential run on every slice",
)
def time_distributed_models(kit):
    """An encoder and a decoder, models themselves, on each of three slices."""
    layers = kit.layers
    image = kit.Input((8, 8, 1), name="slice")
    x = layers.Conv2D(3, 3, padding="same", use_bias=False, name="encoder_conv")(image)
    x = layers.BatchNormalization(name="encoder_bn")(x)
    x = layers.ReLU(name="encoder_relu")(x)
    encoder = kit.functional(image, layers.MaxPooling2D(name="encoder_pool")(x), "encoder")

    up = layers.Conv2DTranspose(2, 2, strides=2, name="decoder_up")
    mask = layers.Conv2D(2, 1, activation="softmax", name="decoder_mask")
    decoder = kit.Sequential([kit.Input((4, 4, 3), name="decoder_input"), up, mask], name="decoder")

    volume = kit.Input((3, 8, 8, 1), name="volume")
    x = layers.TimeDistributed(encoder, name="encode")(volume)
    conv = layers.Conv2D(3, 3, padding="same", name="between_conv")
    y = layers.TimeDistributed(conv, name="between")(x)
    x = layers.Add(name="sum")([x, y])
    return kit.functional(volume, layers.TimeDistributed(decoder, name="decode")(x), "slices")


@golden(
    (1, 6, 5, 3),
    formats=EVERYTHING,
    needs=lambda kit: kit.label in ("keras-3.15", "keras-3.0"),
    remark="sizes whose factor in single precision falls short",
)
def odd_resizing(kit):
    """Resizing by 23/6 and 31/5, and spatial dropout, which HDF5 keeps without all settings."""
    layers = kit.layers
    image = kit.Input((6, 5, 3), name="image")
    x = layers.SpatialDropout2D(0.3, name="dropout")(image)
    x = layers.Resizing(23, 31, name="odd")(x)
    x = layers.Conv2D(2, 3, padding="same", name="conv")(x)
    y = layers.Reshape((23, 31, 2, 1), name="volume")(x)
    y = layers.SpatialDropout3D(0.3, name="dropout_3d")(y)
    y = layers.Reshape((23, 31, 2), name="flat")(y)
    y = kit.keras.ops.image.resize(y, (10, 13), interpolation="bicubic")
    return kit.functional(image, layers.Softmax(name="mask")(y), "odd")
