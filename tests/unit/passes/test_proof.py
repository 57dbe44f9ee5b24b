"""The tools of certificates reject what they must reject, and agree with ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from _graphs import Net, run
from hypothesis import given, settings
from hypothesis import strategies as st

from segrt.errors import PassError
from segrt.passes._evaluate import evaluate
from segrt.passes._proof import noise, prove, ramp, relative_l2


def test_relative_l2_rejects_wrong_arrays():
    right = noise((2, 3, 4, 5))
    assert relative_l2(right, right) == 0.0
    wrong_channel = right.copy()
    wrong_channel[:, 1] *= -1
    holed = right.copy()
    holed[0, 0, 0, 0] = np.nan
    for wrong in (right * 2, np.roll(right, 1, 3), right.swapaxes(2, 3), wrong_channel, holed):
        assert relative_l2(wrong, right) > 0.1
    assert relative_l2(holed, holed) == float("inf")
    assert relative_l2(right, np.zeros_like(right)) == float("inf")
    assert relative_l2(np.float32([np.inf, 1]), np.float32([np.inf, 1])) == 0.0
    assert relative_l2(np.float32([np.inf]), np.float32([-np.inf])) == float("inf")


def test_prove_raises_for_the_smallest_difference_of_bit_equal():
    net = Net()
    x = net.image(1)
    same = net.op("Identity", [x], name="same")
    other = net.op("Add", [x, net.constant("tiny", np.float32(1e-3))], name="other")
    feeds = {x: ramp((1, 1, 2, 2))}
    assert prove(x, same, feeds, claim="bit-equal", what="ramp").error == 0.0
    for claim in ("bit-equal", "up to rounding"):
        with pytest.raises(PassError, match="certificate"):
            prove(x, other, feeds, claim=claim, what="ramp")


def compare(net, value, shape):
    x = noise(shape)
    model = net.model(value)
    wanted = run(model, x)[value.name]
    for wide in (False, True):
        found = evaluate(value, {model.graph.inputs[0]: x}, wide=wide)
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    group=st.sampled_from([1, 2, 4]),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    steps=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    spread=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    transposed=st.booleans(),
)
def test_own_convolutions_agree_with_onnx_runtime(group, kernel, steps, spread, pads, transposed):
    net = Net()
    x = net.image(4)
    attributes = {"group": group, "strides": steps, "dilations": spread}
    if transposed:
        pads = tuple(
            min(p, d * (k - 1)) for p, k, d in zip(pads, kernel * 2, spread * 2, strict=True)
        )
        weight = net.constant("k", net.normal((4, 3, *kernel)))
        inputs = [x, weight, net.constant("b", net.normal(3 * group))]
        y = net.op("ConvTranspose", inputs, name="y", pads=pads, **attributes)
        if any(isinstance(s, int) and s < 1 for s in y.shape):
            return
    else:
        y = net.conv(x, 8, kernel, pads, name="y", **attributes)
    compare(net, y, (2, 4, 6, 5))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("coordinates", ["asymmetric", "half_pixel", "tf_half_pixel_for_nn"])
@pytest.mark.parametrize("rounding", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
def test_own_resize_agrees_with_onnx_runtime(mode, coordinates, rounding):
    if mode == "linear" and (coordinates.startswith("tf") or rounding != "floor"):
        pytest.skip("rounding and tf_half_pixel_for_nn are of nearest only")
    net = Net()
    attributes = {"coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
    compare(net, net.up(net.image(2), 3, 2, mode=mode, **attributes), (1, 2, 6, 5))


def test_other_own_operators_agree_with_onnx_runtime():
    net = Net()
    x = net.image(8)
    y = net.op("DepthToSpace", [net.batch_norm(x)], name="d", blocksize=2, mode="CRD")
    y = net.op("Relu", [net.op("Transpose", [y], name="t", perm=(0, 2, 1, 3))], name="r")
    y = net.op("Unsqueeze", [y, net.constant("a", np.int64([2]))], name="u")
    y = net.op("Expand", [y, net.constant("e", np.int64([1, 1, 3, 1, 1]))], name="e")
    y = net.op("Reshape", [y, net.constant("s", np.int64([0, -1, 2, 10]))], name="y")
    compare(net, y, (1, 8, 6, 5))


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ([0, 1], [1 << 62, -1], [2, 3], [2, 2]),
        ([-4, -99], [99, 3], [-1, 1], [1, 3]),
        ([5], [2], [3], None),
        ([0, 1, 2], [1, 7, 5], None, None),
        ([4, -1], [0, -99], [3, 2], [-1, -2]),
    ],
)
def test_slices_agree_with_onnx_runtime(starts, ends, axes, steps):
    net = Net()
    x = net.image(8)
    bounds = [
        None if numbers is None else net.constant(name, np.int64(numbers))
        for name, numbers in (("from", starts), ("to", ends), ("axes", axes), ("steps", steps))
    ]
    compare(net, net.op("Slice", [x, *bounds], name="y"), (2, 8, 6, 5))


def test_maxima_agree_with_onnx_runtime():
    net = Net()
    x = net.image(3)
    others = [net.constant("row", net.normal((3, 1, 5))), net.constant("one", net.normal(()))]
    compare(net, net.op("Max", [x, *others], name="y"), (2, 3, 6, 5))
    alone = Net()
    compare(alone, alone.op("Max", [alone.image(3)], name="y"), (2, 3, 6, 5))


def test_a_value_without_a_beginning_is_an_error():
    net = Net()
    y = net.op("Relu", [net.image(2)], name="y")
    with pytest.raises(PassError, match="has no value"):
        evaluate(y, {}, wide=False)
    node = ir.Node("", "Reshape", y.producer().inputs[0:1])
    assert node.op_type == "Reshape"
