"""Golden models for what is special about files: names, policies, layouts, chunks, code."""

# The oldest Keras needs Python 3.7, so this is written in its language.
# ruff: noqa: B905, BLE001, PTH100, PTH103, PTH107, PTH110, PTH118, PTH120, PTH123
# ruff: noqa: RUF005, RUF100, SIM905, T201, UP031

from _zoo import golden
from _zoo_nets import EVERYTHING


@golden((1, 6, 8, 2), formats=EVERYTHING)
def sequential_plain(kit):
    """A Sequential that knows its input."""
    layers = kit.layers
    model = kit.Sequential(name="plain")
    model.add(layers.Conv2D(3, 3, padding="same", activation="relu", input_shape=(6, 8, 2)))
    model.add(layers.MaxPooling2D())
    model.add(layers.BatchNormalization())
    model.add(layers.UpSampling2D())
    model.add(layers.Conv2D(1, 3, padding="same", activation="sigmoid"))
    return model


@golden((2, 6, 8, 2), formats=EVERYTHING, needs=lambda kit: kit.modern)
def sequential_deferred(kit):
    """A Sequential without InputLayer, built by its first data."""
    layers = kit.layers
    model = kit.Sequential(name="deferred")
    model.add(layers.Conv2D(3, 3, strides=2, padding="same", name="down"))
    model.add(layers.LeakyReLU(name="leaky"))
    model.add(layers.Conv2DTranspose(1, 3, strides=2, padding="same", name="up"))
    model.build((None, 6, 8, 2))
    return model


@golden((1, 4, 6, 2), formats=EVERYTHING, needs=lambda kit: kit.modern)
def nested_deferred(kit):
    """Sequentials without InputLayer inside a Functional, one of them called twice."""
    layers = kit.layers

    def block(name):
        model = kit.Sequential(name=name)
        model.add(layers.Conv2D(2, 3, padding="same", use_bias=False))
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
        return model

    image = kit.Input((4, 6, 2), name="image")
    once, twice = block("once"), block("twice")
    x = twice(once(twice(image)))
    return kit.functional(image, layers.Conv2D(1, 1)(x), "with_blocks")


@golden((1, 4, 6, 2), formats=EVERYTHING, remark="names automatic, layers of one class interleaved")
def deep_nested(kit):
    """Models three deep, a Sequential in a Sequential, a Functional in a Sequential."""
    layers = kit.layers
    inside = kit.Input((4, 6, 3))
    x = layers.Conv2D(2, 3, padding="same")(inside)
    x = layers.BatchNormalization()(x)
    core = kit.functional(inside, layers.Conv2D(3, 1, use_bias=False)(x), "core")

    small = kit.Sequential()  # unnamed: Keras before 2.2.3 forgets the name in the file
    small.add(layers.Conv2D(3, 1, input_shape=(4, 6, 3)))
    small.add(layers.BatchNormalization())
    small.layers[1].trainable = False

    chain = kit.Sequential(name="chain")
    chain.add(layers.Conv2D(3, (1, 3), padding="same", input_shape=(4, 6, 3)))
    chain.add(small)
    chain.add(core)
    chain.add(layers.Activation("relu"))

    middle_in = kit.Input((4, 6, 3))
    x = layers.Conv2D(3, 1)(middle_in)
    x = chain(x)
    x = layers.BatchNormalization()(x)
    middle = kit.functional(middle_in, layers.Add()([x, middle_in]), "middle")

    image = kit.Input((4, 6, 2), name="image")
    x = layers.Conv2D(3, 3, padding="same")(image)
    x = middle(x)
    x = layers.BatchNormalization()(x)
    return kit.functional(image, layers.Conv2D(1, 1)(x), "deep")


@golden((1, 6, 8, 3), (1, 3, 4, 2), formats=EVERYTHING)
def many_inputs_outputs(kit):
    """Two inputs of different sizes, three outputs, one of them in the middle of the net."""
    layers = kit.layers
    small = kit.Input((3, 4, 2), name="small")
    large = kit.Input((6, 8, 3), name="large")
    x = layers.Conv2D(3, 3, strides=2, padding="same", name="conv_10")(large)
    y = layers.Conv2D(2, 1, name="conv_9")(small)
    middle = layers.Concatenate(name="both")([y, x])
    up = layers.UpSampling2D(name="up")(middle)
    mask = layers.Conv2D(1, 2, padding="same", activation="sigmoid", name="mask")(up)
    pooled = layers.GlobalMaxPooling2D(name="pooled")(middle)
    label = layers.Dense(3, activation="softmax", name="label")(pooled)
    return kit.functional([large, small], [mask, middle, label], "many")


@golden((1, 4, 6, 2), (1, 4, 6, 2), needs=lambda kit: kit.keras_3)
def dictionaries(kit):
    """Inputs and outputs in dictionaries whose order is not the alphabet's."""
    layers = kit.layers
    second = kit.Input((4, 6, 2), name="b_image")
    first = kit.Input((4, 6, 2), name="a_image")
    x = layers.Subtract(name="difference")([first, second])
    mask = layers.Conv2D(1, 3, padding="same", name="mask_conv")(x)
    edge = layers.Conv2D(2, 1, name="edge_conv")(x)
    return kit.Model(
        {"a_image": first, "b_image": second}, {"mask": mask, "edge": edge}, name="dictionaries"
    )


def unet_channels(kit, data_format):
    """A U-Net in either layout, of layers whose weights do not depend on it."""
    layers = kit.layers
    first = data_format == "channels_first"
    how = {"data_format": data_format}
    axis = 1 if first else 3
    image = kit.Input((3, 6, 8) if first else (6, 8, 3), name="image")
    down = layers.Conv2D(4, 3, padding="same", activation="relu", name="down", **how)(image)
    down = layers.BatchNormalization(axis=axis, name="bn")(down)
    x = layers.MaxPooling2D(name="pool", **how)(down)
    x = layers.ZeroPadding2D(((1, 0), (0, 2)), name="pad", **how)(x)
    x = layers.Conv2D(4, (2, 3), name="valid", **how)(x)
    y = layers.AveragePooling2D(3, strides=1, padding="same", name="average", **how)(x)
    z = layers.Conv2D(4, 3, strides=2, padding="same", name="strided", **how)(x)
    z = layers.Conv2DTranspose(4, 3, strides=(2, 2), padding="same", name="back", **how)(z)
    z = layers.Cropping2D(((1, 0), (0, 0)), name="crop", **how)(z)
    x = layers.Add(name="add")([x, y, z])
    x = layers.SeparableConv2D(3, 3, padding="same", name="separable", **how)(x)
    x = layers.PReLU(shared_axes=[2, 3] if first else [1, 2], name="prelu")(x)
    x = layers.UpSampling2D(name="up", **how)(x)
    x = layers.Concatenate(axis=axis, name="skip")([x, down])
    pooled = layers.GlobalAveragePooling2D(name="pooled", **how)(x)
    mask = layers.Conv2D(2, 1, activation="sigmoid", name="mask", **how)(x)
    return kit.functional(image, [mask, layers.Dense(2, name="label")(pooled)], "first")


@golden(
    (1, 6, 8, 3),
    twin=lambda kit: unet_channels(kit, "channels_last"),
    transpose=True,
    remark="recorded with a channels_last twin of the same weights, arrays transposed: "
    "TensorFlow's CPU kernels do not run channels_first",
)
def channels_first(kit):
    """A whole net in channels_first."""
    kit.keras.backend.set_image_data_format("channels_first")
    try:
        return unet_channels(kit, "channels_first")
    finally:
        kit.keras.backend.set_image_data_format("channels_last")


def small_net(kit):
    """A small net for the precision policies."""
    layers = kit.layers
    image = kit.Input((4, 6, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(image)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.UpSampling2D(name="up")(layers.MaxPooling2D(name="pool")(x))
    x = layers.Concatenate(name="skip")([x, image])
    return kit.functional(image, layers.Conv2D(1, 1, dtype="float32", name="mask")(x), "mixed")


@golden(
    (1, 4, 6, 3),
    formats=EVERYTHING,
    needs=lambda kit: kit.modern,
    twin=small_net,
    remark="recorded with a float32 twin of the same weights",
)
def mixed_float16(kit):
    """A net under the mixed_float16 policy."""
    policies = kit.keras.mixed_precision
    policies.set_global_policy("mixed_float16")
    try:
        return small_net(kit)
    finally:
        policies.set_global_policy("float32")


@golden(
    (1, 2, 3, 2),
    formats=("full",),
    # Keras 3.0 cannot save nested models with equal variable names as HDF5.
    needs=lambda kit: kit.version >= (2, 2) and kit.version[:2] != (3, 0),
    remark="layer_names and the inner model's weight_names are split into chunks",
)
def chunked_attributes(kit):
    """Layer names so long that HDF5 attributes must be split."""
    layers = kit.layers
    filling = "x" * 4000  # an HDF5 attribute holds 64 KB
    inside = x = kit.Input((2, 3, 2), name="inside")
    for number in range(9):
        x = layers.Conv2D(2, 1, name="c%d%s" % (number, filling))(x)
    inner = kit.functional(inside, x, "inner")
    image = kit.Input((2, 3, 2), name="image")
    x = inner(image)
    for number in range(17):
        x = layers.Activation("tanh", name="a%d%s" % (number, filling))(x)
    return kit.functional(image, layers.Conv2D(1, 1, name="mask")(x), "chunked")


@golden((1, 4, 6, 2), formats=("full",), needs=lambda kit: not kit.keras_3 and not kit.modern)
def slashed_names(kit):
    """Layer names with slashes, as published nets of early TensorFlow have them."""
    layers = kit.layers
    image = kit.Input((4, 6, 2), name="image")
    x = layers.Conv2D(3, 3, padding="same", name="block1/conv")(image)
    x = layers.BatchNormalization(name="block1/conv/bn")(x)
    x = layers.Activation("relu", name="block1/relu")(x)
    return kit.functional(image, layers.Conv2D(1, 1, name="logits/mask")(x), "slashed")
