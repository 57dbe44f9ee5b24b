"""ZeroPadding2D and Cropping2D."""

from __future__ import annotations

from segrt.graph.builder import static_shape
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Tensor, keras_layer
from segrt.importers.layers._inputs import image, wrong_input

_TO_THE_END = (1 << 63) - 1


@keras_layer("ZeroPadding2D")
def zero_padding_2d(call: Call, x: Tensor) -> Tensor:
    """Convert ZeroPadding2D to Pad."""
    x = image(call, x)
    (top, bottom), (left, right) = _config.borders(call, "padding", 1)
    pads = call.ints("pads", [0, 0, top, left, 0, 0, bottom, right])
    return call.wrap(call.op("Pad", [call.channels_first(x), pads], role="pad", mode="constant"))


@keras_layer("Cropping2D")
def cropping_2d(call: Call, x: Tensor) -> Tensor:
    """Convert Cropping2D to Slice."""
    x = image(call, x)
    borders = _config.borders(call, "cropping", 0)
    value = call.channels_first(x)
    for size, (before, after) in zip(static_shape(value)[2:], borders, strict=True):
        if size is not None and before + after >= size:
            raise wrong_input(call, f"an image of shape {x.shape}", f"more than {borders} pixels")
    starts = [before for before, _ in borders]
    # A negative end counts from behind, but 0 would mean the front.
    ends = [-after if after else _TO_THE_END for _, after in borders]
    inputs = [call.ints("starts", starts), call.ints("ends", ends), call.ints("axes", [2, 3])]
    return call.wrap(call.op("Slice", [value, *inputs], role="crop"))
