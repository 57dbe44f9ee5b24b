"""Golden models that fan one input out to many settings of one family of layers."""

# The oldest Keras needs Python 3.7, so this is written in its language.
# ruff: noqa: B905, BLE001, PTH100, PTH103, PTH107, PTH110, PTH118, PTH120, PTH123
# ruff: noqa: RUF005, RUF100, SIM905, T201, UP031

import numpy as np
from _zoo import golden

ODD = (1, 7, 10, 4)


def fan(kit, shape, branches, **options):
    """Return a model with one output a branch; ``branches`` maps layer names to layers."""
    image = kit.Input(shape[1:], name="image")
    return kit.functional(image, [layer(image) for layer in branches], **options)


@golden(ODD)
def convolutions(kit):
    """Every stride, dilation, padding and grouping of Conv2D."""
    conv = kit.layers.Conv2D
    branches = [
        conv(3, 3, name="valid"),
        conv(2, 3, strides=2, padding="same", name="same_stride_2", activation="relu"),
        conv(2, (3, 5), strides=(2, 3), padding="same", name="same_stride_2_3"),
        conv(2, (2, 3), strides=(2, 1), name="valid_stride_2_1", activation="tanh"),
        conv(2, 4, padding="same", name="same_even"),
        conv(2, 2, padding="same", name="same_2", activation="elu"),
        conv(2, 2, strides=3, padding="same", name="stride_over_kernel"),
        conv(2, 3, dilation_rate=2, padding="same", name="dilated_same"),
        conv(2, (2, 3), dilation_rate=(3, 2), name="dilated_valid", activation="softmax"),
        conv(3, 1, use_bias=False, name="pointwise", activation="sigmoid"),
    ]
    if kit.modern:
        branches.append(conv(6, 3, groups=2, padding="same", name="grouped"))
        branches.append(conv(4, 2, groups=4, strides=2, name="grouped_fully"))
    return fan(kit, ODD, branches)


@golden((1, 4, 5, 3))
def transposed_convolutions(kit):
    """Every stride, padding and output padding of Conv2DTranspose."""
    conv = kit.layers.Conv2DTranspose
    branches = [
        conv(2, 2, strides=2, padding="same", name="same_2_2"),
        conv(2, 3, strides=2, padding="same", name="same_3_2", activation="relu"),
        conv(2, 3, strides=2, name="valid_3_2"),
        conv(2, 4, strides=2, padding="same", name="same_4_2", use_bias=False),
        conv(1, 2, strides=3, padding="same", name="same_2_3"),
        conv(1, 2, strides=3, name="valid_2_3"),
        conv(2, (5, 3), strides=(1, 2), padding="same", name="same_5x3_1x2"),
        conv(2, 3, name="valid_3_1"),
        conv(2, (2, 3), padding="same", name="same_2x3_1"),
    ]
    # Keras 3.0 runs output_padding but does not write it into the file.
    if (kit.modern or kit.tensorflow_keras) and kit.version[:2] != (3, 0):
        branches.append(conv(2, 3, strides=2, output_padding=1, name="valid_extra"))
        branches.append(conv(2, 3, strides=2, padding="same", output_padding=1, name="same_extra"))
        branches.append(
            conv(2, 3, strides=(2, 3), padding="same", output_padding=(1, 2), name="same_extra_1_2")
        )
    if kit.modern and not kit.keras_3:  # Keras 3 uses a kernel TensorFlow's CPU side lacks
        branches.append(conv(2, 3, dilation_rate=2, padding="same", name="dilated"))
    return fan(kit, (1, 4, 5, 3), branches)


@golden((1, 7, 9, 3))
def depthwise_convolutions(kit):
    """Depthwise and separable convolutions."""
    separable = kit.layers.SeparableConv2D
    branches = [
        separable(4, 3, padding="same", name="separable"),
        separable(2, 3, strides=2, depth_multiplier=2, padding="same", name="separable_2"),
        separable(2, (2, 3), use_bias=False, activation="relu", name="separable_valid"),
    ]
    if kit.has("DepthwiseConv2D"):
        depthwise = kit.layers.DepthwiseConv2D
        branches += [
            depthwise(3, padding="same", name="depthwise"),
            depthwise((2, 3), depth_multiplier=3, name="multiplied", activation="relu"),
            depthwise(3, strides=2, padding="same", name="same_stride_2"),
            depthwise(3, strides=2, use_bias=False, name="valid_stride_2"),
        ]
    if kit.modern:
        branches.append(
            kit.layers.DepthwiseConv2D(3, dilation_rate=2, padding="same", name="dilated")
        )
        branches.append(separable(2, 3, dilation_rate=2, padding="same", name="separable_dilated"))
    return fan(kit, (1, 7, 9, 3), branches)


@golden((1, 5, 6, 3))
def batch_norms(kit):
    """BatchNormalization with and without its parts, on several axes and ranks."""
    norm = kit.layers.BatchNormalization
    image = kit.Input((5, 6, 3), name="image")
    outputs = [
        norm(name="plain")(image),
        norm(scale=False, name="no_scale")(image),
        norm(center=False, epsilon=1e-5, name="no_center")(image),
        norm(scale=False, center=False, momentum=0.9, name="bare")(image),
        norm(axis=3, name="axis_3")(image),
        norm(axis=2, name="axis_2")(image),
        norm(name="of_vector")(kit.layers.GlobalAveragePooling2D(name="pooled")(image)),
    ]
    if not kit.graph_mode:  # TensorFlow 1 takes axis 1 for channels_first, which its CPU refuses
        outputs.append(norm(axis=1, name="axis_1")(image))
    return kit.functional(image, outputs)


@golden(ODD)
def pooling(kit):
    """Max, average and global pooling."""
    layers = kit.layers
    branches = []
    for name, pool in (("max", layers.MaxPooling2D), ("average", layers.AveragePooling2D)):
        branches += [
            pool(2, name=name + "_2"),
            pool(2, padding="same", name=name + "_2_same"),
            pool(3, strides=2, padding="same", name=name + "_3_2_same"),
            pool((3, 2), strides=(1, 2), name=name + "_3x2_valid"),
            pool((2, 3), strides=1, padding="same", name=name + "_2x3_1_same"),
        ]
    branches += [
        layers.GlobalAveragePooling2D(name="global_average"),
        layers.GlobalMaxPooling2D(name="global_max"),
    ]
    if kit.version >= (2, 6):
        branches += [
            layers.GlobalAveragePooling2D(keepdims=True, name="global_average_kept"),
            layers.GlobalMaxPooling2D(keepdims=True, name="global_max_kept"),
        ]
    return fan(kit, ODD, branches)


@golden((1, 4, 5, 3))
def merging(kit):
    """All merging layers, with three inputs, broadcasting, and every axis of Concatenate."""
    layers = kit.layers
    image = kit.Input((4, 5, 3), name="image")
    a, b, c = (layers.Conv2D(3, 1, name=name)(image) for name in "abc")
    outputs = [
        layers.Add(name="add")([a, b, c]),
        layers.Subtract(name="subtract")([a, b]),
        layers.Multiply(name="multiply")([a, b, c]),
        layers.Average(name="average")([a, b, c]),
        layers.Maximum(name="maximum")([a, b, c]),
        layers.Add(name="twice")([a, a]),
        layers.Concatenate(name="concatenate")([a, b, c]),
        layers.Concatenate(axis=1, name="concatenate_1")([a, b]),
        layers.Concatenate(axis=2, name="concatenate_2")([b, a]),
        layers.Concatenate(axis=-3, name="concatenate_minus_3")([c, a]),
    ]
    if kit.has("Minimum"):
        outputs.append(layers.Minimum(name="minimum")([a, b, c]))
    # Squeeze and excite: a gate of one pixel.
    gate = layers.GlobalAveragePooling2D(name="squeeze")(a)
    gate = layers.Dense(2, activation="relu", name="reduce")(gate)
    gate = layers.Dense(3, activation="sigmoid", name="excite")(gate)
    gate = layers.Reshape((1, 1, 3), name="gate")(gate)
    outputs.append(layers.Multiply(name="scaled")([a, gate]))
    attention = layers.Conv2D(1, 1, name="attention")(image)
    outputs.append(layers.Multiply(name="attended")([attention, b]))
    return kit.functional(image, outputs)


NAMES = (
    "relu sigmoid tanh elu selu softplus softsign hard_sigmoid linear exponential softmax "
    "swish silu gelu mish relu6 leaky_relu"
).split()


@golden((1, 5, 6, 3))
def activation_names(kit):
    """Every activation by name, as a layer and inside a convolution."""
    image = kit.Input((5, 6, 3), name="image")
    # Wide enough that the clipped ends are reached.
    wide = kit.layers.Conv2D(4, 1, name="wide")(image)
    known = [name for name in NAMES if hasattr(kit.keras.activations, name)]
    outputs = [kit.layers.Activation(name, name="only_" + name)(wide) for name in known]
    outputs += [
        kit.layers.Conv2D(2, 1, activation=name, name="with_" + name)(wide)
        for name in known
        if name not in ("linear", "relu")
    ]
    return kit.functional(image, outputs)


@golden((1, 5, 6, 3))
def activation_layers(kit):
    """Activation layers with their arguments."""
    layers = kit.layers
    branches = [
        layers.LeakyReLU(name="leaky"),
        kit.leaky(0.1, name="leaky_less"),
        layers.ELU(name="elu"),
        layers.ELU(alpha=0.6, name="elu_less"),
        layers.PReLU(name="prelu_a_pixel"),
        layers.PReLU(shared_axes=[1, 2], name="prelu_a_channel"),
        layers.PReLU(shared_axes=[1], name="prelu_a_column"),
    ]
    if kit.has("Softmax"):
        branches += [layers.Softmax(name="softmax"), layers.Softmax(axis=1, name="softmax_1")]
        if kit.modern:
            branches.append(layers.Softmax(axis=[1, 2], name="softmax_1_2"))
    if kit.has("ReLU"):
        branches += [layers.ReLU(name="relu"), layers.ReLU(max_value=0.8, name="relu_to")]
        if kit.modern or kit.tensorflow_keras:
            branches += [
                layers.ReLU(negative_slope=0.2, name="relu_slope"),
                layers.ReLU(threshold=0.3, name="relu_threshold"),
                layers.ReLU(0.9, negative_slope=0.1, threshold=0.4, name="relu_all"),
            ]
    return fan(kit, (1, 5, 6, 3), branches)


@golden((1, 5, 6, 3), needs=lambda kit: kit.modern)
def activation_objects(kit):
    """Activations given as layer objects and as functions."""
    layers = kit.layers
    branches = [
        layers.Conv2D(3, 1, activation=kit.leaky(0.15), name="conv_leaky"),
        layers.Conv2D(3, 1, activation=layers.ReLU(max_value=0.7), name="conv_relu_to"),
        layers.Activation(kit.keras.activations.tanh, name="function"),
        layers.Activation(layers.ELU(alpha=0.5), name="activation_elu"),
        layers.Dense(2, activation=layers.Softmax(), name="dense_softmax"),
    ]
    return fan(kit, (1, 5, 6, 3), branches)


@golden((2, 4, 6, 3))
def shaping(kit):
    """Padding, cropping, reshaping, permuting and dense layers."""
    layers = kit.layers
    image = kit.Input((4, 6, 3), name="image")
    x = layers.Conv2D(2, 1, name="start")(image)
    outputs = [
        layers.ZeroPadding2D(name="pad")(image),
        layers.ZeroPadding2D((1, 2), name="pad_1_2")(image),
        layers.ZeroPadding2D(((0, 1), (2, 3)), name="pad_sides")(image),
        layers.Cropping2D((1, 2), name="crop_1_2")(image),
        layers.Cropping2D(((0, 1), (2, 1)), name="crop_sides")(image),
        layers.Permute((3, 1, 2), name="permute_3_1_2")(image),
        layers.Permute((2, 1, 3), name="permute_2_1_3")(x),
        layers.Reshape((2, 12, 3), name="reshape_2_12_3")(image),
        layers.Reshape((-1, 9), name="reshape_rest")(image),
        layers.Dense(3, activation="relu", name="dense_pixels")(image),
    ]
    rows = layers.Reshape((24, 2), name="pixels")(x)
    rows = layers.Activation("softmax", name="pixel_softmax")(rows)
    outputs.append(layers.Permute((2, 1), name="pixels_last")(rows))
    outputs.append(layers.Dense(2, name="dense_rows")(rows))
    flat = layers.Flatten(name="flat")(x)
    vector = layers.Dense(6, activation="tanh", name="dense_flat")(flat)
    grown = layers.Reshape((1, 2, 3), name="grown")(vector)
    outputs.append(layers.UpSampling2D((2, 3), name="grown_up")(grown))
    return kit.functional(image, outputs)


@golden((1, 3, 5, 2), remark="bilinear is not half-pixel in standalone Keras 2.2.4")
def upsampling(kit):
    """UpSampling2D, nearest and bilinear, uneven factors."""
    up = kit.layers.UpSampling2D
    branches = [
        up(name="nearest_2"),
        up((1, 3), name="nearest_1_3"),
        up((3, 2), name="nearest_3_2"),
        up((4, 1), name="nearest_4_1"),
    ]
    if kit.bilinear():
        branches += [
            up(2, interpolation="bilinear", name="bilinear_2"),
            up((3, 2), interpolation="bilinear", name="bilinear_3_2"),
            up((1, 4), interpolation="bilinear", name="bilinear_1_4"),
        ]
    return fan(kit, (1, 3, 5, 2), branches)


@golden((1, 4, 5, 3))
def regularisers(kit):
    """Layers that only act while training."""
    layers = kit.layers
    x = image = kit.Input((4, 5, 3), name="image")
    for layer in (
        layers.Dropout(0.3, name="dropout"),
        layers.SpatialDropout2D(0.2, name="spatial_dropout"),
        layers.GaussianNoise(0.1, name="gaussian_noise"),
        layers.GaussianDropout(0.2, name="gaussian_dropout"),
        layers.AlphaDropout(0.1, name="alpha_dropout"),
        layers.ActivityRegularization(l2=0.1, name="activity"),
    ):
        x = layer(x)
    return kit.functional(image, layers.Conv2D(2, 3, padding="same", name="mask")(x))


@golden((2, 4, 5, 3), needs=lambda kit: kit.modern and kit.has("Normalization"))
def scaling(kit):
    """Rescaling and Normalization, adapted and given."""
    layers = kit.layers
    image = kit.Input((4, 5, 3), name="image")
    adapted = layers.Normalization(name="adapted")
    adapted.adapt(np.random.RandomState(5).normal(2.0, 3.0, (8, 4, 5, 3)).astype("float32"))
    x = layers.Rescaling(1 / 255.0, offset=-0.5, name="rescale")(image)
    outputs = [
        layers.Conv2D(2, 1, name="of_rescaled")(x),
        layers.Rescaling([0.5, 2.0, 3.0], offset=[0.1, 0.2, 0.3], name="rescale_channels")(image),
        adapted(image),
        layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 4.0, 0.25], name="given")(image),
        layers.Normalization(axis=None, mean=0.5, variance=2.0, name="given_one")(image),
    ]
    if kit.version >= (2, 13):  # earlier ones do not write `invert` into the file
        inverted = layers.Normalization(
            mean=[0.1, 0.2, 0.3], variance=[1.0, 4.0, 0.25], invert=True, name="inverted"
        )
        outputs.append(inverted(image))
    return kit.functional(image, outputs)
