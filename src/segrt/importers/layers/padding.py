"""ZeroPadding and Cropping in one to three dimensions."""

from __future__ import annotations

from segrt.graph.builder import static_shape
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Tensor, keras_layer
from segrt.importers.layers._inputs import dimensions, image, wrong_input

_TO_THE_END = (1 << 63) - 1


@keras_layer("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
def zero_padding(call: Call, x: Tensor) -> Tensor:
    """Convert ZeroPadding to Pad."""
    x = image(call, x)
    before, after = zip(*_config.borders(call, "padding", dimensions(call), 1), strict=True)
    pads = call.ints("pads", [0, 0, *before, 0, 0, *after])
    return call.wrap(call.op("Pad", [call.channels_first(x), pads], role="pad", mode="constant"))


@keras_layer("Cropping1D", "Cropping2D", "Cropping3D")
def cropping(call: Call, x: Tensor) -> Tensor:
    """Convert Cropping to Slice."""
    x = image(call, x)
    borders = _config.borders(call, "cropping", dimensions(call), 0)
    value = call.channels_first(x)
    for size, (before, after) in zip(static_shape(value)[2:], borders, strict=True):
        if size is not None and before + after >= size:
            raise wrong_input(call, f"an image of shape {x.shape}", f"more than {borders} pixels")
    starts = [before for before, _ in borders]
    # A negative end counts from behind, but 0 would mean the front.
    ends = [-after if after else _TO_THE_END for _, after in borders]
    axes = call.ints("axes", range(2, x.rank))
    inputs = [call.ints("starts", starts), call.ints("ends", ends), axes]
    return call.wrap(call.op("Slice", [value, *inputs], role="crop"))
