"""Golden models: whole segmentation nets and the ways of putting models together."""

from _zoo import golden

EVERYTHING = ("full", "archive", "weights")


def dice_loss(truth, guess):
    """A loss no file reader knows."""
    return 1.0 - 2.0 * (truth * guess) / (truth + guess + 1.0)


def conv(kit, x, filters, size=3, **options):
    """3x3 same convolution with relu."""
    options.setdefault("activation", "relu")
    return kit.layers.Conv2D(filters, size, padding="same", **options)(x)


@golden((1, 8, 12, 1), formats=EVERYTHING, train=True, remark="trained one step with adam")
def unet_nearest(kit):
    """U-Net with UpSampling2D and 2x2 convolutions, all names automatic."""
    layers = kit.layers
    image = kit.Input((8, 12, 1))
    c1 = conv(kit, conv(kit, image, 2, kernel_initializer="he_normal"), 2)
    c2 = conv(kit, layers.MaxPooling2D(pool_size=(2, 2))(c1), 3)
    d2 = layers.Dropout(0.5)(c2)
    c3 = conv(kit, layers.MaxPooling2D(pool_size=(2, 2))(d2), 5)
    d3 = layers.Dropout(0.5)(c3)
    u2 = conv(kit, layers.UpSampling2D(size=(2, 2))(d3), 3, 2)
    m2 = layers.Concatenate(axis=3)([d2, u2])
    u1 = conv(kit, layers.UpSampling2D(size=(2, 2))(conv(kit, m2, 3)), 2, 2)
    m1 = layers.Concatenate(axis=3)([c1, u1])
    last = conv(kit, conv(kit, m1, 2), 2)
    model = kit.functional(image, layers.Conv2D(1, 1, activation="sigmoid")(last))
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    return model


@golden((1, 8, 12, 3), remark="compiled with a custom loss")
def unet_transpose(kit):
    """U-Net with batch norm, transposed convolutions and names of its own."""
    layers = kit.layers

    def block(x, filters, name):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=name + "_conv")(x)
        x = layers.BatchNormalization(name=name + "_bn")(x)
        return layers.Activation("relu", name=name + "_relu")(x)

    image = kit.Input((8, 12, 3), name="image")
    down1 = block(image, 3, "down1")
    down2 = block(layers.MaxPooling2D(2, name="pool1")(down1), 4, "down2")
    bottom = block(layers.MaxPooling2D(2, name="pool2")(down2), 6, "bottom")
    up2 = layers.Conv2DTranspose(4, 2, strides=2, padding="same", name="up2")(bottom)
    up2 = block(layers.Concatenate(name="skip2")([up2, down2]), 4, "up2_block")
    up1 = layers.Conv2DTranspose(3, 3, strides=2, padding="same", name="up1")(up2)
    up1 = block(layers.Concatenate(name="skip1")([up1, down1]), 3, "up1_block")
    mask = layers.Conv2D(4, 1, activation="softmax", name="mask")(up1)
    model = kit.functional(image, mask, "unet_transpose")
    model.compile(optimizer="sgd", loss=dice_loss)
    return model


@golden((1, 8, 12, 3), needs=lambda kit: kit.bilinear(), remark="spatial sizes unknown")
def unet_bilinear(kit):
    """Residual U-Net of unknown size with bilinear upsampling."""
    layers = kit.layers
    image = kit.Input((None, None, 3), name="image")
    down = layers.Conv2D(4, 3, padding="same", name="stem")(image)
    x = kit.leaky(0.2, name="stem_leaky")(layers.BatchNormalization(name="stem_bn")(down))
    x = layers.AveragePooling2D(2, name="pool")(x)
    y = layers.SeparableConv2D(4, 3, padding="same", name="separable")(x)
    x = layers.Add(name="residual")([x, y])
    small = layers.MaxPooling2D(2, name="pool_more")(x)
    small = layers.UpSampling2D(2, interpolation="bilinear", name="up_small")(small)
    x = layers.Concatenate(name="skip")([small, x])
    x = layers.UpSampling2D((2, 2), interpolation="bilinear", name="up")(x)
    x = layers.Concatenate(name="skip_more")([x, down])
    return kit.functional(image, layers.Conv2D(2, 1, activation="tanh", name="mask")(x), "residual")


@golden((1, 8, 12, 2), formats=EVERYTHING, remark="frozen layers inside the inner models")
def nested(kit):
    """Functional in Functional, with a Sequential in the inner one; some layers frozen."""
    layers = kit.layers
    head = kit.Sequential(name="head")
    head.add(layers.Conv2D(3, 3, padding="same", input_shape=(4, 6, 4), name="head_conv"))
    head.add(layers.BatchNormalization(name="head_bn"))
    head.add(layers.Activation("relu", name="head_relu"))
    head.layers[0].trainable = False

    feature = kit.Input((8, 12, 2), name="encoder_input")
    x = layers.Conv2D(4, 3, padding="same", name="encoder_conv")(feature)
    x = layers.BatchNormalization(name="encoder_bn")(x)
    x = layers.MaxPooling2D(name="encoder_pool")(x)
    x = head(x)
    x = layers.Conv2D(3, 1, name="encoder_last")(x)
    encoder = kit.functional(feature, x, "encoder")
    encoder.get_layer("encoder_bn").trainable = False

    image = kit.Input((8, 12, 2), name="image")
    x = layers.Conv2D(2, 1, name="before")(image)
    x = encoder(x)
    x = layers.UpSampling2D(name="up")(x)
    x = layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="mask")(x)
    return kit.functional(image, x, "outer")


@golden((2, 4, 6, 2), (2, 4, 6, 2), formats=EVERYTHING, remark="layers and a model called again")
def shared(kit):
    """A convolution called three times, a nested model with two outputs called twice."""
    layers = kit.layers
    inside = kit.Input((4, 6, 3), name="tower_input")
    first = layers.Conv2D(3, 3, padding="same", name="tower_conv")(inside)
    again = (
        layers.ReLU(name="tower_relu")
        if kit.has("ReLU")
        else layers.Activation("relu", name="tower_relu")
    )
    second = layers.BatchNormalization(name="tower_bn")(again(first))
    tower = kit.functional(inside, [second, again(second)], "tower")

    left = kit.Input((4, 6, 2), name="left")
    right = kit.Input((4, 6, 2), name="right")
    widen = layers.Conv2D(3, 3, padding="same", name="widen")
    mix = layers.Conv2D(3, (1, 3), padding="same", name="mix")
    left_a, left_b = tower(widen(left))
    right_a, right_b = tower(widen(right))
    x = layers.Add(name="sum")([mix(left_a), mix(right_b)])
    y = layers.Concatenate(name="join")([x, left_b, right_a, mix(x)])
    return kit.functional([left, right], layers.Conv2D(2, 1, name="mask")(y), "siamese")
