"""Graphs for the tests of passes, and ways to run them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

from segrt.graph import metadata
from segrt.graph.builder import IR_VERSION, OPSET, GraphBuilder


class Net(GraphBuilder):
    """A graph under construction, with Keras tags."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="net"))
        self.random = np.random.default_rng(seed)

    def image(self, channels: int, height: int | None = 6, width: int | None = 5) -> ir.Value:
        return self.input("x", (None, channels, height, width), ir.DataType.FLOAT)

    def keras(self, value: ir.Value, name: str, class_name: str = "Layer") -> ir.Value:
        self.rename(value, name)
        name = value.name or name
        rank = 0 if value.shape is None else len(value.shape)
        axes = (0, *range(2, rank), 1) if rank > 2 else None
        metadata.tag_value(value, name, axes)
        metadata.tag_node(value.producer(), name, class_name)
        return value

    def up(self, x: ir.Value, fy: int = 2, fx: int | None = None, **attributes: Any) -> ir.Value:
        scales = self.constant("scales", np.float32([1, 1, fy, fx or fy]))
        usual = {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        }
        value = self.op("Resize", [x, None, scales], name="up:r", **(usual | attributes))
        return self.keras(value, "up", "UpSampling2D")

    def conv(
        self,
        x: ir.Value,
        outputs: int,
        kernel: tuple[int, ...] = (3, 3),
        pads: tuple[int, ...] | str = "same",
        *,
        bias: bool = True,
        name: str = "conv",
        **attributes: Any,
    ) -> ir.Value:
        group = attributes.get("group", 1)
        shape = (outputs, x.shape[1] // group, *kernel)
        inputs = [x, self.constant(f"{name}/kernel", self.normal(shape))]
        if bias:
            inputs.append(self.constant(f"{name}/bias", self.normal((outputs,))))
        if pads == "same":
            before = [(size - 1) // 2 for size in kernel]
            pads = (*before, *(size - 1 - b for size, b in zip(kernel, before, strict=True)))
        value = self.op("Conv", inputs, name=f"{name}:c", pads=pads, **attributes)
        return self.keras(value, name, "Conv2D")

    def batch_norm(self, x: ir.Value, name: str = "bn") -> ir.Value:
        size = x.shape[1]
        arrays = [self.normal(size), self.normal(size), self.normal(size), self.normal(size) ** 2]
        roles = ("gamma", "beta", "moving_mean", "moving_variance")
        inputs = [self.constant(f"{name}/{r}", a) for r, a in zip(roles, arrays, strict=True)]
        value = self.op("BatchNormalization", [x, *inputs], name=f"{name}:b", epsilon=1e-3)
        return self.keras(value, name, "BatchNormalization")

    def layer(self, op_type: str, inputs: list[Any], name: str, **attributes: Any) -> ir.Value:
        value = self.op(op_type, inputs, name=f"{name}:o", **attributes)
        return self.keras(value, name, op_type)

    def normal(self, shape: Any) -> Any:
        return self.random.standard_normal(shape).astype(np.float32)

    def model(self, *outputs: ir.Value) -> ir.Model:
        self.graph.outputs.extend(outputs)
        return ir.Model(self.graph, ir_version=IR_VERSION)


def ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def run(model: ir.Model, x: np.ndarray, *, threads: int = 1) -> dict[str, np.ndarray]:
    """Run on ONNX Runtime without its own rewrites."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    data = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in model.graph.outputs]
    return dict(zip(names, session.run(names, {"x": x}), strict=True))


def expose(model: ir.Model) -> ir.Model:
    """Return a copy in which every value a node makes is an output, to look inside."""
    copy = model.clone()
    for node in list(copy.graph):
        for value in node.outputs:
            if not value.is_graph_output():
                copy.graph.outputs.append(value)
    onnx.checker.check_model(ir.to_proto(copy))
    return copy


def keras_arrays(model: ir.Model, x: np.ndarray) -> dict[str, np.ndarray]:
    """Return every Keras value that a graph holds or from which one follows, as Keras has it."""
    shown = expose(model)
    arrays = run(shown, x)
    found: dict[str, np.ndarray] = {}
    for value in (value for node in shown.graph for value in node.outputs):
        array = arrays[value.name]
        if (name := metadata.keras_name(value)) is not None:
            found[name] = array.transpose(metadata.to_source(value) or range(array.ndim))
        for entry in metadata.recoveries(value):
            shape = (1, -1) + (1,) * (array.ndim - 2)
            back = (array - entry.shift.reshape(shape)) / entry.scale.reshape(shape)
            axes = metadata.parse_axes(entry.to_source) or range(array.ndim)
            found[entry.keras] = back.transpose(axes)
    return found
