"""Graphs cut and put together again."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from segrt.graph.builder import IR_VERSION, OPSET, GraphBuilder
from segrt.graph.cut_out import cut_out
from segrt.graph.stitch import distinct, stitch


def part(reads, writes, factor, *, inner="inner", weight="w"):
    """``writes = factor * reads + factor``, the product under an inner name."""
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="part")
    b = GraphBuilder(graph)
    x = b.input(reads, [1, 3], ir.DataType.FLOAT)
    scale = b.constant(weight, np.full(3, factor, "f4"))
    graph.outputs.append(b.op("Add", [b.op("Mul", [x, scale], name=inner), scale], name=writes))
    return ir.Model(graph, ir_version=IR_VERSION)


def whole():
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="whole")
    b = GraphBuilder(graph)
    x = b.input("x", [1, 3], ir.DataType.FLOAT)
    graph.outputs.append(b.op("Neg", [x], name="z"))
    return ir.Model(graph, ir_version=IR_VERSION)


def run(model, **feeds):
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)[0]


X = np.array([[1.0, 2.0, 3.0]], "f4")


@pytest.mark.parametrize("factor", [2.0, 3.0])
def test_parts_of_the_same_inner_names_are_told_apart(factor):
    model = stitch([part("x", "y", 2.0), part("y", "z", factor)], whole())
    np.testing.assert_array_equal(run(model, x=X), factor * (2 * X + 2) + factor)
    # A weight is there once if it is the same, and twice if it is not.
    assert len(model.graph.initializers) == (1 if factor == 2.0 else 2)
    assert [node.name for node in model.graph] == ["inner", "y", "inner~1", "z"]


def test_an_inner_name_that_another_part_hands_over_is_told_apart():
    model = stitch([part("x", "y", 2.0, inner="z"), part("y", "z", 3.0)], whole())
    np.testing.assert_array_equal(run(model, x=X), 3 * (2 * X + 2) + 3)


def test_parts_are_not_changed():
    parts = [part("x", "y", 2.0), part("y", "z", 3.0)]
    stitch(parts, whole())
    np.testing.assert_array_equal(run(parts[1], y=X), 3 * X + 3)


def test_a_part_that_reads_what_nothing_makes_is_refused():
    with pytest.raises(KeyError, match="nowhere"):
        stitch([part("nowhere", "z", 2.0)], whole())


def test_names_are_made_distinct_but_those_at_the_ends():
    model = part("x", "y", 2.0)
    distinct(model, {"x", "y", "inner", "w", "inner~1"})
    assert [value.name for value in (*model.graph.inputs, *model.graph.outputs)] == ["x", "y"]
    assert list(model.graph.initializers) == ["w~1"]
    assert model.graph[0].outputs[0].name == "inner~2"
    np.testing.assert_array_equal(run(model, x=X), 2 * X + 2)


def test_what_is_cut_out_becomes_an_input():
    model = stitch([part("x", "y", 2.0), part("y", "z", 3.0)], whole())
    gone = [node for node in model.graph if node.name in ("inner", "y")]
    rest, origins = cut_out(model, gone)
    assert [value.name for value in rest.graph.inputs] == ["x", "y"]
    assert [node.name for node in rest.graph] == ["inner~1", "z"]
    assert list(origins.values()) == [node for node in model.graph if node not in gone]
    assert len(model.graph) == 4
    np.testing.assert_array_equal(run(rest, x=X, y=X), 3 * X + 3)


def test_a_cut_out_output_is_none_any_more():
    model = stitch([part("x", "y", 2.0), part("y", "z", 3.0)], whole())
    rest, _ = cut_out(model, [node for node in model.graph if node.name == "z"])
    assert [value.name for value in rest.graph.outputs] == []
    assert [value.name for value in rest.graph.inputs] == ["x"]
