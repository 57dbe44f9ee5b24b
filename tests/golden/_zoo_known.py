"""Golden models of custom layers, from the packages that publish them.

Small nets, several layers in each: what matters is that every layer says what the original says.
"""

import importlib.util
import sys
import types

import numpy as np
from _zoo import golden

BOTH = ("full", "archive")


def image_of_zeros(shape):
    """Return an input."""
    return np.zeros(shape, "float32")


def keras_2(kit):
    """Say whether the packages of Keras 2's time can be imported here."""
    return not kit.keras_3


def keras_3(kit):
    """Say whether this is Keras 3."""
    return kit.keras_3


@golden((2, 8, 8, 3), needs=keras_2)
def swin_blocks(kit):
    """Patches, attention in windows, shifted and not, merging and expanding."""
    from keras_unet_collection import transformer_layers as swin

    layers = kit.layers
    image = kit.Input((8, 8, 3), name="image")
    x = swin.patch_extract((2, 2), name="extract")(image)
    x = swin.patch_embedding(16, 8, name="embedding")(x)
    common = {"num_patch": (4, 4), "num_heads": 2, "window_size": 2, "num_mlp": 12}
    x = swin.SwinTransformerBlock(dim=8, shift_size=0, name="plain", **common)(x)
    x = swin.SwinTransformerBlock(dim=8, shift_size=1, qkv_bias=False, name="shifted", **common)(x)
    y = swin.patch_merging((4, 4), embed_dim=8, name="merging")(x)
    y = swin.SwinTransformerBlock(
        dim=16, num_patch=(2, 2), num_heads=4, window_size=2, num_mlp=8, drop_path_prob=0.1,
        qk_scale=0.3, name="small",
    )(y)  # fmt: skip
    y = swin.patch_expanding((2, 2), 16, upsample_rate=2, name="expanding")(y)
    x = layers.Concatenate(name="both")([x, y])
    x = swin.patch_expanding((4, 4), 16, upsample_rate=2, return_vector=False, name="to_image")(x)
    x = swin.drop_path(0.2, name="path")(x)
    return kit.functional(image, layers.Conv2D(2, 1, name="mask")(x), "swin_blocks")


@golden((2, 6, 6, 3), needs=keras_2)
def unet_collection_activations(kit):
    """GELU and Snake of keras-unet-collection; FixedDropout of efficientnet."""
    import efficientnet
    from keras_unet_collection.activations import GELU, Snake

    efficientnet.init_tfkeras_custom_objects()
    fixed = kit.keras.utils.get_custom_objects()["FixedDropout"]
    layers = kit.layers
    image = kit.Input((6, 6, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="conv")(image)
    x = GELU(name="gelu")(x)
    x = Snake(name="fixed_snake")(x)
    x = Snake(beta=0.8, trainable=True, name="trained_snake")(x)
    x = fixed(0.3, noise_shape=(None, 1, 1, None), name="dropped")(x)
    x = layers.Activation("swish", name="swish")(x)
    return kit.functional(image, layers.Conv2D(1, 1, name="mask")(x), "activations")


@golden((2, 8, 6, 4), needs=keras_2)
def addons(kit):
    """Layers of tensorflow-addons."""
    import tensorflow_addons as tfa

    layers = kit.layers
    image = kit.Input((8, 6, 4), name="image")
    x = tfa.layers.InstanceNormalization(name="instance")(image)
    x = tfa.layers.GroupNormalization(groups=2, epsilon=1e-2, name="group")(x)
    x = tfa.layers.InstanceNormalization(center=False, scale=False, name="bare")(x)
    x = tfa.layers.GELU(name="gelu_tanh")(x)
    x = tfa.layers.GELU(approximate=False, name="gelu_exact")(x)
    x = tfa.layers.Snake(name="snake")(x)
    y = layers.Activation(tfa.activations.mish, name="mish")(x)
    x = tfa.layers.StochasticDepth(0.7, name="depth")([x, y])
    average = tfa.layers.AdaptiveAveragePooling2D((4, 3), name="average")(x)
    largest = tfa.layers.AdaptiveMaxPooling2D((4, 3), name="largest")(x)
    x = layers.Concatenate(name="pooled")([average, largest])
    return kit.functional(image, layers.Conv2D(2, 1, name="mask")(x), "addons")


@golden((2, 8, 6, 3), needs=keras_2)
def weight_norm(kit):
    """Weight normalization around a convolution and a dense layer."""
    import tensorflow_addons as tfa

    layers = kit.layers
    image = kit.Input((8, 6, 3), name="image")
    convolution = layers.Conv2D(4, 3, padding="same", activation="relu")
    x = tfa.layers.WeightNormalization(convolution, data_init=False, name="normed")(image)
    dense = layers.Dense(2, use_bias=False)
    x = tfa.layers.WeightNormalization(dense, data_init=False, name="normed_dense")(x)
    model = kit.functional(image, x, "weight_norm")
    model(image_of_zeros((1, 8, 6, 3)))  # its first call is another one
    return model


@golden((2, 8, 6, 4), formats=("full", "archive"))
def convnext_parts(kit):
    """LayerScale and StochasticDepth of keras.applications."""
    if kit.keras_3:
        from keras.src.applications import convnext
    else:
        from keras.applications import convnext

    layers = kit.layers
    image = kit.Input((8, 6, 4), name="image")
    x = layers.Conv2D(4, 3, padding="same", groups=4, name="depthwise")(image)
    x = convnext.LayerScale(0.1, 4, name="scale")(x)
    x = convnext.StochasticDepth(0.2, name="depth")(x)
    return kit.functional(image, layers.Add(name="sum")([x, image]), "convnext_parts")


@golden((2, 8, 8, 4), formats=BOTH)
def published_images(kit):
    """Layers on images that are written out from their published definition."""
    from _published import published

    own, layers = published(kit), kit.layers
    image = kit.Input((8, 8, 4), name="image")
    x = own.ReflectionPadding2D((1, 1), name="reflected")(image)
    x = own.ReflectionPadding2D(((1, 0), (2, 1)), name="reflected_unlike")(x)
    x = own.SymmetricPadding2D((2, 2), name="symmetric")(x)
    x = layers.Conv2D(8, (7, 8), name="conv")(x)
    x = own.PixelShuffle(scale=2, name="shuffled")(x)
    x = own.SpaceToDepth(block_size=2, name="packed")(x)
    x = own.CoordinateChannel2D(use_radius=True, data_format="channels_last", name="places")(x)
    y = own.Mish(name="mish")(x)
    y = own.HardSwish(name="hard_swish")(y)
    y = own.Swish(name="swish")(y)
    return kit.functional(image, [x, layers.Conv2D(2, 1, name="mask")(y)], "published_images")


@golden((2, 8, 8, 4), formats=BOTH)
def published_segnet(kit):
    """Pooling with indices and its inverse; resizing with aligned corners."""
    from _published import published

    own, layers = published(kit), kit.layers
    image = kit.Input((8, 8, 4), name="image")
    x = layers.Conv2D(3, 3, padding="same", name="conv")(image)
    x, places = own.MaxPoolingWithArgmax2D((2, 2), (2, 2), "same", name="pool")(x)
    x = layers.Conv2D(3, 3, padding="same", name="middle")(x)
    x = own.MaxUnpooling2D((2, 2), name="unpool")([x, places])
    y = own.BilinearUpsampling(
        upsampling=(2, 3), output_size=None, data_format="channels_last", name="up"
    )(x)
    z = own.Interp((5, 7), name="interp")(x)
    return kit.functional(image, [y, z], "published_segnet")


@golden((2, 8, 6, 4), formats=BOTH)
def contrib_norm(kit):
    """InstanceNormalization of keras-contrib, over channels and over everything."""
    from _published import published

    own, layers = published(kit), kit.layers
    image = kit.Input((8, 6, 4), name="image")
    x = own.InstanceNormalization(axis=-1, epsilon=1e-2, name="channels")(image)
    x = layers.Conv2D(3, 3, name="conv")(x)
    x = own.InstanceNormalization(axis=None, name="everything")(x)
    return kit.functional(image, layers.Conv2D(2, 1, name="mask")(x), "contrib_norm")


@golden((2, 8, 8, 3), formats=("full", "archive", "weights"))
def vision_transformer_front(kit):
    """Patches and PatchEncoder of the Keras examples."""
    from _published import published

    own, layers = published(kit), kit.layers
    image = kit.Input((8, 8, 3), name="image")
    x = own.Patches(patch_size=4, name="patches")(image)
    x = own.PatchEncoder(num_patches=4, projection_dim=6, name="encoder")(x)
    x = layers.Dense(4, name="dense")(x)
    return kit.functional(image, x, "front")


def bare_package(name):
    """Let a package's files be imported without its `__init__`, which needs much else."""
    package = types.ModuleType(name)
    package.__path__ = list(importlib.util.find_spec(name).submodule_search_locations)
    sys.modules[name] = package


@golden((2, 10, 8, 2), needs=keras_2, formats=BOTH)
def deepcell_parts(kit):
    """The layers of deepcell's feature and pyramid nets."""
    bare_package("deepcell")
    from deepcell.layers import (
        DilatedMaxPool2D,
        ImageNormalization2D,
        Location2D,
        TensorProduct,
        UpsampleLike,
    )

    layers = kit.layers
    image = kit.Input((10, 8, 2), name="image")
    whole = ImageNormalization2D(norm_method="whole_image", name="whole")(image)
    around = ImageNormalization2D(norm_method="std", filter_size=4, name="around")(image)
    kept = ImageNormalization2D(norm_method=None, name="kept")(image)
    place = Location2D(name="place")(image)
    x = layers.Concatenate(name="all")([whole, around, kept, place])
    small = layers.Conv2D(3, 3, strides=3, padding="same", name="small")(x)
    large = UpsampleLike(name="like")([small, image])
    x = layers.Concatenate(name="both")([x, large])
    x = DilatedMaxPool2D((2, 3), dilation_rate=2, name="apart")(x)
    x = DilatedMaxPool2D((2, 2), strides=(2, 1), padding="same", name="together")(x)
    x = TensorProduct(5, activation="relu", name="product")(x)
    return kit.functional(image, TensorProduct(2, use_bias=False, name="mask")(x), "deepcell_parts")


@golden((2, 9, 8, 3), needs=keras_2, formats=BOTH)
def blur_pool(kit):
    """MaxBlurPool2D of n2v on odd and even sizes, DropConnect of efficientunet."""
    bare_package("efficientunet")
    bare_package("n2v")
    from efficientunet.utils import DropConnect
    from n2v.nets.blurpool import MaxBlurPool2D

    layers = kit.layers
    image = kit.Input((9, 8, 3), name="image")
    x = MaxBlurPool2D((2, 2), name="half")(image)
    x = DropConnect(0.2, name="connect")(x)
    x = MaxBlurPool2D((2, 2), name="quarter")(x)
    return kit.functional(image, layers.Conv2D(2, 1, name="mask")(x), "blur_pool")


@golden((2, 10, 8, 2), formats=("full",))
def upsample_like(kit):
    """UpsampleLike of keras-retinanet, by factors that are no whole numbers, of free size."""
    from _published import published

    own, layers = published(kit), kit.layers
    image = kit.Input((None, None, 2), name="image")
    small = layers.Conv2D(3, 3, strides=3, padding="same", name="small")(image)
    x = own.UpsampleLike(name="like")([small, image])
    return kit.functional(image, layers.Conv2D(2, 1, name="mask")(x), "upsample_like")
