"""A scaled residual sum: CustomScaleLayer.

Source: keras.applications.inception_resnet_v2 of Keras 3 (a Lambda in earlier versions); the
residual scaling of arXiv:1602.07261.
"""

from __future__ import annotations

from collections.abc import Sequence

from segrt.importers.known._base import known_layer
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Tensor
from segrt.importers.layers._inputs import wrong_input


@known_layer(
    "CustomScaleLayer",
    origin="keras.applications",
    packages=("keras.applications", "keras.src.applications"),
    required=("scale",),
)
def custom_scale(call: Call, xs: Sequence[Tensor]) -> Tensor:
    """Convert ``x + scale * y``."""
    if isinstance(xs, Tensor) or len(xs) != 2:
        raise wrong_input(call, "another input", "a list of two tensors")
    x, y = xs
    scale = call.scalar("scale", _config.number(call, "scale"))
    scaled = call.op("Mul", [call.in_layout(y, x.layout), scale], role="scaled")
    return Tensor(call.op("Add", [x.value, scaled], role="sum"), x.layout)
