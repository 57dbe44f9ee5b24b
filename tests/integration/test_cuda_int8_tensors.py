"""Quantised graphs that hold values of other ranks than images, in the CUDA engine's emulation."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from helpers.emulated_engine import run
from helpers.quantised import ort_run, quantise
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower
from segrt.targets.cuda import LOWERINGS

pytest.importorskip("cuda.core", reason="cuda-core is not installed")
pytest.importorskip("onnxruntime.quantization", reason="onnxruntime is not installed")

SIDE, CHANNELS = 12, 32
RNG = np.random.default_rng(3)


def _weights(*shape: int) -> np.ndarray:
    return (RNG.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


@pytest.fixture(scope="module")
def net() -> ir.Model:
    """Two convolutions with a squeeze-and-excitation of dense layers between them, and pixels."""
    c = CHANNELS
    constants = {
        "k0": _weights(c, 3, 3, 3), "b0": _weights(c),
        "down": _weights(c, 16), "up": _weights(16, c), "shape": np.array([1, c, 1, 1]),
        "k1": _weights(c, c, 3, 3), "b1": _weights(c),
        "rows": np.array([1, c, SIDE * SIDE]), "mix": _weights(SIDE * SIDE, 20),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "k0", "b0"], ["a"], pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("MatMul", ["f", "down"], ["d"]),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("MatMul", ["e", "up"], ["u"]),
        helper.make_node("Sigmoid", ["u"], ["s"]),
        helper.make_node("Reshape", ["s", "shape"], ["t"]),
        helper.make_node("Mul", ["r", "t"], ["m"]),
        helper.make_node("Conv", ["m", "k1", "b1"], ["n"], pads=[1] * 4),
        helper.make_node("Reshape", ["n", "rows"], ["p"]),
        helper.make_node("MatMul", ["p", "mix"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, c, 20])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return ir.from_proto(model)


def test_dense_layers_between_convolutions_in_eight_bits(monkeypatch, tmp_path, net):
    context = PassContext(LOWERINGS[-1].upsampling_forms)
    plain, _ = lower(net, context)
    feeds = [{"x": RNG.random((1, 3, SIDE, SIDE), np.float32)} for _ in range(4)]
    quantised, _ = lower(quantise(plain, feeds[1:], tmp_path), context)
    wanted, rounded = ort_run(plain, feeds[0])[0], ort_run(quantised, feeds[0])[0]
    found = run(monkeypatch, quantised, feeds[0], "int8", memory=1 << 26).outputs["y"]
    error = np.linalg.norm(found - wanted)
    assert error <= 1.1 * np.linalg.norm(rounded - wanted)
    assert error <= 0.05 * np.linalg.norm(wanted)
