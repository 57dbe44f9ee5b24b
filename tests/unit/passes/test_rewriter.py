"""A refused rewrite takes back what it made, and nothing that was made before it."""

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from segrt.errors import PassError
from segrt.graph.builder import IR_VERSION, OPSET, GraphBuilder
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower
from segrt.passes._rewrite import Rewriter, replace


def graph_of(build):
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="g")
    builder = GraphBuilder(graph)
    graph.outputs.extend(build(builder))
    return graph


def build_and_refuse(rewriter, graph):
    with rewriter.attempt():
        rewriter.at(graph.node(0)).op("Neg", [graph.inputs[0]], name="second")
        rewriter.constant("scale", np.float32(2))
        raise PassError("no")


def test_a_refusal_keeps_the_change_before_it():
    graph = graph_of(
        lambda b: [b.op("Relu", [b.input("x", [2, 3], ir.DataType.FLOAT)], name="out")]
    )
    rewriter = Rewriter(graph)
    relu = graph.node(0)
    with rewriter.attempt():
        new = rewriter.at(relu).op("Abs", [relu.inputs[0]], name="first")
        replace(relu.outputs[0], new)
    with pytest.raises(PassError, match="no"), rewriter.attempt():
        raise PassError("no")
    assert [node.op_type for node in graph] == ["Abs"]
    with pytest.raises(PassError, match="no"):
        build_and_refuse(rewriter, graph)
    assert [node.op_type for node in graph] == ["Abs"]
    assert not graph.initializers


def test_merged_transposes_stay_when_others_may_not_vanish():
    """The first pair becomes one Transpose; the second is an input handed through as output."""

    def build(b):
        x, y = (b.input(name, [1, 2, 3, 4], ir.DataType.FLOAT) for name in "xy")
        first = b.op("Transpose", [x], name="a", perm=[0, 2, 3, 1])
        merged = b.op("Transpose", [first], name="p", perm=[0, 2, 3, 1])
        back = b.op("Transpose", [y], name="c", perm=[0, 2, 3, 1])
        return [
            b.op("Relu", [merged], name="one"),
            b.op("Transpose", [back], name="two", perm=[0, 3, 1, 2]),
        ]

    model = ir.Model(graph_of(build), ir_version=IR_VERSION)
    lowered, verdicts = lower(model, PassContext())
    assert {verdict.subject: verdict.applied for verdict in verdicts} == {"p": True, "two": False}
    session = onnxruntime.InferenceSession(ir.to_proto(lowered).SerializeToString())
    x, y = np.random.default_rng(0).standard_normal((2, 1, 2, 3, 4)).astype(np.float32)
    one, two = session.run(["one", "two"], {"x": x, "y": y})
    np.testing.assert_array_equal(one, np.maximum(x.transpose(0, 3, 1, 2), 0))
    np.testing.assert_array_equal(two, y)
