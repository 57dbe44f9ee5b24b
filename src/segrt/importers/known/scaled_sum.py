"""CustomScaleLayer: a residual, scaled before it is added.

Source: keras.applications.inception_resnet_v2 of Keras 2.12 to 3.15.
"""

from __future__ import annotations

from segrt.importers.known._base import known_layer
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Tensor
from segrt.importers.layers._inputs import several


@known_layer(
    "CustomScaleLayer",
    origin="keras.applications",
    packages=("keras.applications", "keras.src.applications"),
    required=("scale",),
)
def scaled_sum(call: Call, xs: list[Tensor]) -> Tensor:
    """Convert ``x[0] + scale * x[1]``."""
    shortcut, residual = several(call, xs, exactly=2)
    factor = call.scalar("scale", _config.number(call, "scale"))
    scaled = call.op("Mul", [residual.value, factor], role="scaled")
    return call.apply_part("Add", {}, [shortcut, Tensor(scaled, residual.layout)])
