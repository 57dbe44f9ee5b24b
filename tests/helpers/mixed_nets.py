"""Networks with layers that some engines refuse."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from helpers.tensorrt_graphs import unet
from segrt.graph import metadata
from segrt.graph.builder import GraphBuilder

REFUSED_BY_TENSORRT = "norm"
REFUSED_BY_OPENVINO = "zoom"


def refused_by_tensorrt(*, batch: int | None = 1, side: int = 16) -> ir.Model:
    """A U-Net whose skip goes through an LRN, for which there is no TensorRT layer here."""
    model = unet((4, 8), side=side, batch=batch)
    builder = GraphBuilder(model.graph)
    skip = _value(model, "down0b")
    fresh = builder.op("LRN", [skip], name=REFUSED_BY_TENSORRT, size=3, alpha=0.5)
    return _insert(model, skip, fresh)


def refused_by_openvino(*, batch: int | None = 1, side: int = 16) -> ir.Model:
    """A U-Net with a Resize of a region of the image: OpenVINO has no such mode."""
    model = unet((4, 8), side=side, batch=batch)
    builder = GraphBuilder(model.graph)
    low = _value(model, "down1b")
    region = builder.constant("region", np.array([0.1, 0.2, 0.9, 0.9], "f4"))
    sizes = builder.constant("region:sizes", np.array([side // 2, side // 2], np.int64))
    fresh = builder.op(
        "Resize", [low, region, None, sizes], name=REFUSED_BY_OPENVINO, mode="linear", axes=[2, 3],
        coordinate_transformation_mode="tf_crop_and_resize",
    )  # fmt: skip
    return _insert(model, low, fresh)


def too_large_for_half(*, side: int = 16) -> ir.Model:
    """A U-Net with a factor that half precision cannot hold, and a bound behind it."""
    model = unet((4, 8), side=side)
    builder = GraphBuilder(model.graph)
    low = _value(model, "down1b")
    large = builder.op("Mul", [low, builder.constant("huge", np.float32(1e6))], name="grow")
    _insert(model, low, large)
    return _insert(model, large, builder.op("Tanh", [large], name="bound"))


def _value(model: ir.Model, name: str) -> ir.Value:
    return next(v for node in model.graph for v in node.outputs if v.name == name)


def _insert(model: ir.Model, old: ir.Value, fresh: ir.Value) -> ir.Model:
    """Let all who read ``old`` read ``fresh``, which was appended at the end, instead."""
    node = fresh.producer()
    maker = old.producer()
    assert node is not None
    assert maker is not None
    for use in list(old.uses()):
        if use.node is not node:
            use.node.replace_input_with(use.idx, fresh)
    model.graph.remove(node)
    model.graph.insert_after(maker, node)
    metadata.tag_value(fresh, str(fresh.name), metadata.to_source(old))
    metadata.tag_node(node, str(fresh.name), "OwnLayer")
    return model
