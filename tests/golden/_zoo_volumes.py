"""Golden models of sequences and volumes: the 1-D and 3-D kin of the layers for images."""

# The oldest Keras needs Python 3.7, so this is written in its language.
# ruff: noqa: B905, BLE001, PTH100, PTH103, PTH107, PTH110, PTH118, PTH120, PTH123
# ruff: noqa: RUF005, RUF100, SIM905, T201, UP031

from _zoo import golden
from _zoo_layers import fan

SEQUENCE = (1, 11, 4)
VOLUME = (1, 5, 4, 3, 4)
# What the versions differ in (names, formats) shows in the nets; the layers are the same in all.
FANS = {"formats": ("full",), "needs": lambda kit: kit.version[:2] not in ((2, 12), (3, 0))}
FEWER = {
    "formats": ("full",),
    "needs": lambda kit: kit.version[:2] > (3, 0) or kit.version < (2, 3),
}


@golden(SEQUENCE, **FANS)
def sequence_convolutions(kit):
    """Every kind of convolution of a sequence, causal ones too."""
    layers = kit.layers
    conv = layers.Conv1D
    branches = [
        conv(3, 3, name="valid"),
        conv(2, 4, strides=2, padding="same", name="same_stride_2", activation="relu"),
        conv(2, 2, strides=3, padding="same", name="stride_over_kernel"),
        conv(2, 3, dilation_rate=2, padding="same", name="dilated_same"),
        conv(2, 3, padding="causal", name="causal"),
        conv(2, 2, dilation_rate=3, padding="causal", name="causal_dilated", activation="tanh"),
        conv(3, 1, use_bias=False, name="pointwise"),
    ]
    if kit.modern:
        branches.append(conv(6, 3, groups=2, strides=2, padding="causal", name="causal_grouped"))
    if kit.has("SeparableConv1D"):
        separable = layers.SeparableConv1D
        branches += [
            separable(3, 3, strides=2, padding="same", name="separable"),
            separable(2, 2, depth_multiplier=2, dilation_rate=2, name="separable_valid"),
        ]
    if kit.has("DepthwiseConv1D"):
        depthwise = layers.DepthwiseConv1D
        branches += [
            depthwise(3, padding="same", depth_multiplier=2, name="depthwise"),
            depthwise(2, strides=3, name="depthwise_stride_3", activation="relu"),
        ]
    if kit.has("Conv1DTranspose"):
        transposed = layers.Conv1DTranspose
        branches += [
            transposed(2, 3, strides=2, padding="same", name="transposed_same"),
            transposed(2, 2, strides=3, name="transposed_gaps"),
            transposed(1, 4, name="transposed_valid", use_bias=False),
        ]
        if kit.version[:2] != (3, 0):
            extra = transposed(2, 3, strides=2, output_padding=1, name="transposed_extra")
            branches.append(extra)
    return fan(kit, SEQUENCE, branches)


@golden(SEQUENCE, **FEWER)
def sequence_layers(kit):
    """What else works on sequences."""
    layers = kit.layers
    branches = [
        layers.MaxPooling1D(2, name="max_2"),
        layers.MaxPooling1D(3, strides=2, padding="same", name="max_3_2_same"),
        layers.AveragePooling1D(3, strides=1, padding="same", name="average_3_1_same"),
        layers.AveragePooling1D(2, strides=3, name="average_2_3"),
        layers.GlobalMaxPooling1D(name="global_max"),
        layers.GlobalAveragePooling1D(name="global_average"),
        layers.UpSampling1D(3, name="up_3"),
        layers.ZeroPadding1D((2, 1), name="padded"),
        layers.Cropping1D((1, 3), name="cropped"),
        layers.SpatialDropout1D(0.3, name="dropped"),
        layers.BatchNormalization(name="normalised"),
        layers.PReLU(shared_axes=[1], name="prelu_a_channel"),
        layers.PReLU(name="prelu_a_value"),
        layers.Dense(3, activation="softmax", name="dense"),
        layers.Permute((2, 1), name="permuted"),
        layers.Flatten(name="flat"),
    ]
    if kit.version >= (2, 6):
        branches.append(layers.GlobalAveragePooling1D(keepdims=True, name="global_average_kept"))
    return fan(kit, SEQUENCE, branches)


@golden(VOLUME, **FANS)
def volume_convolutions(kit):
    """Every stride, dilation, padding and grouping of Conv3D, and its transpose."""
    conv, transposed = kit.layers.Conv3D, kit.layers.Conv3DTranspose
    branches = [
        conv(2, 3, name="valid", activation="relu"),
        conv(2, (2, 3, 4), padding="same", name="same_2x3x4"),
        conv(2, 3, strides=2, padding="same", name="same_stride_2"),
        conv(2, (3, 1, 2), strides=(2, 1, 3), padding="same", name="same_stride_2_1_3"),
        conv(2, 2, strides=2, name="valid_stride_2", activation="tanh"),
        conv(2, (2, 3, 2), dilation_rate=(2, 1, 2), padding="same", name="dilated"),
        conv(3, 1, use_bias=False, name="pointwise", activation="softmax"),
        transposed(2, 2, strides=2, padding="same", name="transposed_2_2"),
        transposed(2, 3, strides=2, padding="same", name="transposed_3_2", activation="relu"),
        transposed(1, (3, 2, 1), strides=(2, 3, 2), name="transposed_valid"),
        transposed(1, 3, use_bias=False, name="transposed_3_1"),
    ]
    # Grouped convolutions of volumes need a kernel that only XLA has.
    if (kit.modern or kit.tensorflow_keras) and kit.version[:2] != (3, 0):
        extra = transposed(1, 3, strides=2, output_padding=(1, 0, 1), name="transposed_extra")
        branches.append(extra)
    return fan(kit, VOLUME, branches)


@golden(VOLUME, **FEWER)
def volume_layers(kit):
    """What else works on volumes."""
    layers = kit.layers
    branches = [
        layers.MaxPooling3D(2, name="max_2"),
        layers.MaxPooling3D((3, 2, 2), strides=(2, 1, 2), padding="same", name="max_same"),
        layers.AveragePooling3D(2, padding="same", name="average_2_same"),
        layers.AveragePooling3D((3, 2, 1), strides=1, name="average_3x2x1"),
        layers.GlobalMaxPooling3D(name="global_max"),
        layers.GlobalAveragePooling3D(name="global_average"),
        layers.UpSampling3D((2, 1, 3), name="up_2_1_3"),
        layers.ZeroPadding3D(((1, 0), (0, 2), (1, 1)), name="padded"),
        layers.Cropping3D(((1, 0), (0, 2), (1, 1)), name="cropped"),
        layers.SpatialDropout3D(0.3, name="dropped"),
        layers.BatchNormalization(name="normalised"),
        layers.BatchNormalization(axis=4, scale=False, name="normalised_4"),
        layers.PReLU(shared_axes=[1, 2, 3], name="prelu_a_channel"),
        layers.PReLU(shared_axes=[2], name="prelu_a_row"),
        layers.Dense(3, activation="softmax", name="dense"),
        layers.Permute((3, 1, 4, 2), name="permuted"),
        layers.Reshape((30, 8), name="reshaped"),
        layers.Flatten(name="flat"),
    ]
    if kit.has("Softmax"):
        branches += [layers.Softmax(axis=axis, name="softmax_%d" % axis) for axis in (2, 4)]
    if kit.version >= (2, 6):
        branches.append(layers.GlobalMaxPooling3D(keepdims=True, name="global_max_kept"))
    if kit.modern and kit.has("Rescaling"):
        branches.append(layers.Rescaling([1.0, 2.0, 3.0, 4.0], offset=0.5, name="rescaled"))
    return fan(kit, VOLUME, branches)


@golden((1, 16, 3), **FANS)
def sequence_unet(kit):
    """A U-Net of sequences: pooling, upsampling and, where there is one, a transpose."""
    layers = kit.layers
    x = signal = kit.Input((None, 3), name="signal")
    skips = []
    for depth, width in enumerate((4, 6)):
        x = layers.Conv1D(width, 3, padding="same", name="down_%d" % depth)(x)
        x = layers.BatchNormalization(name="norm_%d" % depth)(x)
        x = layers.Activation("relu", name="relu_%d" % depth)(x)
        skips.append(x)
        x = layers.MaxPooling1D(2, name="pool_%d" % depth)(x)
    x = layers.Conv1D(8, 2, padding="causal", activation="elu", name="bottom")(x)
    x = layers.UpSampling1D(2, name="up")(x)
    x = layers.Concatenate(name="join_1")([skips[1], x])
    x = layers.Conv1D(6, 3, padding="same", activation="relu", name="up_1")(x)
    if kit.has("Conv1DTranspose"):
        x = layers.Conv1DTranspose(4, 4, strides=2, padding="same", name="grown")(x)
    else:
        x = layers.UpSampling1D(2, name="grown")(x)
    x = layers.Concatenate(name="join_0")([x, skips[0]])
    return kit.functional(signal, layers.Conv1D(2, 1, activation="softmax", name="mask")(x))


@golden((1, 8, 4, 8, 2), formats=("full", "archive", "weights"))
def volume_unet(kit):
    """A U-Net of volumes, by the plan of Cicek et al. (2016) and of Milletari et al. (2016)."""
    layers = kit.layers
    x = volume = kit.Input((8, 4, 8, 2), name="volume")
    skips = []
    for depth, width in enumerate((3, 4)):
        x = layers.Conv3D(width, 3, padding="same", name="down_%d" % depth)(x)
        x = layers.BatchNormalization(name="norm_%d" % depth)(x)
        x = layers.Activation("relu", name="relu_%d" % depth)(x)
        skips.append(x)
        if depth:
            x = layers.Conv3D(4, 2, strides=2, name="reduced")(x)
            x = layers.PReLU(shared_axes=[1, 2, 3], name="prelu")(x)
        else:
            x = layers.MaxPooling3D(2, name="pool")(x)
    x = layers.SpatialDropout3D(0.2, name="dropout")(x)
    x = layers.Add(name="residual")([x, layers.Conv3D(4, 1, name="bottom")(x)])
    x = layers.Conv3DTranspose(4, 2, strides=2, name="grown")(x)
    x = layers.Concatenate(axis=4, name="join_1")([skips[1], x])
    x = layers.Conv3D(4, (1, 3, 3), padding="same", activation="relu", name="up_1")(x)
    x = layers.UpSampling3D(2, name="up")(x)
    x = layers.Conv3D(3, 2, padding="same", name="shrunk")(x)
    x = layers.Concatenate(name="join_0")([x, skips[0]])
    return kit.functional(volume, layers.Conv3D(3, 1, activation="softmax", name="mask")(x))
