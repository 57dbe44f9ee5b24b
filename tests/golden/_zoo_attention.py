"""Golden models: attention layers, embeddings, and the nets people build of them."""

from _zoo import golden
from _zoo_nets import EVERYTHING
from _zoo_norms import newest_with, one_file

QUERIES, VALUES = (2, 5, 8), (2, 4, 8)


def zero_or_one(kit, x, name):
    """Return a mask of exact zeros and ones that follows the sign of ``x``."""
    x = kit.layers.Rescaling(1e6, name=name + "_scaled")(x)
    return kit.layers.Activation("hard_sigmoid", name=name)(x)


@golden(QUERIES, VALUES, formats=one_file, needs=newest_with("MultiHeadAttention"))
def multi_head_attention(kit):
    """MultiHeadAttention: self and cross, masked and causal, with scores, over several axes."""
    layers = kit.layers
    heads = layers.MultiHeadAttention
    query = kit.Input(QUERIES[1:], name="query")
    value = kit.Input(VALUES[1:], name="value")
    mask = zero_or_one(kit, layers.Dense(4, name="mask_dense")(query), "mask")
    image = layers.Conv2D(4, 1, name="image_conv")(layers.Reshape((5, 2, 4), name="image")(query))
    scored, scores = heads(2, 3, name="scored")(query, value, return_attention_scores=True)
    outputs = [
        heads(2, 3, value_dim=5, use_bias=False, name="cross")(query, value),
        heads(2, 3, dropout=0.1, name="masked")(query, value, attention_mask=mask),
        scored,
        scores,
        heads(2, 2, name="image_self")(image, image),
        heads(2, 2, attention_axes=(2,), name="image_columns")(image, image),
        heads(2, 3, name="causal")(query, query, use_causal_mask=True),
    ]
    if kit.keras_3:
        gated = heads(2, 3, output_shape=(3, 2), use_gate=True, sliding_window=2, name="gated")
        outputs.append(gated(query, query))
        outputs.append(layers.GroupQueryAttention(3, 4, 2, name="grouped")(query, value))
    return kit.functional([query, value], outputs)


@golden(QUERIES, VALUES, formats=one_file, needs=newest_with("MultiHeadAttention"))
def attention(kit):
    """Attention and AdditiveAttention with every score."""
    layers = kit.layers
    query = kit.Input(QUERIES[1:], name="query")
    value = kit.Input(VALUES[1:], name="value")
    key = layers.Dense(8, name="key")(value)
    attended, scores = layers.Attention(name="scored")([query, value], return_attention_scores=True)
    outputs = [
        layers.Attention(name="dot")([query, value]),
        layers.Attention(use_scale=True, name="dot_scaled")([query, value, key]),
        attended,
        scores,
        layers.AdditiveAttention(name="additive")([query, value]),
        layers.AdditiveAttention(use_scale=False, name="additive_plain")([query, value, key]),
    ]
    concat = layers.Attention(use_scale=True, score_mode="concat", name="concat")
    outputs.append(concat([query, value], use_causal_mask=True))
    masked = layers.Softmax(name="masked_softmax")
    outputs.append(masked(query, mask=zero_or_one(kit, query, "mask")))
    return kit.functional([query, value], outputs)


@golden((2, 5, 6), (2, 3, 4, 6), formats=one_file, needs=newest_with("EinsumDense"))
def einsum_dense(kit):
    """EinsumDense with products of one and several axes, and an ellipsis."""
    dense = kit.layers.EinsumDense
    sequence = kit.Input((5, 6), name="sequence")
    image = kit.Input((3, 4, 6), name="image")
    inner = kit.layers.Conv2D(6, 1, name="inner")(image)
    outputs = [
        dense("abc,cd->abd", output_shape=(None, 4), bias_axes="d", name="plain")(sequence),
        dense("abc,bd->adc", output_shape=(3, 6), bias_axes="d", name="mixing")(sequence),
        dense("abc,cde->abde", output_shape=(5, 2, 3), bias_axes="de", name="heads")(sequence),
        dense("abc,bcd->ad", output_shape=4, activation="relu", name="both")(sequence),
        dense("abc,bcd->abd", output_shape=(5, 4), name="a_step")(sequence),
        dense("...x,xy->...y", output_shape=4, bias_axes="y", name="ellipsis")(sequence),
        dense("abcd,de->abce", output_shape=(3, 4, 2), bias_axes="e", name="image_dense")(inner),
    ]
    return kit.functional([sequence, image], outputs)


def gate(kit, x, signal, filters, norm, name):
    """Return a skip connection weighted by additive attention, after Oktay et al. 2018."""
    layers = kit.layers
    theta = layers.Conv2D(filters, 2, strides=2, use_bias=False, name=name + "_theta")(x)
    phi = layers.Conv2D(filters, 1, name=name + "_phi")(signal)
    total = layers.Activation("relu", name=name + "_relu")(
        layers.Add(name=name + "_add")([theta, phi])
    )
    if norm:
        total = layers.LayerNormalization(epsilon=1e-6, name=name + "_ln")(total)
    psi = layers.Conv2D(1, 1, activation="sigmoid", name=name + "_psi")(total)
    psi = layers.UpSampling2D(2, interpolation="bilinear", name=name + "_up")(psi)
    return layers.Multiply(name=name)([psi, x])


def attention_unet(kit, norm):
    """Return a U-Net of two levels with attention gates."""
    layers = kit.layers

    def block(x, filters, name):
        x = layers.Conv2D(filters, 3, padding="same", name=name + "_conv")(x)
        normal = layers.LayerNormalization if norm else layers.BatchNormalization
        return layers.Activation("relu", name=name + "_relu")(normal(name=name + "_norm")(x))

    image = kit.Input((8, 12, 2), name="image")
    down1 = block(image, 3, "down1")
    down2 = block(layers.MaxPooling2D(name="pool1")(down1), 4, "down2")
    x = block(layers.MaxPooling2D(name="pool2")(down2), 5, "bottom")
    gated = gate(kit, down2, x, 3, norm, "gate2")
    x = layers.Concatenate(name="skip2")([layers.UpSampling2D(name="up2")(x), gated])
    x = block(x, 4, "up2_block")
    gated = gate(kit, down1, x, 2, norm, "gate1")
    x = layers.Conv2DTranspose(3, 2, strides=2, name="up1")(x)
    x = block(layers.Concatenate(name="skip1")([x, gated]), 3, "up1_block")
    return kit.functional(image, layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x))


@golden((1, 8, 12, 2), formats=one_file, needs=lambda kit: kit.newest() and not kit.keras_3)
def attention_unet_batch_norm(kit):
    """Attention U-Net with batch normalization."""
    return attention_unet(kit, norm=False)


@golden((1, 8, 12, 2), formats=one_file, needs=lambda kit: kit.newest() and kit.keras_3)
def attention_unet_layer_norm(kit):
    """Attention U-Net with layer normalization."""
    return attention_unet(kit, norm=True)


def perceptron(kit, x, width, name):
    """Return a transformer's two Dense layers with gelu between."""
    y = kit.layers.Dense(2 * width, activation="gelu", name=name + "_wide")(x)
    return kit.layers.Dense(width, name=name + "_narrow")(y)


@golden((1, 8, 12, 2), (1, 6), formats=one_file, needs=newest_with("MultiHeadAttention"))
def transunet(kit):
    """Convolutions, patches to a sequence, a transformer with positions, and back to an image."""
    layers = kit.layers
    image = kit.Input((8, 12, 2), name="image")
    # Rows of the table of positions, drawn for the test: a real net has 0, 1, 2 ...
    places = kit.Input((6,), name="places")
    down = layers.Conv2D(4, 3, padding="same", activation="relu", name="stem")(image)
    x = layers.Conv2D(8, 4, strides=4, name="patches")(down)
    x = layers.Reshape((6, 8), name="sequence")(x)
    index = layers.ReLU(max_value=5.0, name="index")(layers.Rescaling(3.0, name="spread")(places))
    x = layers.Add(name="with_position")([x, layers.Embedding(6, 8, name="position")(index)])
    y = layers.LayerNormalization(epsilon=1e-6, name="ln_attention")(x)
    y = layers.MultiHeadAttention(2, 4, dropout=0.1, name="attention")(y, y)
    x = layers.Add(name="attended")([x, layers.Dropout(0.1, name="drop")(y)])
    y = perceptron(kit, layers.LayerNormalization(epsilon=1e-6, name="ln_mlp")(x), 8, "mlp")
    x = layers.Add(name="transformed")([x, y])
    x = layers.LayerNormalization(name="encoded")(x)
    x = layers.Reshape((2, 3, 8), name="back")(x)
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="decode")(x)
    x = layers.UpSampling2D(4, interpolation="bilinear", name="up")(x)
    x = layers.Concatenate(name="skip")([x, down])
    mask = layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x)
    return kit.functional([image, places], mask, "transunet")


@golden((1, 8, 8, 3), formats=one_file, needs=lambda kit: kit.newest() and not kit.keras_3)
def mlp_mixer(kit):
    """A mixer block: Dense over the channels and, turned, over the places."""
    layers = kit.layers
    image = kit.Input((8, 8, 3), name="image")
    x = layers.Conv2D(6, 2, strides=2, name="patches")(image)
    x = layers.Reshape((16, 6), name="sequence")(x)
    y = layers.Permute((2, 1), name="turned")(layers.LayerNormalization(name="ln_places")(x))
    y = layers.Permute((2, 1), name="turned_back")(perceptron(kit, y, 16, "places"))
    x = layers.Add(name="mixed_places")([x, y])
    y = perceptron(kit, layers.LayerNormalization(name="ln_channels")(x), 6, "channels")
    x = layers.Add(name="mixed_channels")([x, y])
    x = layers.Conv2DTranspose(3, 2, strides=2, name="up")(layers.Reshape((4, 4, 6), name="map")(x))
    return kit.functional(image, layers.Conv2D(2, 1, activation="softmax", name="mask")(x), "mixer")


@golden(
    (1, 2, 4, 6, 2),
    formats=EVERYTHING,
    needs=lambda kit: kit.label in ("keras-3.0", "keras-3.15", "tf.keras-2.12"),
)
def layers_in_layers(kit):
    """Layers that hold the weights of others, in every format."""
    layers = kit.layers
    frames = kit.Input((2, 4, 6, 2), name="frames")
    norm = layers.BatchNormalization(name="inner_norm")
    x = layers.TimeDistributed(layers.Conv2D(3, 3, name="inner_conv"), name="conv")(frames)
    x = layers.TimeDistributed(norm, name="norm")(x)
    x = layers.Reshape((8, 6), name="sequence")(x)
    x = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    if kit.has("SpectralNormalization"):
        x = layers.SpectralNormalization(layers.Dense(2, name="inner_dense"), name="dense")(x)
    return kit.functional(frames, x)
