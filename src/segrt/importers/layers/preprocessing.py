"""Rescaling and Normalization."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.graph import layouts
from segrt.importers._layer_graph import JsonObject
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Layout, Tensor, WeightSpec, keras_layer
from segrt.importers.layers._inputs import floating, single, weight, wrong_input

# Keras' backend.epsilon(): the smallest standard deviation that Normalization divides by.
_EPSILON = 1e-7

Float64Array = npt.NDArray[np.float64]


@keras_layer("Rescaling")
def rescaling(call: Call, x: Tensor) -> Tensor:
    """Convert Rescaling, ``x * scale + offset``; a list holds one number a channel."""
    x = floating(call, single(call, x))
    scale = _constant(call, x, "scale", _config.numbers(call, "scale"))
    offset = _constant(call, x, "offset", _config.numbers(call, "offset", 0.0))
    scaled = call.op("Mul", [x.value, scale], role="scaled")
    return Tensor(call.op("Add", [scaled, offset], role="rescaled"), x.layout)


def _normalization_weights(config: JsonObject, /) -> list[WeightSpec]:
    if config.get("mean") is not None:
        return []
    return [WeightSpec(name, False) for name in ("mean", "variance", "count")]


@keras_layer("Normalization", weights=_normalization_weights)
def normalization(call: Call, x: Tensor) -> Tensor:
    """Convert Normalization, ``(x - mean) / max(sqrt(variance), 1e-7)``, or its inverse."""
    x = floating(call, single(call, x))
    mean, variance = _moments(call, x)
    if (variance < 0).any():
        raise call.unsupported("variance", variance.min(), "zero or more")
    # float32 as Keras computes it: the root of a rounded variance is rounded again.
    deviation = np.maximum(np.sqrt(variance.astype(np.float32)), np.float32(_EPSILON))
    center = _constant(call, x, "mean", mean)
    spread = _constant(call, x, "deviation", deviation.astype(np.float64))
    if _config.flag(call, "invert", False):
        scaled = call.op("Mul", [x.value, spread], role="scaled")
        return Tensor(call.op("Add", [center, scaled], role="denormalized"), x.layout)
    centered = call.op("Sub", [x.value, center], role="centered")
    return Tensor(call.op("Div", [centered, spread], role="normalized"), x.layout)


def _moments(call: Call, x: Tensor) -> tuple[Float64Array, Float64Array]:
    """Return mean and variance, broadcastable against ``x`` in Keras' axis order."""
    axes = [] if call.config.get("axis", -1) is None else _config.integers(call, "axis", -1)
    kept = sorted(axis % x.rank for axis in axes if -x.rank <= axis < x.rank)
    if len(kept) != len(axes) or len(set(kept)) != len(kept):
        raise call.unsupported("axis", call.config.get("axis"), f"axes of {x.rank} axes")
    sizes = []
    for axis in kept:
        size = x.shape[axis]
        if size is None:
            raise wrong_input(call, f"an input of shape {x.shape}", f"a known size of axis {axis}")
        sizes.append(size)
    broadcast = [x.shape[axis] if axis in kept else 1 for axis in range(x.rank)]
    moments = []
    for name in ("mean", "variance"):
        if call.config.get("mean") is None:
            array = weight(call, name, sizes).astype(np.float64)
        else:
            array = _fill(call, name, _config.numbers(call, name), sizes)
        moments.append(array.reshape([size or 1 for size in broadcast]))
    return moments[0], moments[1]


def _fill(call: Call, name: str, array: Float64Array, sizes: list[int]) -> Float64Array:
    """Broadcast a configured moment to the kept axes' sizes; leading axes of size 1 may be more."""
    while array.ndim > len(sizes) and array.shape[0] == 1:
        array = array[0]
    try:
        return np.broadcast_to(array, sizes)
    except ValueError as error:
        raise call.unsupported(name, f"shape {array.shape}", f"shape {tuple(sizes)}") from error


def _constant(call: Call, x: Tensor, role: str, array: Float64Array) -> ir.Value:
    """Append a constant, given in Keras' axis order, as ``x`` is stored."""
    if array.ndim > x.rank:
        raise call.unsupported(role, f"shape {array.shape}", f"{x.rank} axes or fewer")
    known = zip(reversed(array.shape), reversed(x.shape), strict=False)
    if any(size not in (1, other) and other is not None for size, other in known):
        raise call.unsupported(role, f"shape {array.shape}", f"what fits the input {x.shape}")
    if array.ndim and x.layout is Layout.CHANNELS_FIRST:
        full = array.reshape([1] * (x.rank - array.ndim) + list(array.shape))
        array = np.stack([layouts.channels_to_front(image) for image in full])
    return call.constant(role, array.astype(np.float32))
