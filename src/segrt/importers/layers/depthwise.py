"""DepthwiseConv1D, SeparableConv1D and their 2-D kin, with a depth multiplier."""

from __future__ import annotations

import onnx_ir as ir

from segrt.graph import layouts
from segrt.importers._layer_graph import JsonObject
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Tensor, WeightSpec, keras_layer
from segrt.importers.layers._inputs import channels, dimensions, image, weight
from segrt.importers.layers._windows import read_window, slide


def _depthwise_weights(config: JsonObject, /) -> list[WeightSpec]:
    bias = ["bias"] if config.get("use_bias", True) else []
    return [WeightSpec(name) for name in ["depthwise_kernel", *bias]]


def _separable_weights(config: JsonObject, /) -> list[WeightSpec]:
    bias = ["bias"] if config.get("use_bias", True) else []
    return [WeightSpec(name) for name in ["depthwise_kernel", "pointwise_kernel", *bias]]


@keras_layer("DepthwiseConv1D", "DepthwiseConv2D", weights=_depthwise_weights)
def depthwise_convolution(call: Call, x: Tensor) -> Tensor:
    """Convert to a Conv with one group a channel."""
    value, _ = _depthwise(call, image(call, x), with_bias=True)
    return call.activation(call.wrap(value), call.config.get("activation"))


@keras_layer(
    "SeparableConv1D",
    "SeparableConvolution1D",
    "SeparableConv2D",
    "SeparableConvolution2D",
    weights=_separable_weights,
)
def separable_convolution(call: Call, x: Tensor) -> Tensor:
    """Convert to a depthwise Conv without bias and a Conv of size 1 with it."""
    filters = _config.integer(call, "filters")
    inner, outputs = _depthwise(call, image(call, x), with_bias=False)
    single = [1] * dimensions(call)
    kernel = weight(call, "pointwise_kernel", (*single, outputs, filters))
    weights = [call.weight("pointwise_kernel", layouts.convolution_kernel(kernel))]
    if _config.flag(call, "use_bias", True):
        weights.append(call.weight("bias", weight(call, "bias", (filters,))))
    value = call.op("Conv", [inner, *weights], role="pointwise", kernel_shape=single)
    return call.activation(call.wrap(value), call.config.get("activation"))


def _depthwise(call: Call, x: Tensor, *, with_bias: bool) -> tuple[ir.Value, int]:
    """Append the depthwise Conv; return its value and its number of output channels."""
    window = read_window(call, "kernel_size", causal=True)
    multiplier = _config.integer(call, "depth_multiplier", 1)
    depth = channels(call, x, call.weights.get("depthwise_kernel"))
    kernel = weight(call, "depthwise_kernel", (*window.kernel, depth, multiplier))
    weights = [call.weight("depthwise_kernel", layouts.depthwise_kernel(kernel))]
    if with_bias and _config.flag(call, "use_bias", True):
        weights.append(call.weight("bias", weight(call, "bias", (depth * multiplier,))))
    value = slide(
        call,
        "Conv",
        call.channels_first(x),
        window,
        role="depthwise",
        weights=weights,
        dilations=window.dilations,
        group=depth,
    )
    return value, depth * multiplier
