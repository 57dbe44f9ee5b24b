"""Bilinear resizing layers of DeepLab and PSPNet ports; all align the corners.

Sources:
    BilinearUpsampling: https://github.com/bonlime/keras-deeplab-v3-plus, model.py until 2019:
        `tf.image.resize_bilinear(..., align_corners=True)`.
    Interp: https://github.com/Vladkryvoruchko/PSPNet-Keras-tensorflow, layers_builder.py:
        `resize_images(..., align_corners=True)`.
"""

from __future__ import annotations

from segrt.importers.known._base import known_layer
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Tensor
from segrt.importers.layers._inputs import image, wrong_input
from segrt.importers.layers._resample import resize


@known_layer(
    "BilinearUpsampling",
    origin="keras-deeplab-v3-plus",
    required=("upsampling", "output_size", "data_format"),
)
def bilinear_upsampling(call: Call, x: Tensor) -> Tensor:
    """Convert to Resize, by a factor or to a size; the definition ignores ``data_format``."""
    x = image(call, x)
    if not call.channels_last:
        raise call.unsupported("data_format", "channels_first", "channels_last")
    if call.config.get("output_size") is not None:
        size = _config.sizes(call, "output_size", 2)
    else:
        factor = _config.sizes(call, "upsampling", 2)
        if None in x.shape[1:3]:
            raise wrong_input(call, f"an image of {x.shape[1:3]}", "a known size")
        size = ((x.shape[1] or 0) * factor[0], (x.shape[2] or 0) * factor[1])
    return _aligned(call, x, size)


@known_layer("Interp", origin="PSPNet-Keras-tensorflow", required=("new_size",))
def interp(call: Call, x: Tensor) -> Tensor:
    """Convert to Resize."""
    return _aligned(call, image(call, x), _config.sizes(call, "new_size", 2))


def _aligned(call: Call, x: Tensor, size: tuple[int, ...]) -> Tensor:
    value = call.channels_first(x)
    return call.wrap(resize(call, value, "bilinear", "align_corners", size=(size[0], size[1])))
