"""Conv1D, Conv2D and Conv3D: any stride, dilation and number of groups."""

from __future__ import annotations

from segrt.graph import layouts
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Tensor, keras_layer, kernel_and_bias
from segrt.importers.layers._inputs import channels, image, weight
from segrt.importers.layers._windows import read_window, slide


@keras_layer(
    "Conv1D",
    "Convolution1D",
    "Conv2D",
    "Convolution2D",
    "Conv3D",
    "Convolution3D",
    weights=kernel_and_bias,
)
def convolution(call: Call, x: Tensor) -> Tensor:
    """Convert to Conv; Keras' kernel is (spatial..., I / groups, O)."""
    x = image(call, x)
    window = read_window(call, "kernel_size", causal=True)
    filters = _config.integer(call, "filters")
    groups = _config.integer(call, "groups", 1)
    depth = channels(call, x, call.weights.get("kernel"), per=groups)
    if depth % groups or filters % groups:
        raise call.unsupported(
            "groups", groups, f"a divisor of {depth} input channels and {filters} filters"
        )
    kernel = weight(call, "kernel", (*window.kernel, depth // groups, filters))
    weights = [call.weight("kernel", layouts.convolution_kernel(kernel))]
    if _config.flag(call, "use_bias", True):
        weights.append(call.weight("bias", weight(call, "bias", (filters,))))
    value = slide(
        call,
        "Conv",
        call.channels_first(x),
        window,
        role="conv",
        weights=weights,
        dilations=window.dilations,
        group=groups,
    )
    return call.activation(call.wrap(value), call.config.get("activation"))
