"""LayerNormalization, RMSNormalization and UnitNormalization: statistics of one sample's axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from segrt.importers._layer_graph import Array, JsonObject
from segrt.importers.layers import _config
from segrt.importers.layers._axes import as_stored, several_axes, stored_axes
from segrt.importers.layers._base import Call, Layout, Tensor, WeightSpec, keras_layer
from segrt.importers.layers._inputs import single, weight, wrong_input

# The smallest norm that UnitNormalization divides by. Keras 2 bounds the squared norm by 1e-12,
# Keras 3.0 and 3.3 bound the norm by backend.epsilon(), later ones by 1e-12.
_SMALLEST_NORM = {2: 1e-6, 3: 1e-12}
_EARLY_KERAS_3 = ((3, 0), (3, 4))
_EARLY_SMALLEST_NORM = 1e-7


def _layer_norm_weights(config: JsonObject, /) -> list[WeightSpec]:
    rms = bool(config.get("rms_scaling"))
    specs = [WeightSpec("gamma")] if config.get("scale", True) or rms else []
    return specs + ([WeightSpec("beta")] if config.get("center", True) and not rms else [])


@keras_layer("LayerNormalization", weights=_layer_norm_weights)
def layer_normalization(call: Call, x: Tensor) -> Tensor:
    """Convert to LayerNormalization if the axes are stored last, else to its arithmetic.

    ``rms_scaling`` of early Keras 3 divides by the standard deviation and subtracts nothing.
    """
    x = single(call, x)
    axes = several_axes(call, x)
    rms = _config.flag(call, "rms_scaling", False)
    gamma = _affine(call, x, axes, "gamma") if rms or _config.flag(call, "scale", True) else None
    center = not rms and _config.flag(call, "center", True)
    beta = _affine(call, x, axes, "beta") if center else None
    stored = stored_axes(call, x, axes)
    if stored == list(range(stored[0], x.rank)) and not rms:
        return Tensor(_one_node(call, x, stored[0], gamma, beta), x.layout)
    mean = _mean(call, x.value, stored, "mean")
    centered = call.op("Sub", [x.value, mean], role="centered")
    square = call.op("Mul", [centered, centered], role="square")
    deviation = _root(call, _mean(call, square, stored, "variance"), _epsilon(call, 1e-3))
    divided = x.value if rms else centered
    value = call.op("Div", [divided, deviation], role="normalized")
    return Tensor(_scaled(call, x, value, gamma, beta), x.layout)


def _scale(_config: JsonObject, /) -> list[WeightSpec]:
    return [WeightSpec("scale")]


@keras_layer("RMSNormalization", weights=_scale)
def rms_normalization(call: Call, x: Tensor) -> Tensor:
    """Convert RMSNormalization, ``x / sqrt(mean(x^2) + epsilon) * scale``."""
    x = single(call, x)
    axes = several_axes(call, x)
    if axes != list(range(axes[0], x.rank)):
        # Keras multiplies by the scale without bringing it to the axes: it fits only there.
        raise call.unsupported("axis", axes, "the last axis, or several up to the last")
    scale = _affine(call, x, axes, "scale")
    square = call.op("Mul", [x.value, x.value], role="square")
    mean = _mean(call, square, stored_axes(call, x, axes), "mean_square")
    root = _root(call, mean, _epsilon(call, 1e-6))
    value = call.op("Div", [x.value, root], role="normalized")
    return Tensor(_scaled(call, x, value, scale, None), x.layout)


@keras_layer("UnitNormalization")
def unit_normalization(call: Call, x: Tensor) -> Tensor:
    """Convert UnitNormalization, ``x / max(norm(x), smallest)``."""
    x = single(call, x)
    axes = call.ints("axes", stored_axes(call, x, several_axes(call, x)))
    first, end = _EARLY_KERAS_3
    early = first <= call.keras_version < end
    smallest = _EARLY_SMALLEST_NORM if early else _SMALLEST_NORM[call.keras_major]
    return Tensor(unit_vectors(call, x.value, axes, smallest), x.layout)


def unit_vectors(
    call: Call, value: ir.Value, axes: ir.Value, smallest: float, role: str = "unit"
) -> ir.Value:
    """Append ``value / max(norm(value), smallest)`` over ``axes``."""
    square = call.op("Mul", [value, value], role=f"{role}_square")
    total = call.op("ReduceSum", [square, axes], role=f"{role}_total", keepdims=1)
    norm = call.op("Sqrt", [total], role=f"{role}_norm")
    bound = call.op("Max", [norm, call.scalar("smallest", smallest)], role=f"{role}_bounded")
    return call.op("Div", [value, bound], role=role)


def _affine(call: Call, x: Tensor, axes: list[int], name: str) -> Array:
    """Return the weight as it broadcasts against the stored input."""
    array = weight(call, name)
    sizes = [x.shape[axis] for axis in axes]
    known = array.shape if None in sizes and array.ndim == len(axes) else sizes
    if array.size != np.prod([size or 0 for size in known]):
        raise wrong_input(call, f"{name} of shape {array.shape}", f"shape {tuple(sizes)}")
    # Keras reshapes to ascending axes, whatever order the settings name them in.
    return as_stored(x, axes, array.reshape([size or 1 for size in known]))


def _one_node(
    call: Call, x: Tensor, first: int, gamma: Array | None, beta: Array | None
) -> ir.Value:
    if gamma is None:
        sizes = [size for size in x.value.shape or [] if isinstance(size, int)][first - x.rank :]
        if beta is not None:
            gamma = np.ones_like(beta)
        elif len(sizes) == x.rank - first:
            gamma = np.ones([1] * first + sizes, np.float32)
        else:
            raise wrong_input(call, f"an input of shape {x.shape}", "known sizes of the axes")
        scale = call.constant("ones", gamma.reshape(gamma.shape[first:]).astype(np.float32))
    else:
        scale = _stored_weight(call, x, "gamma", gamma.reshape(gamma.shape[first:]))
    inputs = [x.value, scale]
    if beta is not None:
        inputs.append(_stored_weight(call, x, "beta", beta.reshape(beta.shape[first:])))
    epsilon = _epsilon(call, 1e-3)
    return call.op("LayerNormalization", inputs, role="normalized", axis=first, epsilon=epsilon)


def _stored_weight(call: Call, x: Tensor, name: str, array: Array) -> ir.Value:
    # Another name: a second call of the layer may meet a tensor stored otherwise.
    suffix = "_channels_first" if x.layout is Layout.CHANNELS_FIRST else ""
    return call.weight(name + suffix, array)


def _scaled(
    call: Call, x: Tensor, value: ir.Value, gamma: Array | None, beta: Array | None
) -> ir.Value:
    if gamma is not None:
        name = "scale" if call.class_name == "RMSNormalization" else "gamma"
        factor = _stored_weight(call, x, name, gamma)
        value = call.op("Mul", [value, factor], role="scaled")
    if beta is not None:
        value = call.op("Add", [value, _stored_weight(call, x, "beta", beta)], role="shifted")
    return value


def _mean(call: Call, value: ir.Value, axes: Sequence[int], role: str) -> ir.Value:
    return call.op("ReduceMean", [value, call.ints(f"{role}_axes", axes)], role=role, keepdims=1)


def _root(call: Call, value: ir.Value, epsilon: float) -> ir.Value:
    total = call.op("Add", [value, call.scalar("epsilon", epsilon)], role="positive")
    return call.op("Sqrt", [total], role="root")


def _epsilon(call: Call, default: float) -> float:
    epsilon = _config.number(call, "epsilon", default)
    if epsilon < 0:
        raise call.unsupported("epsilon", epsilon, "zero or more")
    return epsilon
