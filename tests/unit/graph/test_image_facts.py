"""Size multiple, kind of output and rescaling, read off small graphs."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from segrt.errors import ShapeError
from segrt.graph.builder import GraphBuilder
from segrt.graph.metadata import tag_node
from segrt.graph.output_kind import output_kind
from segrt.graph.rescales_input import rescales_input
from segrt.graph.size_multiple import size_multiple


def network(size=(None, None), factors=(2, 2), *, last="Sigmoid", pads=1, nchw=False, head=None):
    """A U-Net of one convolution a level; ``factors`` are its pooling strides, outermost first."""
    graph = ir.Graph([], [], nodes=[], opset_imports={"": 18}, name="net")
    build, count = GraphBuilder(graph), iter(range(99))
    shape = [None, 2, *size] if nchw else [None, *size, 2]
    value = build.input("image", shape, ir.DataType.FLOAT)
    if head:
        value = build.op("Mul", [value, build.constant("scale", np.float32(0.5))], name="head")
        tag_node(value.producer(), "head", head)
    if not nchw:
        value = build.op("Transpose", [value], name="image:nchw", perm=[0, 3, 1, 2])

    def convolve(value):
        name = f"conv{next(count)}"
        kernel = build.constant(f"{name}/kernel", np.zeros((2, value.shape[1], 3, 3), np.float32))
        return build.op("Conv", [value, kernel], name=name, pads=[pads] * 4)

    skips = []
    for factor in factors:
        value = convolve(value)
        skips.append(value)
        window = [factor, factor]
        value = build.op("MaxPool", [value], name="pool", kernel_shape=window, strides=window)
    for factor, skip in zip(reversed(factors), reversed(skips), strict=True):
        scales = build.constant("scales", np.array([1, 1, factor, factor], np.float32))
        value = build.op("Resize", [value, None, scales], name="up", mode="nearest")
        value = convolve(build.op("Concat", [skip, value], name="join", axis=1))
    if last:
        value = build.op(last, [value], name="last")
    if not nchw:
        value = build.op("Transpose", [value], name="mask", perm=[0, 2, 3, 1])
    graph.outputs.append(value)
    return ir.Model(graph, ir_version=10)


@pytest.mark.parametrize(
    ("factors", "expected"), [((), 1), ((2,), 2), ((2, 2, 2, 2), 16), ((3, 2), 6), ((3, 3, 2), 18)]
)
@pytest.mark.parametrize("nchw", [False, True])
def test_multiple_is_the_product_of_the_strides(factors, expected, nchw):
    model = network(factors=factors, nchw=nchw)
    assert size_multiple(model, channel_axis=1 if nchw else -1) == (expected, expected)


def test_fixed_sizes_are_their_own_multiple():
    assert size_multiple(network((64, 96)), channel_axis=-1) == (64, 96)
    assert size_multiple(network((None, 96)), channel_axis=-1) == (4, 96)


def test_network_that_shrinks_its_image_is_refused():
    with pytest.raises(ShapeError, match="height"):
        size_multiple(network(pads=0), channel_axis=-1)


def test_the_model_is_not_changed():
    model = network()
    before = [str(value.shape) for node in model.graph for value in node.outputs]
    size_multiple(model, channel_axis=-1)
    assert [str(value.shape) for node in model.graph for value in node.outputs] == before


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ("Sigmoid", "probabilities"),
        ("Softmax", "probabilities"),
        (None, "logits"),
        ("Relu", "logits"),
    ],
)
def test_output_kind(last, expected):
    assert output_kind(network(last=last)) == expected
    assert output_kind(network(last=last), "mask") == expected


@pytest.mark.parametrize(
    ("head", "expected"), [("Rescaling", True), ("Normalization", True), ("Activation", False)]
)
def test_rescaling(head, expected):
    assert rescales_input(network(head=head)) is expected
    assert rescales_input(network(head=head, nchw=True)) is expected
    assert not rescales_input(network())
