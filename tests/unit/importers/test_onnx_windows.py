"""``SAME`` padding of windows with gaps, which ONNX Runtime gets wrong, against its definition."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import segrt

KERNEL = np.random.default_rng(1).standard_normal((2, 3, 3, 3)).astype(np.float32)


def file_of(tmp_path, op_type, *, size=(8, 9), **attributes):
    shape = [1, 3, *(side or f"side{axis}" for axis, side in enumerate(size))]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    weights = [numpy_helper.from_array(KERNEL, "w")] if op_type == "Conv" else []
    inputs = ["x", *(["w"] if weights else [])]
    node = helper.make_node(op_type, inputs, ["y"], name="window", **attributes)
    graph = helper.make_graph([node], "net", [x], [y], initializer=weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def defined(op_type, x, *, kernel, strides, dilations, lower):
    """The operator by ONNX' definition: ``ceil(size / stride)`` windows, the rest is padding."""
    pads = []
    for size, k, s, d in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        total = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
        half = total // 2
        pads.append((total - half, half) if lower else (half, total - half))
    fill = 0 if op_type == "Conv" else -np.inf
    padded = np.pad(x, ((0, 0), (0, 0), *pads), constant_values=fill)
    windows = np.lib.stride_tricks.sliding_window_view(
        padded, [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)], axis=(2, 3)
    )
    steps = [slice(None, None, step) for step in (*strides, *dilations)]
    windows = windows[(slice(None), slice(None), *steps)]
    if op_type == "Conv":
        return np.einsum("nchwkl,ockl->nohw", windows, KERNEL)
    return windows.max(axis=(4, 5))


@pytest.mark.parametrize("op_type", ["Conv", "MaxPool"])
@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize(("strides", "dilations"), [((1, 1), (2, 3)), ((2, 3), (2, 1))])
def test_the_gaps_are_minded(tmp_path, op_type, mode, strides, dilations):
    kernel = (3, 3) if op_type == "Conv" else (2, 3)
    path = file_of(
        tmp_path, op_type, kernel_shape=kernel, strides=strides, dilations=dilations, auto_pad=mode
    )
    x = np.random.default_rng(2).standard_normal((1, 3, 8, 9)).astype(np.float32)
    data = ir.to_proto(segrt.load(path)).SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": x})
    wanted = defined(
        op_type, x, kernel=kernel, strides=strides, dilations=dilations, lower=mode == "SAME_LOWER"
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_onnx_runtime_itself_still_does_not(tmp_path):
    path = file_of(
        tmp_path, "MaxPool", kernel_shape=[2, 2], dilations=[2, 2], auto_pad="SAME_UPPER"
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.zeros((1, 3, 8, 9), np.float32)})
    assert found.shape == (1, 3, 7, 8)


def attributes_of(path):
    (node,) = [node for node in segrt.load(path).graph if node.op_type == "MaxPool"]
    return set(node.attributes)


@pytest.mark.parametrize(
    ("size", "strides", "dilations", "known"),
    [
        ((None, None), (1, 1), (2, 2), True),
        ((None, 8), (2, 1), (2, 2), False),
        ((8, 8), (1, 1), (1, 1), False),
    ],
)
def test_pads_are_numbers_where_they_can_be_known(tmp_path, size, strides, dilations, known):
    path = file_of(
        tmp_path, "MaxPool", size=size, kernel_shape=[2, 2], strides=strides, dilations=dilations,
        auto_pad="SAME_UPPER",
    )  # fmt: skip
    found = attributes_of(path)
    assert ("pads" in found, "auto_pad" in found) == (known, not known)
