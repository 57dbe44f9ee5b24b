"""AdaptiveAveragePooling2D and AdaptiveMaxPooling2D: pooling to a given size.

Source: tensorflow-addons 0.23, layers/adaptive_pooling.py. It splits the input into equal parts
(`tf.split`), so the size divides the input's.
"""

from __future__ import annotations

from segrt.importers.known._base import known_layer
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Tensor
from segrt.importers.layers._inputs import image, wrong_input


@known_layer(
    "AdaptiveAveragePooling2D",
    "AdaptiveMaxPooling2D",
    origin="tensorflow-addons",
    packages=("Addons", "tensorflow_addons"),
    required=("output_size",),
    optional=("data_format",),
)
def adaptive_pooling(call: Call, x: Tensor) -> Tensor:
    """Convert to AveragePool or MaxPool whose windows are the parts."""
    x = image(call, x)
    size = _config.sizes(call, "output_size", 2)
    known = x.shape[1:3] if call.channels_last else x.shape[2:4]
    if any(have is None or have % wanted for have, wanted in zip(known, size, strict=True)):
        raise wrong_input(call, f"an image of {known}", f"a known size, a multiple of {size}")
    kernel = [(have or 0) // wanted for have, wanted in zip(known, size, strict=True)]
    op_type = "AveragePool" if "Average" in call.class_name else "MaxPool"
    value = call.op(
        op_type, [call.channels_first(x)], role="pool", kernel_shape=kernel, strides=kernel
    )
    return call.wrap(value)
