"""Layers that act in training only."""

from __future__ import annotations

from segrt.importers.layers._base import Call, Tensor, keras_layer
from segrt.importers.layers._inputs import identity, refuse_training, single


@keras_layer(
    "Dropout",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "GaussianNoise",
    "GaussianDropout",
    "AlphaDropout",
    "ActivityRegularization",
    "Identity",
)
def dropout(call: Call, x: Tensor) -> Tensor:
    """Convert to Identity; called with ``training=True`` a dropout layer is random: refused."""
    x = single(call, x)
    refuse_training(call, "inference: noise that stays on at inference cannot be converted")
    return identity(call, x)
