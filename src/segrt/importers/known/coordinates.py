"""CoordinateChannel2D: two channels with the pixel's place, -1 to 1 (CoordConv, arXiv:1807.03247).

Source: https://github.com/titu1994/keras-coordconv, coord.py. With ``use_radius`` a third one is
``sqrt((y - 0.5)^2 + (x - 0.5)^2)``.
"""

from __future__ import annotations

import numpy as np

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
    value = call.channels_first(x)
    height, width = x.shape[1:3] if call.channels_last else x.shape[2:4]
    if not height or not width or min(height, width) < 2:
        raise wrong_input(call, f"an image of {(height, width)}", "a known size of 2 or more")
    rows = np.arange(height, dtype=np.float32) / np.float32(height - 1) * 2 - 1
    columns = np.arange(width, dtype=np.float32) / np.float32(width - 1) * 2 - 1
    places = list(np.meshgrid(rows, columns, indexing="ij"))
    if _config.flag(call, "use_radius", False):
        places.append(np.sqrt((places[0] - 0.5) ** 2 + (places[1] - 0.5) ** 2))
    planes = call.constant("coordinates", np.stack(places)[None].astype(np.float32))
    # The planes for each image of the batch: added to zeros of the batch's size.
    shape = call.op("Shape", [value], role="shape")
    batch = call.op("Slice", [shape, call.ints("zero", [0]), call.ints("one", [1])], role="batch")
    rest = call.ints("rest", [len(places), height, width])
    full = call.op("Concat", [batch, rest], role="full", axis=0)
    repeated = call.op("Expand", [planes, full], role="repeated")
    return call.wrap(call.op("Concat", [value, repeated], role="with_coordinates", axis=1))
