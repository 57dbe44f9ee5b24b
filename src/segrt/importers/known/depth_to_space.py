"""Layers around `tf.nn.depth_to_space` and `tf.nn.space_to_depth`.

Sources: https://github.com/twairball/keras-subpixel-conv and many others; "Real-Time Single Image
and Video Super-Resolution Using an Efficient Sub-Pixel CNN", arXiv:1609.05158. Classes that share
the name and hold a convolution have other settings and are refused.
"""

from __future__ import annotations

from segrt.importers.known._base import known_layer
from segrt.importers.layers import _config, _rearrange
from segrt.importers.layers._base import Call, Tensor
from segrt.importers.layers._inputs import image

_KEYS = ("scale", "scale_factor", "upscale_factor", "upscaling_factor", "block_size", "factor", "r")
_UP = (
    "PixelShuffle", "PixelShuffle2D", "SubpixelConv2D", "SubPixelConv2D", "SubPixelUpscaling",
    "DepthToSpace", "Depth2Space",
)  # fmt: skip
_DOWN = ("SpaceToDepth", "Space2Depth", "PixelUnshuffle")


def _block(call: Call) -> int:
    key = next(key for key in _KEYS if key in call.config)
    sizes = _config.sizes(call, key, 2)
    if sizes[0] != sizes[1]:
        raise call.unsupported(key, call.config[key], "one number")
    return sizes[0]


def depth_to_space(call: Call, x: Tensor) -> Tensor:
    """Convert to DepthToSpace."""
    value = call.channels_first(image(call, x))
    return call.wrap(_rearrange.depth_to_space(call, value, _block(call)))


def space_to_depth(call: Call, x: Tensor) -> Tensor:
    """Convert to SpaceToDepth."""
    value = call.channels_first(image(call, x))
    return call.wrap(_rearrange.space_to_depth(call, value, _block(call)))


for _key in _KEYS:
    for _names, _convert in ((_UP, depth_to_space), (_DOWN, space_to_depth)):
        known_layer(
            *_names, origin="several projects", required=(_key,), optional=("data_format",)
        )(_convert)
