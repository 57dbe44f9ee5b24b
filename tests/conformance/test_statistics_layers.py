"""Normalizations by a sample's own statistics, against NumPy."""

import numpy as np
import pytest

from helpers.closeness import assert_close
from helpers.layer_calls import KERAS_2, KERAS_3, apply, convert, run_openvino
from segrt.errors import SegrtError
from segrt.importers._layer_graph import KerasVersion

BOUND = 2e-6


def random(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def normalized(x, axes, epsilon=1e-3):
    x = x.astype(np.float64)
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon)


def along(x, axes, array):
    """Reshape to what broadcasts against ``x`` from ``axes``, ascending."""
    return array.reshape([x.shape[axis] if axis in axes else 1 for axis in range(x.ndim)])


@pytest.mark.parametrize("shape", [(2, 4, 5, 3), (2, 4, 3)])
@pytest.mark.parametrize("axis", [-1, [-1], 1, [1, 2], [2, 1], "all"])
@pytest.mark.parametrize(("center", "scale"), [(True, True), (False, True), (True, False)])
def test_layer_normalization(shape, axis, center, scale):
    x = random(*shape)
    axis = list(range(1, x.ndim)) if axis == "all" else axis
    axes = tuple(sorted(a % x.ndim for a in (axis if isinstance(axis, list) else [axis])))
    sizes = [shape[a] for a in axes]
    gamma, beta = random(*sizes, seed=1), random(*sizes, seed=2)
    weights = [gamma] * scale + [beta] * center
    wanted = normalized(x, axes) * (along(x, axes, gamma) if scale else 1)
    wanted = wanted + (along(x, axes, beta) if center else 0)
    config = {"axis": axis, "center": center, "scale": scale}
    assert_close(apply("LayerNormalization", config, weights, x), wanted, BOUND)


def test_layer_normalization_without_its_weights_and_on_openvino():
    x = random(2, 4, 5, 3)
    config = {"center": False, "scale": False, "epsilon": 1e-6}
    wanted = normalized(x, -1, 1e-6)
    assert_close(apply("LayerNormalization", config, [], x), wanted, BOUND)
    assert_close(apply("LayerNormalization", config, [], x, run=run_openvino), wanted, BOUND)
    sequence = random(2, 6, 4)
    wanted = normalized(sequence, -1, 1e-6)
    assert_close(apply("LayerNormalization", config, [], sequence, unknown=True), wanted, BOUND)


def test_rms_scaling_divides_by_the_deviation_and_subtracts_nothing():
    x, gamma = random(2, 4, 5, 3), random(3, seed=1)
    config = {"axis": -1, "rms_scaling": True, "epsilon": 1e-3}
    wanted = x / np.sqrt(x.astype(np.float64).var(-1, keepdims=True) + 1e-3) * gamma
    found = apply("LayerNormalization", config, [gamma], x, version=KERAS_3)
    assert_close(found, wanted, BOUND)


@pytest.mark.parametrize("shape", [(2, 4, 5, 6), (2, 5, 6), (2, 6)])
@pytest.mark.parametrize("groups", [1, 2, 3, 6, -1])
def test_group_normalization(shape, groups):
    x, gamma, beta = random(*shape), random(6, seed=1), random(6, seed=2)
    count = 6 if groups == -1 else groups
    split = x.reshape(*shape[:-1], count, 6 // count)
    axes = (*range(1, x.ndim - 1), x.ndim)
    wanted = normalized(split, axes).reshape(shape) * gamma + beta
    found = apply("GroupNormalization", {"groups": groups}, [gamma, beta], x)
    assert_close(found, wanted, BOUND)


def test_group_normalization_of_unknown_size_and_over_another_axis():
    x, gamma, beta = random(2, 4, 5, 6), random(6, seed=1), random(6, seed=2)
    wanted = normalized(x.reshape(2, 4, 5, 3, 2), (1, 2, 4)).reshape(x.shape) * gamma + beta
    found = apply("GroupNormalization", {"groups": 3}, [gamma, beta], x, unknown=True)
    assert_close(found, wanted, BOUND)
    gamma, beta = gamma[:4], beta[:4]
    wanted = normalized(x.reshape(2, 2, 2, 5, 6), (2, 3, 4)).reshape(x.shape)
    wanted = wanted * along(x, [1], gamma) + along(x, [1], beta)
    found = apply("GroupNormalization", {"groups": 2, "axis": 1}, [gamma, beta], x)
    assert_close(found, wanted, BOUND)


@pytest.mark.parametrize("axis", [-1, [2, 3]])
def test_rms_normalization(axis):
    x = random(2, 4, 5, 3)
    axes = (3,) if axis == -1 else (2, 3)
    scale = random(*[x.shape[a] for a in axes], seed=1)
    mean = (x.astype(np.float64) ** 2).mean(axes, keepdims=True)
    wanted = x / np.sqrt(mean + 1e-2) * scale
    found = apply("RMSNormalization", {"axis": axis, "epsilon": 1e-2}, [scale], x)
    assert_close(found, wanted, BOUND)


@pytest.mark.parametrize(
    ("version", "smallest"),
    [(KERAS_2, 1e-6), (KerasVersion(3, 0, 5), 1e-7), (KerasVersion(3, 9, 0), 1e-12)],
)
@pytest.mark.parametrize("axis", [-1, [1, 2]])
def test_unit_normalization_divides_by_no_norm_below_that_of_the_version(version, smallest, axis):
    axes = (3,) if axis == -1 else (1, 2)
    for x in (random(2, 4, 5, 3), random(2, 4, 5, 3) * np.float32(1e-8)):
        norm = np.sqrt((x.astype(np.float64) ** 2).sum(axes, keepdims=True))
        wanted = x / np.maximum(norm, smallest)
        found = apply("UnitNormalization", {"axis": axis}, [], x, version=version)
        assert_close(found, wanted, BOUND)


@pytest.mark.parametrize("renorm", [False, True])
def test_batch_normalization_with_renorm_is_the_same_at_inference(renorm):
    x = random(2, 4, 5, 3)
    mean, variance = random(3, seed=1), np.abs(random(3, seed=2)) + 0.5
    config = {"scale": False, "center": False, "renorm": renorm}
    weights = [mean, variance] + [random(3, seed=3), random(3, seed=4)] * renorm
    wanted = (x - mean.astype(np.float64)) / np.sqrt(variance + 1e-3)
    assert_close(apply("BatchNormalization", config, weights, x), wanted, BOUND)


@pytest.mark.parametrize(
    ("class_name", "config", "sizes"),
    [
        ("LayerNormalization", {"axis": 4}, [3, 3]),
        ("LayerNormalization", {"axis": [3, -1]}, [3, 3]),
        ("LayerNormalization", {"axis": -1}, [4, 4]),
        ("LayerNormalization", {"epsilon": -1.0}, [3, 3]),
        ("GroupNormalization", {"groups": 2}, [3, 3]),
        ("GroupNormalization", {"groups": 0}, [3, 3]),
        ("GroupNormalization", {"groups": 3, "axis": 0}, [3, 3]),
        ("RMSNormalization", {"axis": 1}, [8]),
        ("UnitNormalization", {"axis": None}, []),
    ],
)
def test_settings_that_do_not_fit_are_refused(class_name, config, sizes):
    weights = [np.ones(size, np.float32) for size in sizes]
    with pytest.raises(SegrtError, match="layer 'layer'"):
        convert(class_name, config, weights, [(None, 8, 8, 3)])
