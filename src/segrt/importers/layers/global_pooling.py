"""GlobalAveragePooling and GlobalMaxPooling in one to three dimensions."""

from __future__ import annotations

from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Layout, Tensor, keras_layer
from segrt.importers.layers._inputs import image


@keras_layer(
    "GlobalAveragePooling1D",
    "GlobalAvgPool1D",
    "GlobalAveragePooling2D",
    "GlobalAvgPool2D",
    "GlobalAveragePooling3D",
    "GlobalAvgPool3D",
)
def global_average_pooling(call: Call, x: Tensor) -> Tensor:
    """Convert to GlobalAveragePool; (N, C), or N 1... C with ``keepdims``."""
    return _global_pool(call, x, "GlobalAveragePool")


@keras_layer(
    "GlobalMaxPooling1D",
    "GlobalMaxPool1D",
    "GlobalMaxPooling2D",
    "GlobalMaxPool2D",
    "GlobalMaxPooling3D",
    "GlobalMaxPool3D",
)
def global_max_pooling(call: Call, x: Tensor) -> Tensor:
    """Convert to GlobalMaxPool; (N, C), or N 1... C with ``keepdims``."""
    return _global_pool(call, x, "GlobalMaxPool")


def _global_pool(call: Call, x: Tensor, op_type: str) -> Tensor:
    x = image(call, x)
    pooled = call.op(op_type, [call.channels_first(x)], role="pool")
    if _config.flag(call, "keepdims", False):
        return call.wrap(pooled)
    value = call.op("Squeeze", [pooled, call.ints("axes", range(2, x.rank))], role="vector")
    return Tensor(value, Layout.SOURCE)
