"""Convolutions and pools by function: the layers of the same name do the work."""

from __future__ import annotations

from typing import Any

import numpy as np

from segrt.importers.layers._base import REGISTRY, Call, Tensor
from segrt.importers.operations._axes import items_of
from segrt.importers.operations._base import Array, Operand, operation
from segrt.importers.operations._values import (
    aligned,
    constant_array,
    floats,
    integers,
)
from segrt.importers.operations.padding import padded

_TF_CONV = (
    "(input|value>x, filters|filter>kernel, strides|stride>strides=1, padding='VALID', "
    "use_cudnn_on_gpu=True, data_format=None, dilations|rate|dilation_rate>dilations=None)"
)
_NODE_CONV = (
    "(input>x, filter>kernel, strides=1, padding='VALID', explicit_paddings=None, "
    "use_cudnn_on_gpu=True, data_format=None, dilations=None)"
)


def by_layer(
    call: Call, class_name: str, x: Tensor, config: dict[str, Any], weights: dict[str, Array]
) -> Tensor:
    """Convert as the layer of this class would.

    Raises:
        UnsupportedConfigError: No converter is registered for it.
    """
    converter = REGISTRY.find(class_name)
    if converter is None:
        raise call.unsupported("the operation", class_name, "1 to 3 spatial axes as Keras has them")
    result = converter.convert(call.part(class_name, config, weights), x)
    if not isinstance(result, Tensor):
        raise TypeError(f"{class_name} returned more than one tensor")
    return result


def _window(
    call: Call, x: Tensor, strides: Operand, padding: Operand, data_format: object
) -> tuple[dict[str, Any], Tensor]:
    """Return the settings that all windows share, and the input, explicitly padded."""
    first = str(data_format or "").lower() in ("channels_first", "nchw", "ncw", "ncdhw")
    config: dict[str, Any] = {"data_format": "channels_first" if first else "channels_last"}
    config["strides"] = _spatial(call, "strides", strides, x.rank, first)
    if isinstance(padding, str) and padding.upper() in ("SAME", "VALID"):
        return {**config, "padding": padding.lower()}, x
    if not isinstance(padding, list | tuple) or len(padding) != x.rank:
        raise call.unsupported("padding", padding, "SAME, VALID or pairs")
    pairs = [(int(before), int(behind)) for before, behind in padding]
    return {**config, "padding": "valid"}, padded(call, x, pairs, "constant", 0.0)


def _spatial(call: Call, name: str, found: Operand, rank: int, first: bool) -> list[int]:
    """Return one number a spatial axis, from one for all, one each, or one an axis."""
    numbers = integers(call, name, found)
    count = rank - 2
    if len(numbers) == rank:
        outer, numbers = (numbers[:2], numbers[2:]) if first else (
            [numbers[0], numbers[-1]], numbers[1:-1]
        )  # fmt: skip
        if outer != [1, 1]:
            raise call.unsupported(name, found, "1 for batch and channels")
    if len(numbers) == 1:
        numbers = numbers * count
    if len(numbers) != count:
        raise call.unsupported(name, found, f"{count} numbers")
    return numbers


def _dilated(call: Call, x: Tensor, config: dict[str, Any], dilations: Operand) -> None:
    found = 1 if dilations is None else dilations
    first = config["data_format"] == "channels_first"
    config["dilation_rate"] = _spatial(call, "dilations", found, x.rank, first)


@operation(
    f"tf:nn.conv1d|nn.conv2d|nn.conv3d|nn.convolution{_TF_CONV}",
    f"node:Conv2D|Conv3D{_NODE_CONV}",
    "keras:Conv(inputs>x, kernel, strides=1, padding='valid', data_format=None, "
    "dilation_rate>dilations=1)",
)
def convolution(
    call: Call,
    x: Operand,
    kernel: Operand,
    strides: Operand,
    padding: Operand,
    data_format: object = None,
    dilations: Operand = None,
    explicit_paddings: list[int] | None = None,
    use_cudnn_on_gpu: object = None,
) -> Tensor:
    """A convolution with a constant kernel (spatial..., I / groups, O)."""
    x = floats(call, x)
    array = _constant_kernel(call, kernel, x.rank)
    if padding == "EXPLICIT" and explicit_paddings:
        padding = np.reshape(explicit_paddings, (-1, 2)).tolist()
    config, x = _window(call, x, strides, padding, data_format)
    _dilated(call, x, config, dilations)
    size = x.shape[1 if config["data_format"] == "channels_first" else -1]
    config |= {
        "filters": array.shape[-1],
        "kernel_size": list(array.shape[:-2]),
        "groups": 1 if size is None else size // array.shape[-2],
        "use_bias": False,
    }
    return by_layer(call, f"Conv{x.rank - 2}D", x, config, {"kernel": array})


@operation(
    "tf:nn.depthwise_conv2d(input>x, filter|filters>kernel, strides, padding, rate>dilations=None, "
    "data_format=None, dilations=None)",
    f"node:DepthwiseConv2dNative{_NODE_CONV}",
    "keras:DepthwiseConv(inputs>x, kernel, strides=1, padding='valid', data_format=None, "
    "dilation_rate>dilations=1)",
)
def depthwise(
    call: Call,
    x: Operand,
    kernel: Operand,
    strides: Operand,
    padding: Operand,
    data_format: object = None,
    dilations: Operand = None,
    **_: object,
) -> Tensor:
    """A convolution of each channel with kernels of its own (spatial..., I, M)."""
    x = floats(call, x)
    array = _constant_kernel(call, kernel, x.rank)
    config, x = _window(call, x, strides, padding, data_format)
    _dilated(call, x, config, dilations)
    config |= {
        "kernel_size": list(array.shape[:-2]),
        "depth_multiplier": array.shape[-1],
        "use_bias": False,
    }
    weights = {"depthwise_kernel": array}
    return by_layer(call, f"DepthwiseConv{x.rank - 2}D", x, config, weights)


@operation(
    "tf:nn.separable_conv2d(input>x, depthwise_filter>inner, pointwise_filter>outer, strides, "
    "padding, rate|dilations>dilations=None, data_format=None)",
    "keras:SeparableConv(inputs>x, depthwise_kernel>inner, pointwise_kernel>outer, strides=1, "
    "padding='valid', data_format=None, dilation_rate>dilations=1)",
)
def separable(
    call: Call,
    x: Operand,
    inner: Operand,
    outer: Operand,
    strides: Operand,
    padding: Operand,
    data_format: object,
    dilations: Operand,
) -> Tensor:
    """A convolution of each channel, then one of size 1."""
    x = floats(call, x)
    arrays = [_constant_kernel(call, kernel, x.rank) for kernel in (inner, outer)]
    config, x = _window(call, x, strides, padding, data_format)
    _dilated(call, x, config, dilations)
    config |= {
        "filters": arrays[1].shape[-1],
        "kernel_size": list(arrays[0].shape[:-2]),
        "depth_multiplier": arrays[0].shape[-1],
        "use_bias": False,
    }
    weights = {"depthwise_kernel": arrays[0], "pointwise_kernel": arrays[1]}
    return by_layer(call, f"SeparableConv{x.rank - 2}D", x, config, weights)


@operation(
    "tf:nn.conv2d_transpose|nn.conv3d_transpose(input|value>x, filters|filter>kernel, "
    "output_shape, strides, padding='SAME', data_format=None, dilations=None)",
    "node:Conv2DBackpropInput(input_sizes>output_shape, filter>kernel, out_backprop>x, strides, "
    "padding, explicit_paddings=None, data_format=None, dilations=None)",
)
def transposed(
    call: Call,
    x: Operand,
    kernel: Operand,
    output_shape: Operand,
    strides: Operand,
    padding: Operand,
    data_format: object,
    dilations: Operand,
    explicit_paddings: object = None,
) -> Tensor:
    """A transposed convolution, where its output has the size that Keras' layer gives it."""
    result = transposed_convolution(call, x, kernel, strides, padding, data_format, dilations)
    wanted = items_of(call, "output_shape", output_shape)
    known = zip(wanted, result.shape, strict=True)
    if any(isinstance(a, int) and a > 0 and b is not None and a != b for a, b in known):
        raise call.unsupported("output_shape", wanted, f"{result.shape}")
    return result


@operation(
    "keras:ConvTranspose(inputs>x, kernel, strides=1, padding='valid', output_padding=None, "
    "data_format=None, dilation_rate>dilations=1)"
)
def keras_transposed(
    call: Call,
    x: Operand,
    kernel: Operand,
    strides: Operand,
    padding: Operand,
    output_padding: Operand,
    data_format: object,
    dilations: Operand,
) -> Tensor:
    """A transposed convolution with a constant kernel (spatial..., O, I)."""
    return transposed_convolution(
        call, x, kernel, strides, padding, data_format, dilations, output_padding
    )


def transposed_convolution(
    call: Call,
    x: Operand,
    kernel: Operand,
    strides: Operand,
    padding: Operand,
    data_format: object,
    dilations: Operand,
    output_padding: Operand = None,
) -> Tensor:
    """See `keras_transposed`."""
    x = floats(call, x)
    array = _constant_kernel(call, kernel, x.rank)
    config, x = _window(call, x, strides, padding, data_format)
    _dilated(call, x, config, dilations)
    config |= {
        "filters": array.shape[-2],
        "kernel_size": list(array.shape[:-2]),
        "output_padding": output_padding,
        "use_bias": False,
    }
    return by_layer(call, f"Conv{x.rank - 2}DTranspose", x, config, {"kernel": array})


def _constant_kernel(call: Call, kernel: Operand, rank: int) -> Array:
    if isinstance(kernel, Tensor):
        raise call.unsupported("the kernel", "computed when the network runs", "a constant")
    array = constant_array(call, kernel).astype(np.float32)
    if array.ndim != rank or not 3 <= rank <= 5:
        raise call.unsupported("the kernel", f"shape {array.shape}", f"{rank} axes")
    return array


def _register_pool(layer: str, *spellings: str) -> None:
    def pool(
        call: Call,
        x: Operand,
        size: Operand,
        strides: Operand,
        padding: Operand = "VALID",
        data_format: object = None,
        dilations: Operand = None,
    ) -> Tensor:
        x = floats(call, x)
        if dilations is not None and set(integers(call, "dilations", dilations)) != {1}:
            raise call.unsupported("dilations", dilations, "1")
        if not isinstance(padding, str):
            raise call.unsupported("padding", padding, "SAME or VALID")
        config, x = _window(call, x, size if strides is None else strides, padding, data_format)
        first = config["data_format"] == "channels_first"
        config["pool_size"] = _spatial(call, "the window", size, x.rank, first)
        return by_layer(call, f"{layer}Pooling{x.rank - 2}D", x, config, {})

    operation(*spellings)(pool)


_TF_POOL = (
    "(input|value>x, ksize>size, strides=None, padding='VALID', data_format=None, dilations=None)"
)
_NODE_POOL = "(input|value>x, ksize>size, strides, padding, data_format=None)"
_KERAS_POOL = "(inputs>x, pool_size>size, strides=None, padding='valid', data_format=None)"
_register_pool(
    "Max",
    f"tf:nn.max_pool|nn.max_pool_v2|nn.max_pool1d|nn.max_pool2d|nn.max_pool3d{_TF_POOL}",
    f"node:MaxPool|MaxPool3D{_NODE_POOL}",
    f"keras:MaxPool{_KERAS_POOL}",
)
_register_pool(
    "Average",
    f"tf:nn.avg_pool|nn.avg_pool_v2|nn.avg_pool1d|nn.avg_pool2d|nn.avg_pool3d{_TF_POOL}",
    f"node:AvgPool|AvgPool3D{_NODE_POOL}",
    f"keras:AveragePool{_KERAS_POOL}",
)


@operation(
    "tf:nn.bias_add(value>x, bias, data_format=None)",
    "node:BiasAdd(value>x, bias, data_format=None)",
)
def bias_add(call: Call, x: Operand, bias: Operand, data_format: object) -> Tensor:
    """Add one number a channel."""
    x = floats(call, x)
    if str(data_format or "").upper().startswith("NC"):
        if isinstance(bias, Tensor):
            raise call.unsupported("bias", "computed when the network runs", "a constant")
        bias = constant_array(call, bias).reshape([-1] + [1] * (x.rank - 2))
    values, layout = aligned(call, x, bias)
    return Tensor(call.op("Add", values, role="biased"), layout)
