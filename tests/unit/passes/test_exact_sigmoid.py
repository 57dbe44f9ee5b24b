"""Sigmoids written out for ONNX Runtime: right where they are tiny, left alone in x * s(x)."""

import numpy as np
import onnx_ir as ir
import pytest
from scipy.special import expit

import segrt
from helpers.closeness import assert_close
from segrt.graph import metadata
from segrt.graph.builder import IR_VERSION, OPSET, GraphBuilder
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower

# Decades of results, from the smallest that float32 holds in full to 1.
ARGUMENTS = (-86.5, -60.0, -30.0, -18.5, -17.5, -12.0, -5.0, 0.0, 3.0, 12.0, 40.0)


def network(kind="mask"):
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="net")
    b = GraphBuilder(graph)
    x = b.input("image", (None, 4, 4, 1), ir.DataType.FLOAT)
    y = b.op("Sigmoid", [x], name="mask" if kind == "mask" else "gate")
    if kind == "swish":
        y = b.op("Mul", [x, y], name="mask")
    if kind == "both":
        y = b.op("Sum", [b.op("Mul", [x, y], name="product"), y], name="mask")
    for node in graph:
        metadata.tag_node(node, str(node.name), "Activation")
        metadata.tag_value(node.outputs[0], str(node.name), None)
    graph.outputs.append(y)
    return ir.Model(graph, ir_version=IR_VERSION)


def operators(model, **context):
    lowered, verdicts = lower(model, PassContext(extra_passes=("exact_sigmoid",), **context))
    return [node.op_type for node in lowered.graph], verdicts, lowered


@pytest.mark.parametrize("argument", ARGUMENTS)
@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_each_decade_is_right(argument, target, tmp_path):
    images = np.full((1, 4, 4, 1), argument, np.float32)
    images += np.linspace(0, 0.4, 16, dtype=np.float32).reshape(images.shape)
    package = segrt.build(network(), target=target, threads=1, output=tmp_path / "p.segrt")
    with segrt.open_session(package) as session:
        found = session.run({"image": images})["mask"]
    # ONNX Runtime's own are wrong by 1e-3 and more below -10. OpenVINO's are right to 3e-7, on
    # processors that cannot multiply and add at once (before AVX2) to 4e-6.
    assert_close(found, expit(images.astype(np.float64)), 1e-5)
    assert segrt.verify(package, inputs={"image": images}, threads=1).ok


def test_names_stay():
    kinds, verdicts, lowered = operators(network())
    assert kinds == ["Neg", "Exp", "Add", "Div"]
    assert lowered.graph.outputs[0].name == "mask"
    assert metadata.keras_name(lowered.graph.outputs[0]) == "mask"
    assert [v.applied for v in verdicts if v.pass_name == "exact_sigmoid"] == [True]
    assert all(metadata.layer_of(node) == "mask" for node in lowered.graph)


def test_what_weighs_its_own_argument_is_left_alone():
    assert operators(network("swish"))[0] == ["Sigmoid", "Mul"]
    assert "Sigmoid" not in operators(network("both"))[0]


def test_only_who_asks_gets_it():
    lowered, _ = lower(network(), PassContext())
    assert [node.op_type for node in lowered.graph] == ["Sigmoid"]


def test_a_mask_is_still_one(tmp_path):
    """The rule that makes a mask of an output goes by its operator before any pass."""
    package = segrt.build(network(), target="onnxruntime", output=tmp_path / "p.segrt", threads=1)
    report = segrt.verify(package, threads=1)
    assert report.outputs[0].masks is not None
    assert report.outputs[0].masks.agreement == 1
