"""ImageNormalization2D: each image by its own mean and deviation, or by those around each pixel.

Source: https://github.com/vanvalenlab/deepcell-tf, layers/normalization.py, 0.12. Deviations get
Keras' epsilon (1e-7) added, behind the root. Its ``use_bias`` and ``activation`` do nothing.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.importers._layer_graph import Array, JsonObject
from segrt.importers.known._base import known_layer
from segrt.importers.layers import _config
from segrt.importers.layers._base import REGISTRY, Call, Tensor, WeightSpec
from segrt.importers.layers._inputs import channels, identity, image

_EPSILON = 1e-7
_TRAINING = (
    "activation", "kernel_initializer", "bias_initializer", "kernel_regularizer",
    "bias_regularizer", "kernel_constraint", "bias_constraint",
)  # fmt: skip


def _weights(config: JsonObject, /) -> list[WeightSpec]:
    return [WeightSpec("bias", trainable=False)] if config.get("use_bias") else []


@known_layer(
    "ImageNormalization2D",
    origin="deepcell",
    packages=("deepcell",),
    required=("norm_method", "filter_size", "data_format", "use_bias"),
    optional=_TRAINING,
    weights=_weights,
)
def image_normalization(call: Call, x: Tensor) -> Tensor:
    """Convert to the definition's arithmetic."""
    x = image(call, x)
    method = call.config.get("norm_method")
    if method is None:
        return identity(call, x)
    if method not in ("whole_image", "std"):
        # `max` divides by the largest pixel of the batch: an image's result depends on others.
        raise call.unsupported("norm_method", method, "whole_image, std or None")
    value = call.channels_first(x)
    if method == "whole_image":
        return call.wrap(_whole(call, value))
    kernel = _mean_kernel(call, channels(call, x))
    centered = call.op("Sub", [value, _average(call, value, kernel, "around")], role="centered")
    square = call.op("Mul", [centered, centered], role="square")
    first = _average(call, centered, kernel, "first_moment")
    second = _average(call, square, kernel, "second_moment")
    variance = call.op(
        "Sub", [second, call.op("Mul", [first, first], role="squared")], role="variance"
    )
    return call.wrap(_divided(call, centered, variance))


def _whole(call: Call, value: ir.Value) -> ir.Value:
    axes = call.ints("axes", [2, 3])
    mean = call.op("ReduceMean", [value, axes], role="mean", keepdims=1)
    centered = call.op("Sub", [value, mean], role="centered")
    square = call.op("Mul", [centered, centered], role="square")
    variance = call.op("ReduceMean", [square, axes], role="variance", keepdims=1)
    return _divided(call, centered, variance)


def _divided(call: Call, centered: ir.Value, variance: ir.Value) -> ir.Value:
    deviation = call.op("Sqrt", [variance], role="deviation")
    divisor = call.op("Add", [deviation, call.scalar("epsilon", _EPSILON)], role="divisor")
    return call.op("Div", [centered, divisor], role="normalized")


def _mean_kernel(call: Call, depth: int) -> Array:
    """Return the depthwise kernel; the definition divides by the number of channels as well."""
    size = _config.integer(call, "filter_size")
    return np.full((size, size, depth, 1), 1.0 / (size * size * depth), np.float32)


def _average(call: Call, value: ir.Value, kernel: Array, role: str) -> ir.Value:
    config = {
        "kernel_size": list(kernel.shape[:2]), "padding": "same", "use_bias": False,
        "data_format": call.config.get("data_format"),
    }  # fmt: skip
    part = call.part("DepthwiseConv2D", config, {"depthwise_kernel": kernel}, role=role)
    converter = REGISTRY.find("DepthwiseConv2D")
    assert converter is not None
    result = converter.convert(part, call.wrap(value))
    assert isinstance(result, Tensor)
    return result.value
