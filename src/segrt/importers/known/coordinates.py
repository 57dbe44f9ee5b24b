"""Channels with the pixel's place (CoordConv, arXiv:1807.03247).

Sources:
    CoordinateChannel2D: https://github.com/titu1994/keras-coordconv, coord.py: two channels from
        -1 to 1 behind the image's own; with ``use_radius`` a third one is
        ``sqrt((y - 0.5)^2 + (x - 0.5)^2)``.
    Location2D: https://github.com/vanvalenlab/deepcell-tf, layers/location.py, 0.12: two channels
        from 0 to 1, without the image's.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.importers._layer_graph import Array
from segrt.importers.known._base import known_layer
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Tensor
from segrt.importers.layers._inputs import image, wrong_input


@known_layer(
    "CoordinateChannel2D", origin="keras-coordconv", required=("use_radius", "data_format")
)
def coordinate_channels(call: Call, x: Tensor) -> Tensor:
    """Convert to Concat with constants of the input's size."""
    x = image(call, x)
    rows, columns = (2 * place - 1 for place in _places(call, x))
    places = list(np.meshgrid(rows, columns, indexing="ij"))
    if _config.flag(call, "use_radius", False):
        places.append(np.sqrt((places[0] - 0.5) ** 2 + (places[1] - 0.5) ** 2))
    repeated = _for_each_image(call, x, np.stack(places))
    value = call.channels_first(x)
    return call.wrap(call.op("Concat", [value, repeated], role="with_coordinates", axis=1))


@known_layer("Location2D", origin="deepcell", packages=("deepcell",), required=("data_format",))
def location(call: Call, x: Tensor) -> Tensor:
    """Convert to a constant of the input's size."""
    x = image(call, x)
    places = np.meshgrid(*_places(call, x), indexing="ij")
    return call.wrap(_for_each_image(call, x, np.stack(places)))


def _places(call: Call, x: Tensor) -> list[Array]:
    """Return where rows and columns lie, from 0 to 1."""
    sizes = x.shape[1:3] if call.channels_last else x.shape[2:4]
    if any(size is None or size < 2 for size in sizes):
        raise wrong_input(call, f"an image of {sizes}", "a known size of 2 or more")
    return [np.arange(size, dtype=np.float32) / np.float32(size - 1) for size in sizes if size]


def _for_each_image(call: Call, x: Tensor, planes: Array) -> ir.Value:
    """Return planes (channels, height, width) once for each image of the batch."""
    value = call.channels_first(x)
    constant = call.constant("coordinates", planes[None].astype(np.float32))
    shape = call.op("Shape", [value], role="shape")
    batch = call.op("Slice", [shape, call.ints("zero", [0]), call.ints("one", [1])], role="batch")
    full = call.op("Concat", [batch, call.ints("rest", planes.shape)], role="full", axis=0)
    return call.op("Expand", [constant, full], role="repeated")
