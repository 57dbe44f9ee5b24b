"""GroupNormalization: statistics of groups of channels; ``groups=-1`` is instance normalization."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.graph.builder import static_shape
from segrt.importers._layer_graph import Array, JsonObject
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Layout, Tensor, WeightSpec, keras_layer
from segrt.importers.layers._inputs import single, weight, wrong_input


def gamma_and_beta(config: JsonObject, /) -> list[WeightSpec]:
    """Return ``gamma`` and ``beta``, each where its setting asks for it."""
    specs = [WeightSpec("gamma")] if config.get("scale", True) else []
    return specs + ([WeightSpec("beta")] if config.get("center", True) else [])


@keras_layer("GroupNormalization", weights=gamma_and_beta)
def group_normalization(call: Call, x: Tensor) -> Tensor:
    """Convert to InstanceNormalization of the groups, and a scale and shift of the channels.

    ONNX' own GroupNormalization has one scale a group before opset 21, and is deprecated there.
    """
    x = single(call, x)
    value, order = _channels_second(call, x)
    axis = _config.axis(call)
    channels = x.shape[axis] if -x.rank <= axis < x.rank else None
    if channels is None or x.rank < 2:
        raise wrong_input(call, f"an input of shape {x.shape}", "a known number of channels")
    groups = _groups(call, channels)
    epsilon = _config.number(call, "epsilon", 1e-3)
    gamma = _affine(call, "scale", "gamma", channels, 1.0)
    beta = _affine(call, "center", "beta", channels, 0.0)
    if groups == channels and x.rank > 2:
        affine = [call.weight("gamma", gamma), call.weight("beta", beta)]
        value = call.op("InstanceNormalization", [value, *affine], epsilon=epsilon)
    else:
        value = _grouped(call, value, groups, epsilon)
        shape = [channels] + [1] * (x.rank - 2)
        for role, op_type, array in (("gamma", "Mul", gamma), ("beta", "Add", beta)):
            if role in call.weights:
                factor = call.weight(role, array.reshape(shape))
                value = call.op(op_type, [value, factor], role=f"with_{role}")
    if order is None:
        return Tensor(value, x.layout)
    if order == "channels_first":
        return Tensor(value, Layout.CHANNELS_FIRST)
    return Tensor(call.op("Transpose", [value], role="back", perm=order), Layout.SOURCE)


def _channels_second(call: Call, x: Tensor) -> tuple[ir.Value, list[int] | str | None]:
    """Return the value with the normalized axis second, and how to undo the reordering.

    None for nothing, ``channels_first`` where that is a layout of its own, else a permutation.
    """
    axis = call.stored_axis(x, _config.axis(call))
    if axis == 0:
        raise call.unsupported("axis", 0, "an axis other than the batch")
    if axis == 1:
        return x.value, None
    if x.layout is Layout.SOURCE and axis == x.rank - 1:
        return call.in_layout(x, Layout.CHANNELS_FIRST), "channels_first"
    x = Tensor(call.source(x), Layout.SOURCE)
    axis = _config.axis(call) % x.rank
    there = [0, axis, *(other for other in range(1, x.rank) if other != axis)]
    value = call.op("Transpose", [x.value], role="channels_second", perm=there)
    return value, sorted(range(x.rank), key=lambda index: there[index])


def _groups(call: Call, channels: int) -> int:
    groups = _config.integer(call, "groups", 32, low=-1)
    groups = channels if groups == -1 else groups
    if groups < 1 or channels % groups:
        raise call.unsupported("groups", groups, f"a divisor of {channels} channels")
    return groups


def _affine(call: Call, key: str, name: str, channels: int, neutral: float) -> Array:
    if _config.flag(call, key, True):
        return weight(call, name, (channels,))
    return np.full((channels,), neutral, np.float32)


def _grouped(call: Call, value: ir.Value, groups: int, epsilon: float) -> ir.Value:
    """Normalize N C spatial... in groups of neighbouring channels."""
    sizes = static_shape(value)[1:]
    if None in sizes:
        shape = call.op("Shape", [value])
    else:
        shape = call.ints("shape", [0, *(size or 0 for size in sizes)])
    inside = call.op("Reshape", [value, call.ints("grouped_shape", [0, groups, -1])], role="groups")
    ones = call.constant("ones", np.ones(groups, np.float32))
    zeros = call.constant("zeros", np.zeros(groups, np.float32))
    inside = call.op(
        "InstanceNormalization", [inside, ones, zeros], role="normalized", epsilon=epsilon
    )
    result = call.op("Reshape", [inside, shape], role="ungrouped")
    result.shape = value.shape
    return result
