"""Transposed convolutions in one to three dimensions, with the output lengths that Keras defines.

Per axis, with input I, stride S and dilated kernel K, Keras wants this many outputs:

- without ``output_padding``: ``I * S`` for same, ``I * S + max(K - S, 0)`` for valid;
- with it: ``(I - 1) * S + K - 2 * P + output_padding``, P = K // 2 for same, 0 for valid.

The transposed convolution naturally gives ``(I - 1) * S + K``. TensorFlow sees it as the gradient
of a convolution over the *output*, so what is cut off in front is that convolution's SAME padding
in front; the rest is cut off behind. All these differences are free of I. Where Keras wants more
outputs than there are, the rest gets no contribution but the bias.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from segrt.graph import layouts
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Tensor, keras_layer, kernel_and_bias
from segrt.importers.layers._inputs import channels, image, weight
from segrt.importers.layers._windows import Window, read_window


@keras_layer(
    "Conv1DTranspose",
    "Convolution1DTranspose",
    "Conv2DTranspose",
    "Convolution2DTranspose",
    "Deconvolution2D",
    "Conv3DTranspose",
    "Convolution3DTranspose",
    "Deconvolution3D",
    weights=kernel_and_bias,
)
def transposed_convolution(call: Call, x: Tensor) -> Tensor:
    """Convert to ConvTranspose; Keras' kernel is (spatial..., O, I)."""
    x = image(call, x)
    window = read_window(call, "kernel_size")
    filters = _config.integer(call, "filters")
    if _config.integer(call, "groups", 1) != 1:
        raise call.unsupported("groups", call.config["groups"], "1: Keras ignores any other")
    depth = channels(call, x)
    kernel = weight(call, "kernel", (*window.kernel, filters, depth))
    stored = call.weight("kernel", layouts.transposed_kernel(kernel))
    bias = weight(call, "bias", (filters,)) if _config.flag(call, "use_bias", True) else None
    cuts = _cuts(call, window)
    short = any(after < 0 for _, after in cuts)
    inputs = [call.channels_first(x), stored]
    if bias is not None and not short:
        inputs.append(call.weight("bias", bias))
    value = call.op(
        "ConvTranspose",
        inputs,
        role="deconv",
        kernel_shape=window.kernel,
        strides=window.strides,
        dilations=window.dilations,
        pads=[before for before, _ in cuts] + [max(after, 0) for _, after in cuts],
    )
    if short:
        value = _lengthen(call, value, [max(-after, 0) for _, after in cuts])
        if bias is not None:
            value = call.op("Add", [value, _channel_bias(call, bias, len(cuts))], role="biased")
    return call.activation(call.wrap(value), call.config.get("activation"))


def _cuts(call: Call, window: Window) -> list[tuple[int, int]]:
    """Return per axis how much to cut off in front and behind; negative behind: to append."""
    rank = len(window.kernel)
    paddings: Sequence[int | None] = [None] * rank
    if call.keras_major == 3 and "output_padding" not in call.config:
        call.remark("the first Keras 3 versions did not save output_padding; taken as none")
    if call.config.get("output_padding") is not None:
        paddings = _config.sizes(call, "output_padding", rank, low=0)
    cuts = []
    for stride, extent, output_padding in zip(window.strides, window.extent, paddings, strict=True):
        # Outputs beyond (I - 1) * S.
        if output_padding is None:
            beyond = stride if window.same else stride + max(extent - stride, 0)
        else:
            beyond = extent - (2 * (extent // 2) if window.same else 0) + output_padding
            # TensorFlow accepts only a length whose convolution gives the input's length back.
            reachable = range(1, stride + 1) if window.same else range(extent, extent + stride)
            if beyond not in reachable:
                raise call.unsupported(
                    "output_padding",
                    call.config["output_padding"],
                    "below the stride, and "
                    "large enough that a convolution leads back to the input's size",
                )
        before = max(extent - beyond, 0) // 2 if window.same else 0
        cuts.append((before, extent - before - beyond))
    return cuts


def _lengthen(call: Call, value: ir.Value, behind: list[int]) -> ir.Value:
    """Append zeros behind the last pixels of each axis.

    ConvTranspose's own ``output_padding`` would do it too, but engines know it badly, and the
    appended pixels must not see the convolution's bias twice or not at all.
    """
    pads = call.ints("pads", [*[0] * (4 + len(behind)), *behind])
    return call.op("Pad", [value, pads], role="lengthened", mode="constant")


def _channel_bias(call: Call, bias: np.ndarray, spatial: int) -> ir.Value:
    return call.weight("bias", bias.reshape(1, -1, *[1] * spatial))
