"""DilatedMaxPool2D: the maximum over pixels that lie apart.

Source: https://github.com/vanvalenlab/deepcell-tf, layers/pooling.py, 0.12. Its `same` padding pads
the image and then pools the unpadded one: the same as `valid`.
"""

from __future__ import annotations

from segrt.importers.known._base import known_layer
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Tensor
from segrt.importers.layers._inputs import image


@known_layer(
    "DilatedMaxPool2D",
    origin="deepcell",
    packages=("deepcell",),
    required=("pool_size", "padding", "dilation_rate", "strides", "data_format"),
)
def dilated_max_pool(call: Call, x: Tensor) -> Tensor:
    """Convert to MaxPool."""
    value = call.channels_first(image(call, x))
    _config.choice(call, "padding", ("valid", "same"))
    return call.wrap(
        call.op(
            "MaxPool",
            [value],
            role="pool",
            kernel_shape=list(_config.sizes(call, "pool_size", 2)),
            strides=list(_config.sizes(call, "strides", 2)),
            dilations=list(_config.sizes(call, "dilation_rate", 2)),
        )
    )
