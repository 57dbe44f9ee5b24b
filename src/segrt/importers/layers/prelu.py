"""PReLU: a learned slope, one a pixel and channel unless axes share it."""

from __future__ import annotations

from segrt.graph import layouts
from segrt.importers._layer_graph import JsonObject
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Layout, Tensor, WeightSpec, keras_layer
from segrt.importers.layers._inputs import single, weight, wrong_input


def _slope(_config: JsonObject, /) -> list[WeightSpec]:
    return [WeightSpec("alpha")]


@keras_layer("PReLU", weights=_slope)
def prelu(call: Call, x: Tensor) -> Tensor:
    """Convert PReLU; ``shared_axes`` counts axes from 1, without the batch axis."""
    x = single(call, x)
    shared = [] if call.config.get("shared_axes") is None else _config.integers(call, "shared_axes")
    if any(not 1 <= axis < x.rank for axis in shared):
        raise call.unsupported("shared_axes", shared, f"axes from 1 to {x.rank - 1}")
    sizes = [1 if axis in shared else x.shape[axis] for axis in range(1, x.rank)]
    alpha = weight(call, "alpha")
    fits = alpha.ndim == len(sizes) and all(
        size in (None, found) for size, found in zip(sizes, alpha.shape, strict=True)
    )
    if not fits:
        raise wrong_input(
            call, f"a slope of shape {alpha.shape}", f"a slope of shape {tuple(sizes)}"
        )
    if x.layout is Layout.CHANNELS_FIRST:
        # Another name: a second call of the layer may meet a tensor stored otherwise.
        slope = call.weight("alpha_channels_first", layouts.channels_to_front(alpha))
    else:
        slope = call.weight("alpha", alpha)
    return Tensor(call.op("PRelu", [x.value, slope]), x.layout)
