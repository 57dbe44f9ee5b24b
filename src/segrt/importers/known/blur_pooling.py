"""MaxBlurPool2D: a maximum at every pixel, then a strided blur (arXiv:1904.11486).

Source: https://github.com/juglab/n2v, n2v/nets/blurpool.py, 0.3. The blur is a saved array.
"""

from __future__ import annotations

from segrt.importers._layer_graph import JsonObject
from segrt.importers.known._base import known_layer
from segrt.importers.layers import _config
from segrt.importers.layers._base import REGISTRY, Call, Tensor, WeightSpec
from segrt.importers.layers._inputs import channels, image, weight


def _weights(_config: JsonObject, /) -> list[WeightSpec]:
    return [WeightSpec("blur_kernel", trainable=False)]


@known_layer("MaxBlurPool2D", origin="n2v", packages=("n2v",), required=("pool",), weights=_weights)
def max_blur_pool(call: Call, x: Tensor) -> Tensor:
    """Convert to MaxPool and a depthwise Conv, both with Keras' `same` padding."""
    x = image(call, x)
    pool = list(_config.sizes(call, "pool", 2))
    window: JsonObject = {"pool_size": pool, "strides": [1, 1], "padding": "same"}
    largest = call.apply_part("MaxPooling2D", window, x)
    kernel = weight(call, "blur_kernel", (3, 3, channels(call, x), 1))
    config: JsonObject = {
        "kernel_size": [3, 3],
        "strides": pool,
        "padding": "same",
        "use_bias": False,
    }
    part = call.part("DepthwiseConv2D", config, {"depthwise_kernel": kernel}, role="blur")
    converter = REGISTRY.find("DepthwiseConv2D")
    assert converter is not None
    result = converter.convert(part, largest)
    assert isinstance(result, Tensor)
    return result
