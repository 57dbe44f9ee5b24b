"""Graphs written with their weights as they lie in memory are what onnx itself would write."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from segrt.graph import onnx_bytes
from segrt.graph.onnx_bytes import onnx_pieces, write_onnx


def arrays() -> dict[str, np.ndarray]:
    """Return weights of many types, sizes and memory orders."""
    random = np.random.default_rng(0)
    floats = random.standard_normal((3, 4, 5)).astype(np.float32)
    return {
        "plain": floats,
        "transposed": floats.transpose(2, 0, 1),
        "strided": floats[:, ::2],
        "half": floats.astype(np.float16),
        "bfloat": floats.astype(ml_dtypes.bfloat16),
        "double": floats.astype(np.float64),
        "integers": random.integers(-9, 9, (7,)),
        "bytes": random.integers(0, 255, (130,)).astype(np.uint8),
        "truths": floats > 0,
        "scalar": np.float32(2.5).reshape(()),
        "empty": np.zeros((0, 3), np.float32),
        "read_only": np.broadcast_to(np.float32(1), (2, 2)),
        "four_bits": np.array([-8, 7, 3], ml_dtypes.int4),
        "long": np.zeros(300, np.float32),  # its length takes two bytes, with its header's too
    }


def model_of(weights: dict[str, np.ndarray]) -> ir.Model:
    """Return a graph of one node with these initializers, and a subgraph's beside them."""
    x = ir.Value(name="x", shape=ir.Shape([2]), type=ir.TensorType(ir.DataType.FLOAT))
    node = ir.Node("", "Relu", [x], name="relu", doc_string="a node")
    node.outputs[0].name, node.outputs[0].dtype = "y", ir.DataType.FLOAT
    node.outputs[0].shape = ir.Shape([2])
    values = [
        ir.Value(name=name, const_value=ir.Tensor(array, name="another name", doc_string="told"))
        for name, array in weights.items()
    ]
    for value in values:
        tensor = value.const_value
        value.shape, value.dtype = tensor.shape, tensor.dtype
        tensor.metadata_props["segrt.kind"] = "weight"
    graph = ir.Graph(
        [x], node.outputs, nodes=[node], initializers=values, opset_imports={"": 18}, name="net"
    )
    return ir.Model(graph, ir_version=10, producer_name="test", metadata_props={"a": "b"})


def written(model: ir.Model) -> onnx.ModelProto:
    """Return the message read back by protobuf."""
    return onnx.ModelProto.FromString(b"".join(onnx_pieces(model)))


def test_it_is_the_message_that_onnx_would_write():
    model = model_of(arrays())
    expected = ir.to_proto(model)
    assert written(model) == expected
    order = [tensor.name for tensor in written(model).graph.initializer]
    assert order == list(arrays())


@pytest.mark.parametrize("name", arrays())
def test_weights_are_read_back_by_onnx(name):
    array = arrays()[name]
    (tensor,) = written(model_of({name: array})).graph.initializer
    found = numpy_helper.to_array(tensor)
    assert found.shape == array.shape
    np.testing.assert_array_equal(found.astype(np.float64), array.astype(np.float64))


def test_the_file_holds_the_same_and_passes_onnx_checker(tmp_path):
    model = model_of({"plain": arrays()["plain"]})
    write_onnx(model, tmp_path / "net.onnx")
    assert onnx.load(tmp_path / "net.onnx") == ir.to_proto(model)
    onnx.checker.check_model(str(tmp_path / "net.onnx"), full_check=True)


def test_nothing_is_copied_and_the_model_stays_as_it_was():
    array = np.zeros(100_000, np.float32)
    model = model_of({"large": array})
    tensor = model.graph.initializers["large"].const_value
    views = [piece for piece in onnx_pieces(model) if isinstance(piece, memoryview)]
    assert len(views) == 1
    assert np.shares_memory(np.frombuffer(views[0], np.float32), array)
    assert model.graph.initializers["large"].const_value is tensor
    assert tensor.name == "another name"


def test_tensors_of_files_and_texts_go_as_they_are():
    proto = ir.to_proto(model_of({"plain": arrays()["plain"]}))
    proto.graph.initializer.append(helper.make_tensor("text", TensorProto.STRING, [1], [b"hello"]))
    proto.graph.initializer.append(helper.make_tensor("typed", TensorProto.FLOAT, [2], [1.0, 2.0]))
    model = ir.from_proto(proto)
    assert written(model) == ir.to_proto(model)
    assert [tensor.name for tensor in written(model).graph.initializer][1:] == ["text", "typed"]


def test_an_initializer_without_content_is_left_out():
    model = model_of({"plain": arrays()["plain"], "unknown": arrays()["half"]})
    model.graph.initializers["unknown"].const_value = None
    assert written(model) == ir.to_proto(model)


def test_more_than_two_gibibytes_are_refused(monkeypatch):
    monkeypatch.setattr(onnx_bytes, "LARGEST", 1000)
    with pytest.raises(ValueError, match="2 GiB"):
        onnx_pieces(model_of({"large": np.zeros(300, np.float32)}))
