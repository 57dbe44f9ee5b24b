"""Pixels to channels and back; patches."""

from __future__ import annotations

import numpy as np

from segrt.importers.layers._base import Call, Layout, Tensor
from segrt.importers.operations._base import Operand, operation
from segrt.importers.operations._values import floats, integer, integers
from segrt.importers.operations.convolving import by_layer

# A convolution that copies patches has this many numbers at most.
_LARGEST_KERNEL = 1 << 22
_PARAMETERS = "(input|x>x, block_size, data_format='NHWC')"
_KERAS = "(x, block_size, data_format='channels_last')"


@operation(
    f"tf:nn.depth_to_space|depth_to_space{_PARAMETERS}",
    f"node:DepthToSpace{_PARAMETERS}",
    f"keras:DepthToSpace{_KERAS}",
)
def depth_to_space(call: Call, x: Operand, block_size: Operand, data_format: str) -> Tensor:
    """Channels to blocks of pixels; the block's row and column count before the channel."""
    return _moved(call, x, block_size, data_format, "DepthToSpace", mode="DCR")


@operation(
    f"tf:nn.space_to_depth|space_to_depth{_PARAMETERS}",
    f"node:SpaceToDepth{_PARAMETERS}",
    f"keras:SpaceToDepth{_KERAS}",
)
def space_to_depth(call: Call, x: Operand, block_size: Operand, data_format: str) -> Tensor:
    """Blocks of pixels to channels."""
    return _moved(call, x, block_size, data_format, "SpaceToDepth")


def _moved(
    call: Call, x: Operand, block_size: Operand, data_format: str, op_type: str, **attributes: str
) -> Tensor:
    x = floats(call, x)
    formats = {"NHWC": False, "CHANNELS_LAST": False, "NCHW": True, "CHANNELS_FIRST": True}
    first = formats.get(str(data_format or "NHWC").upper())
    if first is None or x.rank != 4:
        raise call.unsupported("data_format", data_format, "NHWC or NCHW, and images")
    layout = Layout.SOURCE if first else Layout.CHANNELS_FIRST
    size = integer(call, "block_size", block_size)
    value = call.op(
        op_type, [call.in_layout(x, layout)], role="moved", blocksize=size, **attributes
    )
    return Tensor(value, layout)


@operation(
    "tf:image.extract_patches(images>x, sizes, strides, rates, padding)",
    "node:ExtractImagePatches(images>x, ksizes>sizes, strides, rates, padding)",
    "keras:ExtractPatches(images>x, size>sizes, strides=None, dilation_rate>rates=1, "
    "padding='valid', data_format=None)",
)
def extract_patches(
    call: Call,
    x: Operand,
    sizes: Operand,
    strides: Operand,
    rates: Operand,
    padding: str,
    data_format: object = None,
) -> Tensor:
    """Every window's pixels as channels: row, column, channel, the last fastest."""
    x = floats(call, x)
    kernel = _pair(call, "sizes", sizes)
    steps = kernel if strides is None else _pair(call, "strides", strides)
    dilation = _pair(call, "rates", 1 if rates is None else rates)
    depth = x.shape[-1]
    if x.rank != 4 or depth is None or data_format == "channels_first":
        raise call.unsupported("the image", x.shape, "N H W C with known channels")
    outputs = kernel[0] * kernel[1] * depth
    whole = all(size is not None and size % kernel[0] == 0 for size in x.shape[1:3])
    if kernel == steps and kernel[0] == kernel[1] and dilation == [1, 1] and whole:
        return space_to_depth(call, x, kernel[0], "NHWC")
    if outputs * outputs > _LARGEST_KERNEL:
        raise call.unsupported("sizes", kernel, f"patches of {depth} channels that are smaller")
    # A convolution whose kernels each have a single one.
    copies = np.eye(outputs, dtype=np.float32).reshape(*kernel, depth, outputs)
    config = {
        "filters": outputs,
        "kernel_size": kernel,
        "strides": steps,
        "dilation_rate": dilation,
        "padding": str(padding).lower(),
        "use_bias": False,
    }
    return by_layer(call, "Conv2D", x, config, {"kernel": copies})


def _pair(call: Call, name: str, found: Operand) -> list[int]:
    numbers = integers(call, name, found)
    if len(numbers) == 4 and numbers[0] == numbers[3] == 1:
        numbers = numbers[1:3]
    numbers = numbers * 2 if len(numbers) == 1 else numbers
    if len(numbers) != 2:
        raise call.unsupported(name, found, "height and width")
    return numbers
