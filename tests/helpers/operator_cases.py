"""Operators through the CUDA engine's whole walk without a GPU, beside ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from helpers.emulated_engine import Ran, run

BOUNDS = {"fp32": 2e-6, "fp16": 2e-3, "bf16": 1.5e-2}


@dataclass
class Case:
    """One operator, or several: each reads the first output of the one before.

    Attributes:
        name: For the report.
        shape: Of the input, channels first.
        nodes: Operator, constants behind its first input (None: left out), attributes.
        launched: A kernel that must be among those launched.
        opset: Version of the operators.
    """

    name: str
    shape: tuple[int, ...]
    nodes: list[tuple[str, list[Any], dict[str, Any]]]
    launched: str = ""
    opset: int = 18
    outputs: int = field(default=1)


def model_of(case: Case) -> onnx.ModelProto:
    """Return the case as a graph of ONNX's."""
    nodes, constants, value = [], [], "x"
    for index, (op_type, arrays, attributes) in enumerate(case.nodes):
        inputs = [value]
        for position, array in enumerate(arrays):
            inputs.append("" if array is None else f"c{index}_{position}")
            if array is not None:
                constants.append(numpy_helper.from_array(np.asarray(array), inputs[-1]))
        last = index == len(case.nodes) - 1
        made = [f"y{index}_{k}" for k in range(case.outputs if last else 1)]
        nodes.append(helper.make_node(op_type, inputs, made, **attributes))
        value = made[0]
    outputs = [helper.make_empty_tensor_value_info(name) for name in nodes[-1].output]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, case.shape)]
    graph = helper.make_graph(nodes, "case", inputs, outputs, constants)
    opset = [helper.make_opsetid("", case.opset)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def compare(
    monkeypatch: pytest.MonkeyPatch,
    case: Case,
    precision: str = "fp32",
    capability: tuple[int, int] = (9, 0),
) -> Ran:
    """Run a case and compare each output with ONNX Runtime's in fp32."""
    model = model_of(case)
    feeds = {"x": np.random.default_rng(5).normal(size=case.shape).astype(np.float32)}
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    read = ir.serde.deserialize_model(model)
    ran = run(monkeypatch, read, feeds, precision, capability=capability, memory=1 << 24)
    for output, wanted in zip(session.get_outputs(), session.run(None, feeds), strict=True):
        found = ran.outputs[output.name]
        assert found.shape == wanted.shape
        assert np.isfinite(found).all()
        error = np.linalg.norm(found - wanted) / np.linalg.norm(wanted)
        assert error <= BOUNDS[precision], (output.name, error)
    return ran
