"""Max pooling that tells where the maxima lay, and its inverse, as SegNet ports carry them.

Sources:
    MaxPoolingWithArgmax2D, MaxUnpooling2D: https://github.com/ykamikawa/SegNet, layers.py.
tensorflow-addons' MaxUnpooling2D does not save its settings and is refused.
The place of a maximum is TensorFlow's ``(y * width + x) * channels + c``, as a floating number.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.graph.builder import static_shape
from segrt.importers.known._base import known_layer
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Tensor
from segrt.importers.layers._inputs import image, several, wrong_input

_PLACES = (1 << 24) - 1  # what float32 counts without gaps


@known_layer(
    "MaxPoolingWithArgmax2D",
    origin="SegNet",
    required=("pool_size", "strides", "padding"),
    optional=("data_format",),
)
def pooling_with_argmax(call: Call, x: Tensor) -> list[Tensor]:
    """Convert to MaxPool and its indices, brought to TensorFlow's count."""
    x = image(call, x)
    value = call.channels_first(x)
    _, depth, height, width = static_shape(value)
    kernel, strides = _config.sizes(call, "pool_size", 2), _config.sizes(call, "strides", 2)
    same = _config.choice(call, "padding", ("same", "valid")) == "same"
    if depth is None or height is None or width is None:
        raise wrong_input(call, f"an image of shape {x.shape}", "a known size")
    if depth * height * width > _PLACES:
        call.remark("places beyond 2^24 are rounded, as the layer itself does")
    pads = [0, 0, 0, 0]
    for axis, size in enumerate((height, width)):
        total = (-(-size // strides[axis]) - 1) * strides[axis] + kernel[axis] - size
        pads[axis], pads[axis + 2] = max(total, 0) // 2, max(total, 0) - max(total, 0) // 2
    outputs = call.ops(
        "MaxPool",
        [value],
        outputs=2,
        role="pool",
        kernel_shape=list(kernel),
        strides=list(strides),
        pads=pads if same else [0, 0, 0, 0],
    )
    # ONNX counts ((n * C + c) * H + y) * W + x.
    pixels = call.ints("pixels", [height * width])
    pixel = call.op("Mod", [outputs[1], pixels], role="pixel")
    place = call.op("Mul", [pixel, call.ints("depth", [depth])], role="scaled")
    channel = call.constant("channel", np.arange(depth).reshape(1, depth, 1, 1))
    place = call.op("Add", [place, channel], role="place")
    number = call.op("Cast", [place], role="argmax", to=int(ir.DataType.FLOAT))
    return [call.wrap(outputs[0]), call.wrap(number)]


@known_layer("MaxUnpooling2D", origin="SegNet", required=("size",), optional=("data_format",))
def unpooling_by_size(call: Call, xs: list[Tensor]) -> Tensor:
    """Convert to a scatter into zeros of the size times ``size``."""
    return _unpool(call, xs, _config.sizes(call, "size", 2))


def _unpool(call: Call, xs: list[Tensor], factor: tuple[int, ...]) -> Tensor:
    updates, places = several(call, xs, exactly=2)
    value, indices = call.channels_first(image(call, updates)), call.channels_first(places)
    _, depth, height, width = static_shape(value)
    if depth is None or height is None or width is None:
        raise wrong_input(call, f"an image of shape {updates.shape}", "a known size")
    height, width = height * factor[0], width * factor[1]
    whole = call.op("Cast", [indices], role="whole", to=int(ir.DataType.INT64))
    pixel = call.op("Div", [whole, call.ints("depth", [depth])], role="pixel")
    flat = call.ints("flat", [0, depth, -1])
    pixel = call.op("Reshape", [pixel, flat], role="flat_pixel")
    numbers = call.op("Reshape", [value, flat], role="flat_value")
    shape = call.op("Shape", [value], role="shape")
    batch = call.op("Slice", [shape, call.ints("zero", [0]), call.ints("one", [1])], role="batch")
    size = call.op(
        "Concat", [batch, call.ints("rest", [depth, height * width])], role="size", axis=0
    )
    empty = call.op("Expand", [call.scalar("nothing", 0.0), size], role="empty")
    # Where windows overlap one place may come twice: the definition adds.
    filled = call.op(
        "ScatterElements", [empty, pixel, numbers], role="filled", axis=2, reduction="add"
    )
    back = call.ints("back", [0, depth, height, width])
    return call.wrap(call.op("Reshape", [filled, back], role="unpooled"))
