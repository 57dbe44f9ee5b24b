"""TensorProduct: a product along the channels, wherever they lie.

Source: https://github.com/vanvalenlab/deepcell-tf, layers/tensor_product.py, 0.12.
"""

from __future__ import annotations

from segrt.importers.known._base import known_layer
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Tensor, kernel_and_bias
from segrt.importers.layers._inputs import single

_TRAINING = (
    "kernel_initializer", "bias_initializer", "kernel_regularizer", "bias_regularizer",
    "kernel_constraint", "bias_constraint",
)  # fmt: skip


@known_layer(
    "TensorProduct",
    origin="deepcell",
    packages=("deepcell",),
    required=("output_dim", "data_format", "activation", "use_bias"),
    optional=_TRAINING,
    weights=kernel_and_bias,
)
def tensor_product(call: Call, x: Tensor) -> Tensor:
    """Convert like Dense, whose last axis is the channels'."""
    if not call.channels_last:
        raise call.unsupported("data_format", "channels_first", "channels_last")
    settings = {
        "units": _config.integer(call, "output_dim"),
        "use_bias": _config.flag(call, "use_bias", True),
        "activation": call.config["activation"],
    }
    return call.apply_part("Dense", settings, single(call, x))
