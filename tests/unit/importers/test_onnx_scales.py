"""Scales that fall short of the size they stand for, by float32's rounding."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import segrt


@pytest.mark.parametrize(("before", "after"), [(12, 17), (6, 23), (10, 7), (8, 16), (7, 3)])
def test_a_rounded_scale_gives_the_size_that_engines_give(tmp_path, before, after):
    scales = np.array([1, 1, after / before, 1], dtype=np.float32)
    resize = helper.make_node(
        "Resize", ["x", "", "scales"], ["y"], mode="linear",
        coordinate_transformation_mode="half_pixel",
    )  # fmt: skip
    graph = helper.make_graph(
        [resize],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2, before, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(scales, "scales")],
    )
    path = tmp_path / "net.onnx"
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(proto, path)
    session = onnxruntime.InferenceSession(str(path))
    answer = session.run(None, {"x": np.zeros((1, 2, before, 4), dtype=np.float32)})[0]
    assert answer.shape[2] == after
    model = segrt.load(path)
    shape = model.graph.outputs[0].shape
    assert shape is not None
    assert list(shape)[1:] == [2, after, 4]
