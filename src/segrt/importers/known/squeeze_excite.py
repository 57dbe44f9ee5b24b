"""SqueezeAndExcite2D: channels weighted by a small network on their means (arXiv:1709.01507).

Source: keras-cv 0.9, layers/regularization/squeeze_excite.py.
"""

from __future__ import annotations

from segrt.importers._layer_graph import JsonObject
from segrt.importers.known._base import known_layer
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Tensor, WeightSpec
from segrt.importers.layers._inputs import image


def _weights(_config: JsonObject, /) -> list[WeightSpec]:
    parts = ("squeeze_conv", "excite_conv")
    return [WeightSpec(f"{part}/{name}") for part in parts for name in ("kernel", "bias")]


@known_layer(
    "SqueezeAndExcite2D",
    origin="keras-cv",
    packages=("keras_cv", "keras_hub"),
    required=("filters", "bottleneck_filters", "squeeze_activation", "excite_activation"),
    weights=_weights,
)
def squeeze_and_excite(call: Call, x: Tensor) -> Tensor:
    """Convert to a mean, two convolutions of size 1 and a product."""
    x = image(call, x)
    mean = call.apply_part("GlobalAveragePooling2D", {"keepdims": True}, x)
    filters = _config.integer(call, "filters")
    for part, count, activation in (
        (
            "squeeze_conv",
            call.config.get("bottleneck_filters") or filters // 4,
            "squeeze_activation",
        ),
        ("excite_conv", filters, "excite_activation"),
    ):
        settings = {
            "filters": count, "kernel_size": [1, 1], "activation": call.config[activation],
        }  # fmt: skip
        mean = call.apply_part("Conv2D", settings, mean, role=part)
    return call.apply_part("Multiply", {}, [mean, x])
