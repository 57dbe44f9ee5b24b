"""What nodes ask for, tried out with NumPy against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from helpers.closeness import assert_close
from helpers.tensorrt_graphs import one_node
from segrt.errors import UnsupportedLayerError
from segrt.measurement.reading.prepare import prepare
from segrt.measurement.reading.resampling import read_resampling
from segrt.measurement.reading.slices import read_pads, read_slices
from segrt.measurement.reading.step import Step
from segrt.measurement.reading.windows import ceiling_pads, read_transposed, read_window, tap_counts
from segrt.targets._engine import serialize

SHAPE = (2, 3, 7, 9)
X = np.random.default_rng(2).normal(0, 1, SHAPE).astype(np.float32)


def built(fill):
    model = one_node(fill, SHAPE)
    session = onnxruntime.InferenceSession(serialize(model), providers=["CPUExecutionProvider"])
    return Step(next(iter(reversed(list(model.graph))))), session.run(None, {"x": X})[0]


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("rule", ["half_pixel", "asymmetric", "align_corners"])
@pytest.mark.parametrize("sizes", [(14, 27), (5, 13)])
def test_taps_resize(mode, rule, sizes):
    def fill(b, x):
        wanted = b.constant("sizes", np.array([*SHAPE[:2], *sizes]))
        return b.op("Resize", [x, None, None, wanted], name="y", mode=mode,
                    coordinate_transformation_mode=rule, nearest_mode="floor")  # fmt: skip

    step, wanted = built(fill)
    found = X.astype(np.float64)
    for axis in read_resampling(step).axes:
        shape = [1] * 4
        shape[axis.axis] = -1
        assert np.allclose(axis.weights.sum(axis=0), 1)
        found = sum(
            found.take(i, axis.axis) * w.reshape(shape)
            for i, w in zip(axis.indices, axis.weights, strict=True)
        )
    assert_close(found, wanted, 2e-6)


def test_antialiased_resizing_is_refused():
    def fill(b, x):
        wanted = b.constant("sizes", np.array([*SHAPE[:2], 4, 4]))
        return b.op("Resize", [x, None, None, wanted], name="y", mode="linear", antialias=1)

    with pytest.raises(UnsupportedLayerError, match="antialias"):
        read_resampling(built(fill)[0])


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [([1], [5], [2], [1]), ([-3, 0], [-1, 100], [3, 2], [1, 2]), ([-1], [-100], [3], [-1]),
     ([5], [1], [2], [-2]), ([100], [-(2**62)], [3], [-3])],
)  # fmt: skip
def test_slices(starts, ends, axes, steps):
    def fill(b, x):
        rest = [b.constant(n, np.array(v)) for n, v in
                (("s", starts), ("e", ends), ("a", axes), ("t", steps))]  # fmt: skip
        return b.op("Slice", [x, *rest], name="y")

    step, wanted = built(fill)
    np.testing.assert_array_equal(X[tuple(read_slices(step))], wanted)


def test_pads_of_some_axes():
    def fill(b, x):
        pads, axes = b.constant("p", np.array([1, 2, 3, 4])), b.constant("a", np.array([3, -2]))
        return b.op("Pad", [x, pads, b.constant("v", np.float32(0)), axes], name="y")

    step, wanted = built(fill)
    np.testing.assert_array_equal(np.pad(X, read_pads(step)), wanted)


@pytest.mark.parametrize("rule", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("strides", [[1, 1], [2, 3]])
def test_windows_give_the_size_that_onnx_says(rule, strides):
    def fill(b, x):
        return b.op("MaxPool", [x], name="y", kernel_shape=[2, 3], strides=strides, auto_pad=rule)

    step, wanted = built(fill)
    window = read_window(step, ())
    sizes = [
        (size + low + high - k) // stride + 1
        for size, (low, high), k, stride in zip(
            SHAPE[2:], window.pads, window.kernel, window.strides, strict=True
        )
    ]
    assert tuple(sizes) == wanted.shape[2:]
    odd = [high - low for low, high in window.pads]
    assert all(d >= 0 for d in odd) if rule == "SAME_UPPER" else all(d <= 0 for d in odd)


@pytest.mark.parametrize("settings", [
    {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1]},
    {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1},
    {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2], "count_include_pad": 1},
])  # fmt: skip
def test_averages_are_sums_over_counts(settings):
    step, wanted = built(lambda b, x: b.op("AveragePool", [x], name="y", **settings))
    asked = read_window(step, ())
    window = ceiling_pads(step, asked)
    padded = np.pad(X.astype(np.float64), [(0, 0), (0, 0), *window.pads])
    windows = np.lib.stride_tricks.sliding_window_view(padded, window.kernel, (2, 3))
    sums = windows[:, :, :: window.strides[0], :: window.strides[1]].sum(axis=(-1, -2))
    sums = sums[:, :, : wanted.shape[2], : wanted.shape[3]]
    assert_close(sums / tap_counts(step, asked), wanted, 1e-6)


@pytest.mark.parametrize("settings", [
    {"strides": [2, 2], "pads": [1, 0, 0, 1]}, {"strides": [3, 2], "output_padding": [1, 1]},
    {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, {"dilations": [2, 1]},
])  # fmt: skip
def test_what_a_transposed_convolution_cuts_off(settings):
    kernel = np.random.default_rng(1).normal(0, 1, (3, 2, 3, 2)).astype(np.float32)

    def fill(b, x):
        return b.op("ConvTranspose", [x, b.constant("k", kernel)], name="y", **settings)

    step, wanted = built(fill)
    window = read_transposed(step)
    (sh, sw), (dh, dw) = window.strides, window.dilations
    full = np.zeros((2, 2, 6 * sh + 2 * dh + 1, 8 * sw + dw + 1))
    for y, x, i, j in np.ndindex(7, 9, 3, 2):
        full[:, :, y * sh + i * dh, x * sw + j * dw] += X[:, :, y, x] @ kernel[:, :, i, j]
    (top, bottom), (left, right) = window.pads
    full = np.pad(full, [(0, 0), (0, 0), (0, max(0, -bottom)), (0, max(0, -right))])
    found = full[:, :, top:, left:][:, :, : wanted.shape[2], : wanted.shape[3]]
    assert_close(found, wanted, 1e-6)


def test_sizes_that_the_graph_computes_become_constants():
    def fill(b, x):
        shape = b.op("Shape", [x], name="shape")
        two = b.op("Mul", [shape, b.constant("two", np.array([1, 1, 2, 1]))], name="longer")
        return b.op("Expand", [b.constant("one", np.ones((1, 1, 1, 1), "f4")), two], name="y")

    model = one_node(fill, SHAPE)
    prepared = prepare(model)
    # Small enough to be computed at once, or left as an Expand of a constant shape.
    for node in prepared.graph:
        assert node.op_type in ("Expand", "Identity")
    assert len(model.graph) == 3
