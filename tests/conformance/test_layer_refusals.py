"""Whatever a configuration or a weight holds: converted, or refused with an error of our own."""

import numpy as np
import pytest

from helpers.layer_calls import convert
from segrt.errors import ModelFileError, SegrtError, UnsupportedConfigError
from segrt.importers.layers._base import REGISTRY

IMAGE = (None, 8, 8, 4)
# fmt: off
JUNK = [None, "x", "", -1, 0, 1.5, 10**30, float("nan"), True, [], {}, [1, 2, 3],
        [[1, 2], [3, "x"]],
        {"class_name": "__lambda__", "config": {"value": "4wEA"}}, [-1, -1], "causal"]
# fmt: on

VOLUME = (None, 8, 8, 8, 4)
SEQUENCE = (None, 8, 4)
# Settings and weight shapes with which every layer converts, on one image unless said otherwise.
GOOD = {
    "Conv2D": ({"filters": 8, "kernel_size": [3, 3], "strides": [1, 1], "padding": "same",
                "dilation_rate": [1, 1], "groups": 2, "activation": "relu", "use_bias": True,
                "data_format": "channels_last"}, [(3, 3, 2, 8), (8,)]),
    "DepthwiseConv2D": ({"kernel_size": [3, 3], "strides": [1, 1], "padding": "same",
                         "depth_multiplier": 1, "use_bias": True}, [(3, 3, 4, 1), (4,)]),
    "SeparableConv2D": ({"filters": 5, "kernel_size": [3, 3], "depth_multiplier": 1},
                        [(3, 3, 4, 1), (1, 1, 4, 5), (5,)]),
    "Conv2DTranspose": ({"filters": 2, "kernel_size": [3, 3], "strides": [2, 2],
                         "padding": "same", "output_padding": [1, 1]}, [(3, 3, 2, 4), (2,)]),
    "Conv1D": ({"filters": 8, "kernel_size": [3], "strides": [1], "padding": "causal",
                "dilation_rate": [1], "groups": 2}, [(3, 2, 8), (8,)]),
    "Conv3D": ({"filters": 8, "kernel_size": [3, 1, 2], "strides": [1, 1, 1], "padding": "same",
                "dilation_rate": [1, 1, 1], "groups": 2}, [(3, 1, 2, 2, 8), (8,)]),
    "LocallyConnected2D": ({"filters": 2, "kernel_size": [3, 3], "strides": [2, 2],
                            "padding": "valid", "implementation": 1},
                           [(9, 36, 2), (3, 3, 2)]),
    "LocallyConnected1D": ({"filters": 2, "kernel_size": [3], "strides": [2], "padding": "same",
                            "implementation": 3}, [(11 * 4 * 2,), (4, 2)]),
    "DepthwiseConv1D": ({"kernel_size": 3, "strides": 1, "depth_multiplier": 1},
                        [(3, 4, 1), (4,)]),
    "Conv3DTranspose": ({"filters": 2, "kernel_size": [3, 3, 3], "strides": [2, 2, 2],
                         "padding": "same", "output_padding": [1, 1, 1]},
                        [(3, 3, 3, 2, 4), (2,)]),
    "MaxPooling1D": ({"pool_size": 2, "strides": [2], "padding": "same"}, []),
    "AveragePooling3D": ({"pool_size": [2, 2, 2], "strides": None, "padding": "same"}, []),
    "UpSampling1D": ({"size": 2}, []),
    "UpSampling3D": ({"size": [2, 1, 2]}, []),
    "ZeroPadding1D": ({"padding": [1, 2]}, []),
    "Cropping3D": ({"cropping": [[1, 1], [1, 0], [0, 2]]}, []),
    "GlobalMaxPooling3D": ({"keepdims": False}, []),
    "BatchNormalization": ({"axis": [3], "epsilon": 1e-3, "scale": True, "center": True},
                           [(4,)] * 4),
    "UpSampling2D": ({"size": [2, 2], "interpolation": "bilinear"}, []),
    "MaxPooling2D": ({"pool_size": [2, 2], "strides": None, "padding": "same"}, []),
    "AveragePooling2D": ({"pool_size": [2, 2], "strides": [2, 2], "padding": "valid"}, []),
    "GlobalAveragePooling2D": ({"keepdims": False}, []),
    "GlobalMaxPooling2D": ({"keepdims": False}, []),
    "Concatenate": ({"axis": -1}, []),
    "Activation": ({"activation": "relu"}, []),
    "ReLU": ({"max_value": 6.0, "negative_slope": 0.1, "threshold": 0.5}, []),
    "LeakyReLU": ({"alpha": 0.3}, []),
    "ELU": ({"alpha": 1.0}, []),
    "ThresholdedReLU": ({"theta": 1.0}, []),
    "Softmax": ({"axis": -1}, []),
    "PReLU": ({"shared_axes": [1, 2]}, [(1, 1, 4)]),
    "ZeroPadding2D": ({"padding": [[1, 1], [1, 1]]}, []),
    "Cropping2D": ({"cropping": [[1, 1], [1, 1]]}, []),
    "Reshape": ({"target_shape": [64, 4]}, []),
    "Flatten": ({"data_format": "channels_last"}, []),
    "Permute": ({"dims": [2, 1, 3]}, []),
    "Dense": ({"units": 6, "use_bias": True, "activation": None}, [(4, 6), (6,)]),
    "Rescaling": ({"scale": 0.5, "offset": [0.0, 0.0, 0.0, 1.0]}, []),
    "Normalization": ({"axis": [-1], "mean": [0.0] * 4, "variance": [1.0] * 4, "invert": False},
                      []),
    "LayerNormalization": ({"axis": [-1], "epsilon": 1e-3, "center": True, "scale": True},
                           [(4,), (4,)]),
    "GroupNormalization": ({"groups": 2, "axis": -1, "epsilon": 1e-3, "center": True,
                            "scale": True}, [(4,), (4,)]),
    "UnitNormalization": ({"axis": -1}, []),
    "RMSNormalization": ({"axis": [3], "epsilon": 1e-6}, [(4,)]),
    "EinsumDense": ({"equation": "abcd,de->abce", "bias_axes": "e", "activation": "relu"},
                    [(4, 5), (5,)]),
    "Embedding": ({"input_dim": 5, "output_dim": 3, "mask_zero": False}, [(5, 3)]),
    "Resizing": ({"height": 4, "width": 5, "interpolation": "nearest",
                  "crop_to_aspect_ratio": True, "pad_to_aspect_ratio": False, "antialias": False},
                 []),
    "CenterCrop": ({"height": 4, "width": 5}, []),
    "RandomCrop": ({"height": 4, "width": 5}, []),
    "TimeDistributed": ({"layer": {"class_name": "Dense", "config": {"units": 3}}},
                        [(4, 3), (3,)]),
}  # fmt: skip


def taken(class_name):
    """Return the shape of an input that the class takes."""
    if "1D" in class_name:
        return SEQUENCE
    return VOLUME if "3D" in class_name else IMAGE


def ones(shapes):
    return [np.ones(shape, np.float32) for shape in shapes]


@pytest.mark.parametrize("class_name", GOOD)
def test_junk_in_a_configuration(class_name):
    config, shapes = GOOD[class_name]
    convert(class_name, config, ones(shapes), [taken(class_name)])
    refused = 0
    for key in config:
        for junk in JUNK:
            broken = {**config, key: junk}
            count = len(REGISTRY.find(class_name).weights(broken))
            weights = ones((shapes * 4)[:count]) if count <= 4 * len(shapes) else ones([(4,)] * 3)
            try:
                convert(class_name, broken, weights, [taken(class_name)])
            except SegrtError as error:
                refused += 1
                assert "layer 'layer'" in str(error)  # noqa: PT017
    assert refused > 0


@pytest.mark.parametrize("class_name", [name for name in GOOD if GOOD[name][1]])
def test_weights_of_the_wrong_shape_or_type(class_name):
    config, shapes = GOOD[class_name]
    for index, shape in enumerate(shapes):
        wrong = ones(shapes)
        wrong[index] = np.ones([size + 1 for size in shape], np.float32)
        with pytest.raises(ModelFileError, match="layer") as caught:
            convert(class_name, config, wrong, [taken(class_name)])
        assert str(tuple(size + 1 for size in shape)) in str(caught.value)
        wrong[index] = np.ones(shape, np.int8)
        with pytest.raises(ModelFileError, match="type"):
            convert(class_name, config, wrong, [taken(class_name)])


@pytest.mark.parametrize("class_name", GOOD)
def test_missing_settings(class_name):
    config, shapes = GOOD[class_name]
    for key in config:
        rest = {name: value for name, value in config.items() if name != key}
        if len(REGISTRY.find(class_name).weights(rest)) != len(shapes):
            continue
        try:
            convert(class_name, rest, ones(shapes), [taken(class_name)])
        except SegrtError as error:
            assert "layer 'layer'" in str(error)  # noqa: PT017


def test_inputs_that_a_layer_cannot_take():
    config, shapes = GOOD["Conv2D"]
    for inputs in ([(None, 4)], [(None, 8, 4)], [IMAGE, IMAGE]):
        with pytest.raises(ModelFileError, match="input"):
            convert("Conv2D", config, ones(shapes), inputs)
    for class_name in ("Conv1D", "Conv3D", "MaxPooling1D", "UpSampling3D"):
        config, shapes = GOOD.get(class_name, ({}, []))
        with pytest.raises(ModelFileError, match="input"):
            convert(class_name, config, ones(shapes), [IMAGE])
    with pytest.raises(ModelFileError, match="input"):
        convert("Add", {}, [], [IMAGE, (None, 7, 8, 4)])
    with pytest.raises(ModelFileError, match="input"):
        convert("Concatenate", {"axis": -1}, [], [IMAGE, (None, 7, 8, 4)])
    with pytest.raises(ModelFileError, match="input"):
        convert("Subtract", {}, [], [IMAGE, IMAGE, IMAGE])
    with pytest.raises(ModelFileError, match="input"):
        convert("MaxPooling2D", {"pool_size": 9}, [], [IMAGE])


@pytest.mark.parametrize("class_name", ["Dropout", "GaussianNoise", "BatchNormalization"])
def test_training_switched_on_in_the_call(class_name):
    weights = ones([(4,)] * 4) if class_name == "BatchNormalization" else []
    convert(class_name, {}, weights, [IMAGE], kwargs={"training": False})
    with pytest.raises(UnsupportedConfigError, match="training"):
        convert(class_name, {}, weights, [IMAGE], kwargs={"training": True})


@pytest.mark.parametrize(
    "spec",
    [
        "Custom>relu",
        "my_function",
        {"class_name": "function", "config": "relu", "registered_name": "Custom>relu"},
        {"class_name": "__lambda__", "config": {"value": "4wEA"}},
        {"class_name": "PReLU", "config": {}},
    ],
)
def test_activations_that_are_not_keras(spec):
    with pytest.raises(UnsupportedConfigError, match="activation"):
        convert("Activation", {"activation": spec}, [], [IMAGE])
