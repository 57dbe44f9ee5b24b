"""Norms, and normalization by them or by moments."""

from __future__ import annotations

import math

import numpy as np

from segrt.importers.layers._base import Call, Tensor
from segrt.importers.operations._base import Operand, operation
from segrt.importers.operations._values import (
    axes_of,
    axis_of,
    constant_array,
    floats,
    number,
)
from segrt.importers.operations.arithmetic import binary, rsqrt, square
from segrt.importers.operations.reduction import reduced, variance
from segrt.importers.operations.shaping import reshaped

# Keras' backend.epsilon().
_EPSILON = 1e-7
# TensorFlow's fused kernel raised a smaller epsilon to cuDNN's minimum up to 2.11.
_FUSED_EPSILON = 1.001e-5


@operation(
    "tf:math.l2_normalize|nn.l2_normalize|linalg.l2_normalize(x, axis|dim>axis=None, epsilon=1e-12)"
)
def l2_normalize(call: Call, x: Operand, axis: Operand, epsilon: Operand) -> Tensor:
    """``x / sqrt(max(sum(x^2), epsilon))``."""
    x = floats(call, x)
    total = reduced(call, "ReduceSum", square(call, x), axis, True)
    limited = binary(call, "Max", total, number(call, "epsilon", epsilon))
    return binary(call, "Mul", x, rsqrt(call, limited))


@operation("keras:Normalize(x, axis=-1, order=2, epsilon=None)")
def normalize(call: Call, x: Operand, axis: Operand, order: Operand, epsilon: Operand) -> Tensor:
    """The value by its norm along axes, which counts as ``epsilon`` at least."""
    x = floats(call, x)
    least = _EPSILON if epsilon is None else number(call, "epsilon", epsilon)
    if number(call, "order", order) != 2:
        length = norm(call, x, order, axis, True)
        return binary(call, "Div", x, binary(call, "Max", length, least))
    total = reduced(call, "ReduceSum", square(call, x), axis, True)
    # One over 0 is no number every engine has; the root is limited from below instead.
    root = Tensor(call.op("Sqrt", [total.value]), total.layout)
    return binary(call, "Div", x, binary(call, "Max", root, least))


@operation(
    "tf:norm|linalg.norm|norm_v2(tensor>x, ord>order='euclidean', axis=None, "
    "keepdims|keep_dims>keepdims=False)",
    "tf:math.reduce_euclidean_norm(input_tensor>x, axis=None, keepdims=False, ord>order=None)",
    "keras:Norm(x, ord>order=None, axis=None, keepdims=False)",
)
def norm(call: Call, x: Operand, order: Operand, axis: Operand, keepdims: bool | None) -> Tensor:
    """A vector's norm along axes; over two axes only the root of all squares."""
    x = floats(call, x)
    axes, keep = axes_of(call, x, axis), bool(keepdims)
    if order in (None, "euclidean", "fro") or (order == 2 and len(axes) == 1):
        total = reduced(call, "ReduceSum", square(call, x), axes, keep)
        return Tensor(call.op("Sqrt", [total.value]), total.layout)
    if len(axes) > 1 and axis is not None:
        raise call.unsupported("ord", order, "euclidean over several axes")
    size = Tensor(call.op("Abs", [x.value]), x.layout)
    if order in ("inf", math.inf, "Infinity"):
        return reduced(call, "ReduceMax", size, axes, keep)
    power = number(call, "ord", order)
    if power == 1:
        return reduced(call, "ReduceSum", size, axes, keep)
    if power <= 0:
        raise call.unsupported("ord", order, "more than 0")
    total = reduced(call, "ReduceSum", binary(call, "Pow", size, power), axes, keep)
    return binary(call, "Pow", total, 1 / power)


@operation(
    "tf:nn.batch_normalization(x, mean, variance>spread, offset, scale, variance_epsilon>epsilon)",
    "keras:BatchNorm(x, mean, variance>spread, offset=None, scale=None, axis=-1, epsilon=0.001)",
)
def batch_normalization(
    call: Call,
    x: Operand,
    mean: Operand,
    spread: Operand,
    offset: Operand,
    scale: Operand,
    epsilon: Operand,
    axis: Operand = -1,
) -> Tensor:
    """``(x - mean) * scale / sqrt(variance + epsilon) + offset``."""
    x = floats(call, x)
    at = axis_of(call, x, axis)
    mean, spread, offset, scale = (
        _along(call, x, item, at) for item in (mean, spread, offset, scale)
    )
    factor = rsqrt(call, binary(call, "Add", floats(call, spread), number(call, "eps", epsilon)))
    if scale is not None:
        factor = binary(call, "Mul", factor, scale)
    moved = binary(call, "Mul", mean, factor)
    shift = binary(call, "Sub", 0.0 if offset is None else offset, moved)
    return binary(call, "Add", binary(call, "Mul", x, factor), shift)


def _along(call: Call, x: Tensor, vector: Operand, axis: int) -> Operand:
    """Return a vector of numbers along an axis so that it broadcasts with ``x``."""
    if vector is None or axis == x.rank - 1:
        return vector
    shape = [-1] + [1] * (x.rank - 1 - axis)
    if isinstance(vector, Tensor):
        return reshaped(call, vector, shape) if vector.rank == 1 else vector
    array = constant_array(call, vector)
    return array.reshape(shape) if array.ndim == 1 else array


_FUSED = (
    "(x, scale, offset, mean, variance>spread, epsilon=0.001, data_format='NHWC', "
    "is_training=True, exponential_avg_factor=1.0)"
)


@operation(
    f"tf:nn.fused_batch_norm{_FUSED}",
    f"node:FusedBatchNorm|FusedBatchNormV2|FusedBatchNormV3{_FUSED}",
)
def fused_batch_norm(
    call: Call,
    x: Operand,
    scale: Operand,
    offset: Operand,
    mean: Operand,
    spread: Operand,
    epsilon: Operand,
    data_format: str,
    is_training: bool,
    exponential_avg_factor: object = None,
) -> Tensor:
    """Batch normalization by kernel, with given moments."""
    if is_training:
        raise call.unsupported("is_training", True, "false: a batch's own moments")
    axis = 1 if str(data_format).startswith("NC") else -1
    least = max(number(call, "epsilon", epsilon), _FUSED_EPSILON)
    return batch_normalization(call, x, mean, spread, offset, scale, least, axis)


@operation(
    "keras:LayerNorm(x, gamma|scale>gamma=None, beta|offset>beta=None, axis=-1, epsilon=None, "
    "rms_scaling=False)"
)
def layer_norm(
    call: Call,
    x: Operand,
    gamma: Operand,
    beta: Operand,
    axis: Operand,
    epsilon: Operand,
    rms_scaling: bool,
) -> Tensor:
    """The value less its mean, by the root of its variance, along axes."""
    if rms_scaling:
        raise call.unsupported("rms_scaling", True, "false")
    x = floats(call, x)
    axes = axes_of(call, x, axis)
    if axes != [x.rank - 1] and (gamma is not None or beta is not None):
        raise call.unsupported("axis", axis, "the last with gamma or beta")
    least = _EPSILON if epsilon is None else number(call, "epsilon", epsilon)
    center = reduced(call, "ReduceMean", x, axes, True)
    spread = variance(call, x, axes, True)
    factor = rsqrt(call, binary(call, "Add", spread, least))
    result = binary(call, "Mul", binary(call, "Sub", x, center), factor)
    result = result if gamma is None else binary(call, "Mul", result, gamma)
    return result if beta is None else binary(call, "Add", result, beta)


@operation("keras:RMSNorm(x, scale=None, axis=-1, epsilon=None)")
def rms_norm(call: Call, x: Operand, scale: Operand, axis: Operand, epsilon: Operand) -> Tensor:
    """The value by the root of the mean of its squares, along axes."""
    x = floats(call, x)
    least = _EPSILON if epsilon is None else number(call, "epsilon", epsilon)
    mean = reduced(call, "ReduceMean", square(call, x), axis, True)
    result = binary(call, "Mul", x, rsqrt(call, binary(call, "Add", mean, least)))
    return result if scale is None else binary(call, "Mul", result, scale)


@operation("tf:image.per_image_standardization(image>x)")
def standardized(call: Call, x: Operand) -> Tensor:
    """Each image less its mean, by its deviation (one over the root of its size at least)."""
    x = floats(call, x)
    axes = list(range(1, x.rank))
    sizes = x.shape[1:]
    if None in sizes:
        raise call.unsupported("the image", x.shape, "known sizes")
    least = 1 / math.sqrt(math.prod(size for size in sizes if size))
    center = reduced(call, "ReduceMean", x, axes, True)
    spread = variance(call, x, axes, True)
    root = Tensor(call.op("Sqrt", [spread.value]), spread.layout)
    return binary(call, "Div", binary(call, "Sub", x, center), binary(call, "Max", root, least))


@operation(
    "tf:image.rgb_to_grayscale(images>x)", "keras:RGBToGrayscale(images>x, data_format=None)"
)
def grayscale(call: Call, x: Operand, data_format: object = None) -> Tensor:
    """Weighted sum of red, green and blue."""
    image = floats(call, x)
    axis = image.rank - 3 if data_format == "channels_first" else image.rank - 1
    if image.shape[axis] == 1:
        return image
    weights = np.array([0.2989, 0.5870, 0.1140], dtype=np.float32)
    product = binary(call, "Mul", image, weights.reshape([-1] + [1] * (image.rank - 1 - axis)))
    return reduced(call, "ReduceSum", product, axis, True)
