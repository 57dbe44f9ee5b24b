"""Graphs for the TensorRT tests, and the ONNX Runtime that both sides of a comparison run on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir
import onnxruntime

from segrt.graph import metadata
from segrt.graph.builder import IR_VERSION, OPSET, GraphBuilder
from segrt.types import ShapeProfile

# Of the free sizes of `one_node`.
BATCHES, SIDES = ShapeProfile(1, 2, 4), ShapeProfile(4, 16, 36)
Fill = Callable[[GraphBuilder, ir.Value], ir.Value]


def one_node(fill: Fill, shape: Sequence[int | None] = (1, 4, 16, 16)) -> ir.Model:
    """A graph of one input ``x`` and one output ``y``; free sizes are given a range."""
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="one")
    builder = GraphBuilder(graph)
    x = builder.input("x", tuple(shape), ir.DataType.FLOAT)
    limits = [BATCHES, *[SIDES] * (len(shape) - 1)]
    if None in shape:
        ranges = [None if size else limit for size, limit in zip(shape, limits, strict=True)]
        metadata.set_ranges(x, ranges)
    y = fill(builder, x)
    graph.outputs.append(y)
    for node in graph:
        metadata.tag_node(node, f"keras_{node.name}", "Layer")
    return ir.Model(graph, ir_version=IR_VERSION)


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    """Unlike, unsymmetric weights that keep activations of order one."""
    fan_in = max(1, int(np.prod(shape[1:])))
    return np.random.default_rng(seed).normal(0, 1 / np.sqrt(fan_in), shape).astype("f4")


def unet(
    channels: Sequence[int], *, side: int | None, batch: int | None = 1, kind: str = "nearest"
) -> ir.Model:
    """A U-Net as Keras writes it: two convolutions a level, up, 2x2 convolution, skip.

    Args:
        channels: Of every level, the topmost first.
        side: Height and width of the image; None leaves them free.
        batch: None leaves it free.
        kind: ``nearest``, ``linear`` or ``transposed``.
    """
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="unet")
    b = GraphBuilder(graph)
    seeds = iter(range(1000))

    def conv(x: ir.Value, name: str, count: int, size: int, act: str = "Relu") -> ir.Value:
        into = x.shape[1]
        kernel = b.constant(f"{name}/kernel", weights(count, into, size, size, seed=next(seeds)))
        drawn = weights(count, seed=next(seeds))
        # Were all channels of the last ReLU dead, the mask would be 0.5 whatever comes before.
        bias = b.constant(f"{name}/bias", np.abs(drawn) if name == "last" else drawn)
        pads = [0, 0, 1, 1] if size == 2 else [size // 2] * 4
        y = b.op("Conv", [x, kernel, bias], name=f"{name}:conv", pads=pads)
        return named(b.op(act, [y], name=name), name)

    def named(value: ir.Value, name: str) -> ir.Value:
        metadata.tag_value(value, name, (0, 2, 3, 1))
        for node in b.appended:
            metadata.tag_node(node, name, "Conv2D")
        b.appended.clear()
        return value

    def up(x: ir.Value, name: str) -> ir.Value:
        if kind == "transposed":
            kernel = weights(x.shape[1], x.shape[1], 2, 2, seed=next(seeds))
            inputs = [x, b.constant(f"{name}/kernel", kernel)]
            return named(b.op("ConvTranspose", inputs, name=name, strides=[2, 2]), name)
        scales = b.constant(f"{name}:scales", np.array([1, 1, 2, 2], "f4"))
        rule = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        if kind == "linear":
            rule = {"coordinate_transformation_mode": "half_pixel"}
        return named(b.op("Resize", [x, None, scales], name=name, mode=kind, **rule), name)

    image = b.input("image", (batch, side, side, 1), ir.DataType.FLOAT)
    x = b.op("Transpose", [image], name="image:nchw", perm=[0, 3, 1, 2])
    b.appended.clear()
    skips = []
    for level, count in enumerate(channels):
        if level:
            pooled = f"pool{level}"
            x = b.op("MaxPool", [x], name=pooled, kernel_shape=[2, 2], strides=[2, 2])
            x = named(x, pooled)
        x = conv(conv(x, f"down{level}a", count, 3), f"down{level}b", count, 3)
        skips.append(x)
    skips.pop()
    for level, count in reversed(list(enumerate(channels[:-1]))):
        x = conv(up(x, f"up{level}"), f"up{level}conv", count, 2)
        x = named(b.op("Concat", [skips.pop(), x], name=f"join{level}", axis=1), f"join{level}")
        x = conv(conv(x, f"up{level}a", count, 3), f"up{level}b", count, 3)
    x = conv(x, "last", 2, 3)
    kernel = b.constant("mask/kernel", weights(1, 2, 1, 1, seed=next(seeds)))
    y = b.op("Sigmoid", [b.op("Conv", [x, kernel], name="mask:conv")], name="mask:nchw")
    mask = b.op("Transpose", [y], name="mask", perm=[0, 2, 3, 1])
    named(mask, "mask")
    mask.metadata_props.pop(metadata.TO_SOURCE)
    graph.outputs.append(mask)
    return ir.Model(graph, ir_version=IR_VERSION)


def run(model: ir.Model, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run a graph as it stands."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))
