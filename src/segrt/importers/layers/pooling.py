"""MaxPooling and AveragePooling in one to three dimensions; Keras' averages leave padding out."""

from __future__ import annotations

import math

import onnx_ir as ir

from segrt.importers.layers._base import Call, Tensor, keras_layer
from segrt.importers.layers._inputs import image
from segrt.importers.layers._windows import (
    Window,
    explicit_pads,
    read_window,
    runtime_padding,
    slide,
)


@keras_layer("MaxPooling1D", "MaxPool1D", "MaxPooling2D", "MaxPool2D", "MaxPooling3D", "MaxPool3D")
def max_pooling(call: Call, x: Tensor) -> Tensor:
    """Convert to MaxPool."""
    x = image(call, x)
    window = read_window(call, "pool_size", 2)
    value = call.channels_first(x)
    return call.wrap(slide(call, "MaxPool", value, window, role="pool", fill=-math.inf))


@keras_layer(
    "AveragePooling1D",
    "AvgPool1D",
    "AveragePooling2D",
    "AvgPool2D",
    "AveragePooling3D",
    "AvgPool3D",
)
def average_pooling(call: Call, x: Tensor) -> Tensor:
    """Convert to AveragePool without padding in the averages."""
    x = image(call, x)
    window = read_window(call, "pool_size", 2)
    value = call.channels_first(x)
    pooled = slide(call, "AveragePool", value, window, role="pool")
    if explicit_pads(value, window) is None and runtime_padding(window):
        pooled = call.op("Div", [pooled, _share_inside(call, value, window)], role="average")
    return call.wrap(pooled)


def _share_inside(call: Call, x: ir.Value, window: Window) -> ir.Value:
    """Return which share of every window lies inside the image, where padding is a node."""
    size = call.op("Shape", [x], role="plane", start=2)
    shape = call.op("Concat", [call.ints("single", [1, 1]), size], role="shape", axis=0)
    ones = call.op("Expand", [call.scalar("unit", 1.0), shape], role="ones")
    if ones.shape is None:
        ones.shape = ir.Shape([1, 1, *(x.shape or ())[2:]])
    return slide(call, "AveragePool", ones, window, role="share")
