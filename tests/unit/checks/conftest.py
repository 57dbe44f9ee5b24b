"""Graphs for the rules, as the importer would make them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from segrt.graph import metadata
from segrt.graph.builder import IR_VERSION, OPSET, GraphBuilder


class Net:
    """One image input N C H W, and layers in a row behind it."""

    def __init__(self, shape=(None, 2, 6, 8), dtype=ir.DataType.FLOAT):
        graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="net")
        self.model = ir.Model(graph, ir_version=IR_VERSION)
        self.builder = GraphBuilder(graph)
        self.value = self.builder.input("image", shape, dtype)
        metadata.tag_value(self.value, "image", None)

    def layer(self, name, class_name, op_type, *more, **attributes):
        """Append a node and make it the Keras layer ``name``."""
        inputs = [
            self.builder.constant(f"{name}/{index}", array) if array is not None else None
            for index, array in enumerate(more)
        ]
        self.value = self.builder.op(op_type, [self.value, *inputs], name=name, **attributes)
        metadata.tag_node(self.value.producer(), name, class_name)
        metadata.tag_value(self.value, name, None)
        return self

    def upsample(self, name="up", mode="nearest", coordinates="asymmetric", factors=(2, 2)):
        extra = {"nearest_mode": "floor"} if mode == "nearest" else {}
        return self.layer(
            name, "UpSampling2D", "Resize", None, np.array([1, 1, *factors], np.float32),
            mode=mode, coordinate_transformation_mode=coordinates, **extra,
        )  # fmt: skip

    def convolve(self, name="conv", kernel=(2, 2), outputs=3):
        channels = self.value.shape[1]
        weights = np.random.default_rng(0).normal(size=(outputs, channels, *kernel))
        pads = (0, 0, kernel[0] - 1, kernel[1] - 1)
        return self.layer(name, "Conv2D", "Conv", weights.astype(np.float32), pads=pads)

    def done(self):
        self.model.graph.outputs.append(self.value)
        return self.model


@pytest.fixture
def net():
    """Return the class that grows a graph."""
    return Net
