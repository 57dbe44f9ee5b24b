"""Repetition spelled by other operators becomes one Resize; what only looks like it stays."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest
from _graphs import Net
from _graphs import run as run_all

from segrt.graph import metadata
from segrt.passes._base import PassContext
from segrt.passes.restore_ones import RestoreOnes
from segrt.passes.restore_repeats import RestoreRepeats

SIZES = {"free": (None, None), "fixed": (6, 5)}


def run(model: ir.Model, x: np.ndarray) -> np.ndarray:
    return next(iter(run_all(model, x).values()))


def model_of(net: Net, output: ir.Value) -> ir.Model:
    for node in net.graph:
        metadata.tag_node(node, "up", node.op_type)
    metadata.tag_value(output, "up", None)
    net.graph.outputs.append(output)
    return ir.Model(net.graph, ir_version=10)


def tiled(net: Net, x: ir.Value, axis: int, times: int) -> ir.Value:
    """Repeat along an axis as Keras 3 exports it: insert, tile, merge."""
    rank = 4
    shape = net.op("Shape", [x], name="shape")
    parts = []
    for index in range(rank):
        part = net.op("Gather", [shape, net.constant("i", np.int64([index]))], name="part")
        if index == axis:
            part = net.op("Mul", [part, net.constant("n", np.int64([times]))], name="larger")
        parts.append(part)
    target = net.op("Concat", parts, name="target", axis=0)
    inserted = net.op("Unsqueeze", [x, net.constant("a", np.int64([axis + 1]))], name="insert")
    counts = np.ones(rank + 1, dtype=np.int64)
    counts[axis + 1] = times
    repeated = net.op("Tile", [inserted, net.constant("c", counts)], name="tile")
    return net.op("Reshape", [repeated, target], name="merge")


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(("axes", "last"), [((2, 3), False), ((1, 2), True)])
def test_tiled_pixels_become_one_resize(sizes, axes, last):
    net = Net()
    x = net.image(3, *SIZES[sizes])
    start = net.op("Relu", [x], name="relu")
    if last:
        start = net.transpose(start, (0, 2, 3, 1), name="nhwc")
    value = tiled(net, tiled(net, start, axes[0], 2), axes[1], 3)
    if last:
        value = net.transpose(value, (0, 3, 1, 2), name="nchw")
    model = model_of(net, value)
    feed = np.random.default_rng(0).normal(size=(2, 3, 6, 5)).astype(np.float32)
    before = run(model, feed)
    (verdict,) = RestoreRepeats()(model, PassContext())
    assert verdict.applied
    assert verdict.certificate.claim == "bit-equal"
    assert verdict.certificate.error == 0.0
    kinds = Counter(node.op_type for node in model.graph)
    assert kinds == {"Relu": 1, "Resize": 1}
    np.testing.assert_array_equal(run(model, feed), before)
    np.testing.assert_array_equal(before, np.maximum(feed, 0).repeat(2, axis=2).repeat(3, axis=3))


def test_expanded_pixels_become_one_resize():
    net = Net()
    x = net.op("Relu", [net.image(2, 4, 3)], name="relu")
    axes = net.constant("axes", np.int64([3, 5]))
    value = net.op("Unsqueeze", [x, axes], name="insert")
    shape = net.constant("shape", np.int64([1, 1, 1, 2, 1, 2]))
    value = net.op("Expand", [value, shape], name="expand")
    value = net.op("Reshape", [value, net.constant("t", np.int64([-1, 2, 8, 6]))], name="merge")
    model = model_of(net, value)
    (verdict,) = RestoreRepeats()(model, PassContext())
    assert verdict.applied
    assert [node.op_type for node in model.graph] == ["Relu", "Resize"]


def test_gathered_pixels_become_one_resize():
    """An index that repeats each row, as ``repeat_interleave`` of a fixed size is exported."""
    net = Net()
    x = net.op("Relu", [net.image(2, 4, 3)], name="relu")
    rows = net.constant("rows", np.int64([0, 0, 1, 1, 2, 2, 3, 3]))
    columns = net.constant("columns", np.int64([0, 0, 1, 1, 2, 2]))
    value = net.op("Gather", [x, rows], name="rows_", axis=2)
    value = net.op("Gather", [value, columns], name="columns_", axis=3)
    model = model_of(net, value)
    verdicts = RestoreRepeats()(model, PassContext())
    assert [verdict.applied for verdict in verdicts] == [True]
    assert [node.op_type for node in model.graph] == ["Relu", "Resize"]


def test_a_shifted_index_stays():
    net = Net()
    x = net.op("Relu", [net.image(2, 4, 3)], name="relu")
    rows = net.constant("rows", np.int64([0, 1, 1, 2, 2, 3, 3, 3]))
    value = net.op("Gather", [x, rows], name="rows_", axis=2)
    value = net.op("Identity", [value], name="same")
    model = model_of(net, value)
    assert RestoreRepeats()(model, PassContext()) == []
    assert "Resize" not in {node.op_type for node in model.graph}


def test_a_tiled_image_is_no_upsampling():
    """Tile without the inserted axis puts whole images side by side."""
    net = Net()
    x = net.op("Relu", [net.image(2, 4, 3)], name="relu")
    value = net.op("Tile", [x, net.constant("c", np.int64([1, 1, 2, 2]))], name="tile")
    value = net.op("Identity", [value], name="same")
    model = model_of(net, value)
    assert RestoreRepeats()(model, PassContext()) == []


def deconvolution(weight: np.ndarray, **attributes) -> ir.Model:
    net = Net()
    x = net.image(weight.shape[0], None, None)
    usual = {"strides": [2, 3], "kernel_shape": [2, 3], "group": weight.shape[0]}
    value = net.op(
        "ConvTranspose", [x, net.constant("w", weight)], name="up", **(usual | attributes)
    )
    return model_of(net, value)


@pytest.mark.parametrize("dense", [False, True])
def test_a_deconvolution_with_ones_becomes_a_resize(dense):
    weight = np.ones((3, 1, 2, 3), dtype=np.float32)
    if dense:
        weight = np.eye(3, dtype=np.float32)[:, :, None, None] * np.ones((1, 1, 2, 3), np.float32)
    model = deconvolution(weight, group=1 if dense else 3)
    feed = np.random.default_rng(0).normal(size=(1, 3, 4, 5)).astype(np.float32)
    before = run(model, feed)
    (verdict,) = RestoreOnes()(model, PassContext())
    assert verdict.applied
    assert [node.op_type for node in model.graph] == ["Resize"]
    np.testing.assert_array_equal(run(model, feed), before)


@pytest.mark.parametrize(
    ("change", "attributes"),
    [
        ("one weight", {}),
        ("", {"strides": [2, 2]}),
        ("", {"pads": [0, 0, 0, 1]}),
        ("", {"output_padding": [0, 1]}),
        ("", {"dilations": [1, 2]}),
    ],
)
def test_a_deconvolution_that_does_more_stays(change, attributes):
    weight = np.ones((3, 1, 2, 3), dtype=np.float32)
    if change:
        weight[1, 0, 1, 2] = 1.0001
    model = deconvolution(weight, **attributes)
    assert RestoreOnes()(model, PassContext()) == []
    assert [node.op_type for node in model.graph] == ["ConvTranspose"]
