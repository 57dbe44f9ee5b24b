"""Known custom layers and Lambda forms that no golden holds, against NumPy definitions."""

import math

import numpy as np
import onnx_ir as ir
import pytest

import segrt
from helpers import keras_files as kf
from helpers.layer_calls import run_onnxruntime
from segrt.errors import UsageError
from segrt.graph import metadata

IMAGE = np.random.default_rng(11).normal(size=(2, 4, 6, 3)).astype(np.float32)
GAMMA = np.array([0.5, -2.0, 1.5], np.float32)
BETA = np.array([0.1, 0.2, -0.3], np.float32)


def apply(tmp_path, class_name, config, weights, *, inputs=("x0",), arrays=(IMAGE,), **options):
    """Write a model of one layer, import it and run it."""
    layers = [
        kf.input_layer(name, shape=(None, *array.shape[1:]))
        for name, array in zip(inputs, arrays, strict=True)
    ]
    layers.append(kf.layer(class_name, "own", config, inputs))
    path = kf.write_h5(
        tmp_path / "m.h5",
        config=kf.model_config(layers, inputs=inputs, outputs=("own",)),
        weights={"own": {f"own/{name}:0": array for name, array in weights.items()}},
    )
    loaded = segrt.load(path, **options)
    return run_onnxruntime(ir.to_proto(loaded), arrays), loaded


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    ("class_name", "config"),
    [
        ("DropPath", {"rate": 0.2, "seed": None}),
        ("DropPath", {"drop_prob": 0.2}),
        ("DropBlock2D", {"rate": 0.1, "block_size": 3}),
        ("Addons>StochasticDepth", {"drop_path_rate": 0.5}),
    ],
)
def test_nothing_at_inference(tmp_path, class_name, config):
    result, loaded = apply(tmp_path, class_name, config, {})
    np.testing.assert_array_equal(result, IMAGE)
    assert any("verify against a recording" in text for text in metadata.remarks(loaded))


def test_scaled_residual_sum(tmp_path):
    arrays = (IMAGE, np.cos(IMAGE))
    result, _ = apply(
        tmp_path, "CustomScaleLayer", {"scale": 0.17}, {}, inputs=("x0", "x1"), arrays=arrays
    )
    np.testing.assert_allclose(result, arrays[0] + 0.17 * arrays[1], rtol=1e-6, atol=1e-6)


def test_scale(tmp_path):
    weights = {"gamma": GAMMA, "beta": BETA}
    result, _ = apply(tmp_path, "Scale", {"momentum": 0.9, "axis": -1}, weights)
    np.testing.assert_allclose(result, IMAGE * GAMMA + BETA, rtol=1e-6, atol=1e-6)


def test_stochastic_depth_of_keras_cv(tmp_path):
    result, _ = apply(
        tmp_path,
        "StochasticDepth",
        {"rate": 0.25},
        {},
        inputs=("x0", "x1"),
        arrays=(IMAGE, IMAGE**2),
    )
    np.testing.assert_allclose(result, IMAGE + 0.75 * IMAGE**2, rtol=1e-6, atol=1e-6)


def test_squeeze_and_excite(tmp_path):
    draw = np.random.default_rng(2).normal
    weights = {
        "conv2d/kernel": draw(size=(1, 1, 3, 2)), "conv2d/bias": draw(size=2),
        "conv2d_1/kernel": draw(size=(1, 1, 2, 3)), "conv2d_1/bias": draw(size=3),
    }  # fmt: skip
    config = {
        "filters": 3, "bottleneck_filters": 2, "squeeze_activation": "relu",
        "excite_activation": "sigmoid",
    }  # fmt: skip
    result, _ = apply(tmp_path, "SqueezeAndExcite2D", config, weights)
    squeeze, bias, excite, shift = weights.values()
    hidden = np.maximum(IMAGE.mean((1, 2)) @ squeeze[0, 0] + bias, 0)
    wanted = IMAGE * sigmoid(hidden @ excite[0, 0] + shift)[:, None, None]
    np.testing.assert_allclose(result, wanted, rtol=1e-5, atol=1e-6)


def test_weight_norm_before_its_first_call_is_the_kernel(tmp_path):
    kernel = np.random.default_rng(5).normal(size=(3, 2)).astype(np.float32)
    config = {
        "layer": {"class_name": "Dense", "config": {"units": 2, "use_bias": False}},
        "data_init": False,
    }
    weights = {"g": np.ones(2, np.float32), "kernel": kernel, "initialized": np.array(False)}
    result, _ = apply(tmp_path, "Addons>WeightNormalization", config, weights)
    np.testing.assert_allclose(result, IMAGE @ kernel, rtol=1e-5, atol=1e-6)


def test_mirrored_borders_of_unlike_meaning_are_refused(tmp_path):
    with pytest.raises(segrt.SegrtError, match="the same for rows and columns"):
        apply(tmp_path, "ReflectionPadding2D", {"padding": [1, 2]}, {})


@pytest.mark.parametrize(
    ("activation", "wanted"),
    [
        (
            "Addons>gelu",
            lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        ),
        ("Addons>lisht", lambda x: x * np.tanh(x)),
        ("Custom>hard_swish", lambda x: x * np.clip(x + 3, 0, 6) / 6),
        ("hard_swish", lambda x: x * np.clip(x + 3, 0, 6) / 6),
        ("swish_fn", lambda x: x * sigmoid(x)),
        ("relu_6", lambda x: np.clip(x, 0, 6)),
    ],
)
def test_custom_activations(tmp_path, activation, wanted):
    for saved in (activation, {"class_name": "function", "config": activation}):
        result, _ = apply(tmp_path, "Activation", {"activation": saved}, {})
        np.testing.assert_allclose(result, wanted(IMAGE), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("form", "wanted"),
    [
        ("reduce_min:axes=-1", lambda x: x.min(-1)),
        ("reduce_sum:axes=1/2", lambda x: x.sum((1, 2))),
        ("leaky_relu:alpha=0.1", lambda x: np.where(x > 0, x, 0.1 * x)),
        ("gelu", lambda x: x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))),
        ("elu", lambda x: np.where(x > 0, x, np.expm1(x))),
        ("mish", lambda x: x * np.tanh(np.log1p(np.exp(x)))),
        ("softsign", lambda x: x / (1 + np.abs(x))),
        ("slice:axis=2,start=1,stop=-1", lambda x: x[:, :, 1:-1]),
        ("scale:mul=1/4", lambda x: x / 4),
        ("expand_dims:axis=1/-1", lambda x: x[:, None, ..., None]),
        ("repeat:repnum=3", lambda x: x.repeat(3, -1)),
        ("repeat:repnum=2,axis=1", lambda x: x.repeat(2, 1)),
    ],
)
def test_lambda_forms(tmp_path, form, wanted):
    result, _ = apply(tmp_path, "Lambda", {}, {}, lambdas={"own": form})
    np.testing.assert_allclose(result, wanted(IMAGE.astype(np.float64)), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("form", "arguments", "wanted"),
    [
        ("slice", {"start": 1, "stop": 3, "axis": 2}, IMAGE[:, :, 1:3]),
        ("slice:start=2", {"start": 1, "stop": 3, "axis": 2}, IMAGE[:, :, 2:3]),
        ("slice:start=1", {"size": 4, "stop": None}, IMAGE[..., 1:]),
        ("repeat", {"repnum": 2}, IMAGE.repeat(2, -1)),
        ("transpose", {"perm": [0, 2, 1, 3]}, IMAGE.swapaxes(1, 2)),
    ],
)
def test_settings_left_out_are_the_files_arguments(tmp_path, form, arguments, wanted):
    result, loaded = apply(tmp_path, "Lambda", {"arguments": arguments}, {}, lambdas={"own": form})
    np.testing.assert_array_equal(result, wanted)
    told = any("from the file's arguments" in text for text in metadata.remarks(loaded))
    assert told == (form != "slice:start=1")


def test_a_saved_argument_that_is_no_setting_is_told(tmp_path):
    with pytest.raises(segrt.SegrtError, match="saved argument start"):
        apply(tmp_path, "Lambda", {"arguments": {"start": "all"}}, {}, lambdas={"own": "slice"})


def test_a_resize_takes_the_second_inputs_size(tmp_path):
    small = IMAGE[:, ::2, ::3]
    result, _ = apply(
        tmp_path, "Lambda", {}, {}, inputs=("x0", "x1"), arrays=(small, IMAGE),
        lambdas={"own": "resize_nearest"},
    )  # fmt: skip
    np.testing.assert_array_equal(result, small.repeat(2, 1).repeat(3, 2))


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("resize_bilinaer:size=4x4", "no Lambda form is called"),
        ("resize_bilinear:sice=4x4", "has no setting 'sice=4x4'"),
        ("resize_bilinear:size=4xx", "cannot be read"),
        ("depth_to_space", "lacks block"),
        ("resize_bilinear:half_pixel=true,align_corners=true,size=3", "contradict each other"),
    ],
)
def test_forms_that_cannot_be_read(tmp_path, form, text):
    with pytest.raises(UsageError, match=text):
        apply(tmp_path, "Lambda", {}, {}, lambdas={"own": form})
