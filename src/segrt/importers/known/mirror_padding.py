"""Padding layers that mirror the image: `tf.pad` with REFLECT or SYMMETRIC.

Published definitions agree but for the order of (a, b) in ``padding``: some mean (width, height).
Two different numbers are therefore refused. Among the sources: the CycleGAN example of
https://keras.io/examples/generative/cyclegan (``padding`` is not saved there: refused).
"""

from __future__ import annotations

from segrt.importers.known._base import known_layer
from segrt.importers.layers import _config, _rearrange
from segrt.importers.layers._base import Call, Tensor
from segrt.importers.layers._inputs import image

_REFLECT = ("ReflectionPadding2D", "ReflectPadding2D", "ReflectionPad2D", "ReflectionPad2d")
_SYMMETRIC = ("SymmetricPadding2D", "SymmetricPad2D")


@known_layer(
    *_REFLECT, *_SYMMETRIC, origin="several projects", required=("padding",),
    optional=("data_format",),
)  # fmt: skip
def mirror_padding(call: Call, x: Tensor) -> Tensor:
    """Convert to Pad, or to what mirrors with the edge."""
    x = image(call, x)
    borders = _config.borders(call, "padding", 2, _config.REQUIRED)
    found = call.config["padding"]
    nested = isinstance(found, list | tuple) and isinstance(found[0], list | tuple)
    if not nested and borders[0] != borders[1]:
        raise call.unsupported("padding", found, "the same for rows and columns, or four numbers")
    with_edge = call.class_name in _SYMMETRIC
    return call.wrap(_rearrange.mirror(call, call.channels_first(x), borders, with_edge=with_edge))
