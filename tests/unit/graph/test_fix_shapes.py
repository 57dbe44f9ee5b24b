from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from segrt.errors import ShapeError
from segrt.graph.builder import IR_VERSION, OPSET, GraphBuilder, static_shape
from segrt.graph.fix_shapes import fix_batch_and_size, fix_shapes
from segrt.graph.size_multiple import needed_multiple
from segrt.graph.specs import input_specs, output_specs


def _pyramid(levels: int, *, flatten_to: int | None = None) -> ir.Model:
    """Halve ``levels`` times, double as often, join with the input at full size."""
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="net")
    b = GraphBuilder(graph)
    source = b.input("image", (None, None, None, 1), ir.DataType.FLOAT)
    x = top = b.op("Transpose", [source], name="image:nchw", perm=[0, 3, 1, 2])
    for level in range(levels):
        x = b.op("MaxPool", [x], name=f"down{level}", kernel_shape=[2, 2], strides=[2, 2])
    scales = b.constant("scales", np.array([1, 1, 2**levels, 2**levels], "f4"))
    x = b.op("Resize", [x, None, scales], name="up", mode="nearest")
    x = b.op("Concat", [top, x], name="join", axis=1)
    x = b.op("Transpose", [x], name="out", perm=[0, 2, 3, 1])
    if flatten_to is not None:
        x = b.op("Reshape", [x, b.constant("to", np.array([1, flatten_to]))], name="flat")
    graph.outputs.append(x)
    return ir.Model(graph, ir_version=IR_VERSION)


@pytest.mark.parametrize("levels", [0, 1, 3, 5])
def test_needed_multiple(levels: int):
    assert needed_multiple(_pyramid(levels)) == 2**levels


def test_fixes_batch_and_size_and_leaves_the_original_alone():
    model = _pyramid(2)
    fixed = fix_batch_and_size(model, batch=3, size=(8, 12))
    assert static_shape(fixed.graph.inputs[0]) == (3, 8, 12, 1)
    assert static_shape(fixed.graph.outputs[0]) == (3, 8, 12, 2)
    assert static_shape(model.graph.inputs[0]) == (None, None, None, 1)
    assert static_shape(model.graph.outputs[0])[:3] == (None, None, None)


def test_fixes_the_batch_alone():
    fixed = fix_batch_and_size(_pyramid(2), batch=4, size=None)
    assert static_shape(fixed.graph.inputs[0]) == (4, None, None, 1)


def test_nothing_to_fix_is_the_same_model():
    model = _pyramid(1)
    assert fix_batch_and_size(model, batch=None, size=None) is model


def test_a_size_that_does_not_fit_names_the_layer_and_the_multiple():
    with pytest.raises(ShapeError, match=r"'join' \(Concat\)[\s\S]*multiples of 4"):
        fix_batch_and_size(_pyramid(2), batch=None, size=(8, 10))


def test_an_image_that_vanishes_is_refused():
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="net")
    b = GraphBuilder(graph)
    x = b.input("image", (None, 1, None, None), ir.DataType.FLOAT)
    kernel = b.constant("kernel", np.ones((1, 1, 5, 5), "f4"))
    graph.outputs.append(b.op("Conv", [x, kernel], name="unpadded"))
    model = ir.Model(graph, ir_version=IR_VERSION)
    assert static_shape(fix_shapes(model, {"image": (1, 1, 5, 6)}).graph.outputs[0]) == (1, 1, 1, 2)
    with pytest.raises(ShapeError, match=r"nothing is left[\s\S]*larger size"):
        fix_shapes(model, {"image": (1, 1, 3, 3)})


def test_a_reshape_that_loses_elements_is_refused():
    model = _pyramid(1, flatten_to=8 * 8 * 2)
    assert fix_batch_and_size(model, batch=1, size=(8, 8)).graph.outputs[0].name == "flat"
    with pytest.raises(ShapeError, match="cannot become"):
        fix_batch_and_size(model, batch=1, size=(8, 16))


@pytest.mark.parametrize(("batch", "size"), [(0, None), (None, (0, 8)), (-1, None)])
def test_sizes_must_be_positive(batch: int | None, size: tuple[int, int] | None):
    with pytest.raises(ShapeError, match="positive"):
        fix_batch_and_size(_pyramid(1), batch=batch, size=size)


def test_specs_find_the_channel_axis():
    model = _pyramid(1)
    assert [spec.channel_axis for spec in (*input_specs(model), *output_specs(model))] == [-1, -1]


def test_specs_of_channels_first_and_vectors():
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="net")
    b = GraphBuilder(graph)
    x = b.input("image", (None, 1, 8, 8), ir.DataType.FLOAT)
    scaled = b.op("Mul", [x, b.constant("half", np.float32(0.5))], name="scaled")
    y = b.op("MaxPool", [scaled], name="pool", kernel_shape=[2, 2])
    flat = b.op("Flatten", [y], name="flat")
    graph.outputs.extend([y, flat])
    model = ir.Model(graph, ir_version=IR_VERSION)
    assert [spec.channel_axis for spec in input_specs(model)] == [1]
    assert [spec.channel_axis for spec in output_specs(model)] == [1, None]
