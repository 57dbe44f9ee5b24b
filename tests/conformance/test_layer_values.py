"""Layers that work value by value or move values around, against NumPy."""

import itertools

import numpy as np
import pytest
from scipy import special

from helpers import keras_math
from helpers.closeness import assert_close, assert_same_bits
from helpers.layer_calls import KERAS_2, KERAS_3, apply, convert
from segrt.errors import UnsupportedConfigError
from segrt.importers._layer_graph import KerasVersion

BOUND = 1e-6


def random(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


FUNCTIONS = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    "celu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "gelu": lambda x: x * special.ndtr(x),
    "silu": lambda x: x * sigmoid(x),
    "swish": lambda x: x * sigmoid(x),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "sigmoid": sigmoid,
    "log_sigmoid": lambda x: np.log(sigmoid(x)),
    "tanh": np.tanh,
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "tanh_shrink": lambda x: x - np.tanh(x),
    "hard_shrink": lambda x: np.where(np.abs(x) > 0.5, x, 0),
    "soft_shrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "squareplus": lambda x: (x + np.sqrt(x * x + 4)) / 2,
    "sparse_plus": lambda x: np.where(x < 1, np.maximum(x + 1, 0) ** 2 / 4, x),
    "sparse_sigmoid": lambda x: np.clip((x + 1) / 2, 0, 1),
    "exponential": np.exp,
    "softmax": lambda x: special.softmax(x, axis=-1),
    "log_softmax": lambda x: special.log_softmax(x, axis=-1),
}


@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (2, 4, 3), (2, 7)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_activation_functions(name, shape):
    x = random(*shape) * 3
    wanted = FUNCTIONS[name](x.astype(np.float64))
    assert_close(apply("Activation", {"activation": name}, [], x), wanted, BOUND)


def test_glu_gates_one_half_with_the_other():
    x = random(2, 5, 4, 6)
    wanted = x[..., :3] * sigmoid(x[..., 3:].astype(np.float64))
    assert_close(apply("Activation", {"activation": "glu"}, [], x), wanted, BOUND)
    with pytest.raises(UnsupportedConfigError, match="glu"):
        convert("Activation", {"activation": "glu"}, [], [(None, 5, 4, 3)])


@pytest.mark.parametrize(
    ("version", "slope"), [(KerasVersion(2, 2, 4), 0.2), (KERAS_2, 0.2), (KERAS_3, 1 / 6)]
)
def test_hard_sigmoid_is_that_of_the_saving_version(version, slope):
    x = random(2, 5, 4, 3) * 3
    wanted = np.clip(x.astype(np.float64) * slope + 0.5, 0, 1)
    for name, value in {"hard_sigmoid": wanted, "hard_silu": x * wanted}.items():
        found = apply("Activation", {"activation": name}, [], x, version=version)
        assert_close(found, value, BOUND)


@pytest.mark.parametrize(
    "spec",
    [
        {"class_name": "LeakyReLU", "config": {"negative_slope": 0.1}, "registered_name": None},
        {
            "class_name": "LeakyReLU",
            "config": {
                "alpha": {"class_name": "__numpy__", "config": {"value": 0.1, "dtype": "float32"}}
            },
        },
        {"class_name": "ReLU", "config": {"max_value": None, "negative_slope": 0.1}},
    ],
)
def test_a_layer_as_activation(spec):
    x, kernel = random(2, 5, 4, 3), random(1, 1, 3, 2)
    config = {"filters": 2, "kernel_size": 1, "use_bias": False, "activation": spec}
    inner = keras_math.conv(x, kernel)
    found = apply("Conv2D", config, [kernel], x)
    assert_close(found, np.where(inner > 0, inner, 0.1 * inner), BOUND)


def test_a_serialised_function_as_activation():
    x = random(2, 5, 4, 3)
    spec = {"class_name": "function", "config": "relu", "registered_name": "relu"}
    assert_same_bits(apply("Activation", {"activation": spec}, [], x), np.maximum(x, 0))


@pytest.mark.parametrize(
    ("limit", "slope", "threshold"),
    list(itertools.product((None, 1.5, 6.0), (0.0, 0.25), (0.0, 0.5, -0.5))),
)
def test_relu_layer(limit, slope, threshold):
    x = np.concatenate([random(2, 5, 4, 3) * 3, np.full((2, 5, 4, 1), 0.5, np.float32)], axis=-1)
    config = {"max_value": limit, "negative_slope": slope, "threshold": threshold}
    wanted = np.where(x > threshold, x, 0) if threshold else np.maximum(x, 0)
    wanted = wanted if limit is None else np.clip(wanted, 0, limit)
    wanted = wanted - slope * np.maximum(threshold - x.astype(np.float64), 0)
    assert_close(apply("ReLU", config, [], x), wanted, BOUND)


def test_other_activation_layers():
    x = random(2, 5, 4, 3)
    assert_close(apply("LeakyReLU", {}, [], x), np.where(x > 0, x, 0.3 * x), BOUND)
    elu = np.where(x > 0, x, 0.5 * np.expm1(x))
    assert_close(apply("ELU", {"alpha": 0.5}, [], x), elu, BOUND)
    assert_close(apply("ThresholdedReLU", {"theta": 0.4}, [], x), np.where(x > 0.4, x, 0), BOUND)


@pytest.mark.parametrize("axis", [-1, 1, 2, 3, [3], [1, 2], [-1, 1]])
def test_softmax_axes(axis):
    x = random(2, 5, 4, 3) * 5
    axes = tuple(axis) if isinstance(axis, list) else axis
    wanted = special.softmax(x.astype(np.float64), axis=axes)
    assert_close(apply("Softmax", {"axis": axis}, [], x), wanted, BOUND)


@pytest.mark.parametrize("shared", [None, [1, 2], [1], [1, 2, 3]])
def test_prelu(shared):
    x = random(2, 4, 4, 4)
    shape = [1 if axis in (shared or []) else 4 for axis in (1, 2, 3)]
    slope = random(*shape, seed=1)
    found = apply("PReLU", {"shared_axes": shared}, [slope], x)
    assert_close(found, np.where(x > 0, x, x * slope), BOUND)


@pytest.mark.parametrize(
    ("scale", "center"), [(True, True), (False, True), (True, False), (False, False)]
)
@pytest.mark.parametrize(
    ("axis", "shape"), [(-1, (2, 5, 4, 3)), ([3], (2, 5, 4, 3)), (1, (2, 5, 4, 3)), (-1, (2, 6))]
)
def test_batch_normalization(axis, shape, scale, center):
    x = random(*shape)
    at = axis[0] if isinstance(axis, list) else axis
    size = shape[at]
    gamma, beta, mean = (random(size, seed=seed) for seed in (1, 2, 3))
    variance = np.abs(random(size, seed=4)) + 0.1
    weights = [array for array, used in ((gamma, scale), (beta, center)) if used]
    config = {"axis": axis, "scale": scale, "center": center, "epsilon": 1e-3}
    along = [-1 if index == at % len(shape) else 1 for index in range(len(shape))]
    factor = (gamma if scale else 1) / np.sqrt(variance.astype(np.float64) + 1e-3)
    shift = (beta if center else 0) - mean * factor
    wanted = x * factor.reshape(along) + shift.reshape(along)
    found = apply("BatchNormalization", config, [*weights, mean, variance], x)
    assert_close(found, wanted, BOUND)


@pytest.mark.parametrize(
    ("version", "used"), [(KerasVersion(2, 2, 4), 1.001e-5), (KerasVersion(2, 12, 0), 1e-6)]
)
def test_small_epsilons_are_those_of_the_saving_version(version, used):
    x, variance = random(2, 5, 4, 3), np.full(3, 1e-4, np.float32)
    config = {"epsilon": 1e-6, "scale": False, "center": False}
    found = apply("BatchNormalization", config, [np.zeros(3), variance], x, version=version)
    assert_close(found, x / np.sqrt(1e-4 + used), BOUND)


@pytest.mark.parametrize("factors", [(2, 2), (3, 1), (1, 4), (5, 5)])
@pytest.mark.parametrize("unknown", [False, True])
def test_upsampling(factors, unknown):
    x = random(2, 4, 5, 3)
    nearest = x.repeat(factors[0], axis=1).repeat(factors[1], axis=2)
    config = {"size": list(factors)}
    assert_same_bits(apply("UpSampling2D", config, [], x, unknown=unknown), nearest)
    config = {"size": list(factors), "interpolation": "bilinear", "dtype": "float32"}
    wanted = keras_math.bilinear(x, factors, half_pixel=True)
    assert_close(apply("UpSampling2D", config, [], x, unknown=unknown), wanted, BOUND)


def test_bilinear_of_standalone_keras_is_asymmetric():
    x, config = random(2, 4, 5, 3), {"size": [2, 3], "interpolation": "bilinear"}
    found = apply("UpSampling2D", config, [], x, version=KerasVersion(2, 2, 4))
    assert_close(found, keras_math.bilinear(x, (2, 3), half_pixel=False), BOUND)


def test_bilinear_of_early_tf_keras_is_half_pixel_with_a_remark():
    x, config = random(2, 4, 5, 3), {"size": [2, 3], "interpolation": "bilinear"}
    version = KerasVersion(2, 2, 4, tensorflow=True)
    found = apply("UpSampling2D", config, [], x, version=version)
    assert_close(found, keras_math.bilinear(x, (2, 3), half_pixel=True), BOUND)
    remarks: list[str] = []
    convert("UpSampling2D", config, [], [(None, 4, 5, 3)], version=version, remarks=remarks)
    assert len(remarks) == 1
    assert "half-pixel" in remarks[0]


@pytest.mark.parametrize("unknown", [False, True])
def test_borders(unknown):
    x = random(2, 6, 7, 3)
    borders = {2: (2, 2, 2, 2), (1, 2): (1, 1, 2, 2), ((0, 1), (2, 0)): (0, 1, 2, 0), 0: (0,) * 4}
    for setting, (top, bottom, left, right) in borders.items():
        padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
        found = apply("ZeroPadding2D", {"padding": setting}, [], x, unknown=unknown)
        assert_same_bits(found, padded)
        cropped = x[:, top : 6 - bottom, left : 7 - right]
        found = apply("Cropping2D", {"cropping": setting}, [], x, unknown=unknown)
        assert_same_bits(found, cropped)


@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.parametrize("target", [(20, 3), (-1, 3), (-1,), (4, 15), (5, 2, 6), (2, 2, 5, 3)])
def test_reshape(target, unknown):
    x = random(2, 5, 4, 3)
    found = apply("Reshape", {"target_shape": list(target)}, [], x, unknown=unknown)
    assert_same_bits(found, x.reshape(2, *target))


@pytest.mark.parametrize("unknown", [False, True])
def test_flatten_and_permute(unknown):
    x = random(2, 5, 4, 3)
    assert_same_bits(apply("Flatten", {}, [], x, unknown=unknown), x.reshape(2, -1))
    found = apply("Flatten", {"data_format": "channels_first"}, [], x, unknown=unknown)
    assert_same_bits(found, x.transpose(0, 2, 3, 1).reshape(2, -1))
    for order in itertools.permutations((1, 2, 3)):
        found = apply("Permute", {"dims": list(order)}, [], x, unknown=unknown)
        assert_same_bits(found, x.transpose(0, *order))


@pytest.mark.parametrize("shape", [(2, 5), (2, 4, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("bias", [False, True])
def test_dense(shape, bias):
    x, kernel, offset = random(*shape), random(5, 6), random(6)
    config = {"units": 6, "use_bias": bias, "activation": "tanh"}
    wanted = np.tanh(x.astype(np.float64) @ kernel + (offset if bias else 0))
    assert_close(apply("Dense", config, [kernel, offset][: 1 + bias], x), wanted, BOUND)


@pytest.mark.parametrize("axis", [-1, 1, 2, 3, -3])
def test_concatenate(axis):
    x, y = random(2, 4, 4, 4), random(2, 4, 4, 4, seed=1)
    found = apply("Concatenate", {"axis": axis}, [], x, y)
    assert_same_bits(found, np.concatenate([x, y], axis=axis))


MERGES = {
    "Add": lambda xs: sum(xs[1:], xs[0]),
    "Multiply": lambda xs: np.prod(np.broadcast_arrays(*xs), axis=0),
    "Average": lambda xs: sum(xs[1:], xs[0]) / len(xs),
    "Maximum": lambda xs: np.max(np.broadcast_arrays(*xs), axis=0),
    "Minimum": lambda xs: np.min(np.broadcast_arrays(*xs), axis=0),
}


@pytest.mark.parametrize(
    "shapes",
    [
        [(2, 4, 4, 4), (2, 4, 4, 4), (2, 4, 4, 4)],
        [(2, 4, 4, 4), (2, 1, 1, 4)],
        [(2, 4), (2, 4, 4, 4)],
        [(2, 4, 4, 4), (2, 4, 4)],
        [(2, 4, 1, 4), (2, 1, 4, 4)],
        [(2, 4, 4), (2, 4)],
    ],
)
@pytest.mark.parametrize("name", [*MERGES, "Subtract"])
def test_merge(name, shapes):
    arrays = [random(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    rank = max(len(shape) for shape in shapes)
    aligned = [
        x.reshape(x.shape[0], *[1] * (rank - x.ndim), *x.shape[1:]).astype(np.float64)
        for x in arrays
    ]
    if name == "Subtract":
        arrays = arrays[:2]
        wanted = aligned[0] - aligned[1]
    else:
        wanted = MERGES[name](aligned)
    assert_close(apply(name, {}, [], *arrays), wanted, BOUND)


@pytest.mark.parametrize("keepdims", [False, True])
def test_global_pools(keepdims):
    x, config = random(2, 5, 4, 3), {"keepdims": keepdims}
    mean, largest = x.mean(axis=(1, 2), keepdims=keepdims), x.max(axis=(1, 2), keepdims=keepdims)
    assert_close(apply("GlobalAveragePooling2D", config, [], x), mean, BOUND)
    assert_same_bits(apply("GlobalMaxPooling2D", config, [], x), largest)


@pytest.mark.parametrize("name", ["Dropout", "SpatialDropout2D", "GaussianNoise", "Identity"])
def test_layers_of_training_only(name):
    x = random(2, 5, 4, 3)
    assert_same_bits(apply(name, {"rate": 0.5}, [], x), x)


@pytest.mark.parametrize("scale", [2.0, [0.5, 1.0, 2.0]])
@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (2, 3)])
def test_rescaling(scale, shape):
    x = random(*shape)
    found = apply("Rescaling", {"scale": scale, "offset": [1.0, 2.0, 3.0]}, [], x)
    assert_close(found, x * np.array(scale) + [1.0, 2.0, 3.0], BOUND)


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("axis", [-1, [3], 1, [1, 3], None])
@pytest.mark.parametrize("configured", [False, True])
def test_normalization(axis, invert, configured):
    x = random(2, 5, 4, 3)
    axes = [] if axis is None else [a % 4 for a in (axis if isinstance(axis, list) else [axis])]
    sizes = [x.shape[a] for a in axes]
    mean, variance = random(*sizes), np.abs(random(*sizes, seed=1)) + 0.1
    config = {"axis": axis, "invert": invert}
    weights = [mean, variance, np.float32(0)]
    if configured:
        config |= {"mean": mean.tolist(), "variance": variance.tolist()}
        weights = []
    shape = [x.shape[a] if a in axes else 1 for a in range(4)]
    center = np.reshape(mean, shape).astype(np.float64)
    spread = np.sqrt(np.reshape(variance, shape).astype(np.float64))
    wanted = center + x * spread if invert else (x - center) / spread
    assert_close(apply("Normalization", config, weights, x), wanted, BOUND)
