"""Reshape, Flatten, Permute and RepeatVector: they work on Keras' own axis order."""

from __future__ import annotations

import math

from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Layout, Tensor, keras_layer
from segrt.importers.layers._inputs import single, wrong_input

# ONNX' Reshape: this axis keeps the size it has.
_KEEP = 0


@keras_layer("Reshape")
def reshape(call: Call, x: Tensor) -> Tensor:
    """Convert Reshape; the batch axis stays as it is, one size may be -1."""
    x = single(call, x)
    target = _config.integers(call, "target_shape")
    if any(size < 1 and size != -1 for size in target) or target.count(-1) > 1:
        raise call.unsupported("target_shape", target, "positive sizes, -1 at most once")
    return _reshaped(call, x, _resolve(call, x, target))


@keras_layer("Flatten")
def flatten(call: Call, x: Tensor) -> Tensor:
    """Convert Flatten; a ``channels_first`` one puts the channels last before."""
    x = single(call, x)
    if not call.channels_last and x.rank > 2:
        axes = [0, *range(2, x.rank), 1]
        x = Tensor(call.op("Transpose", [call.source(x)], role="last", perm=axes), Layout.SOURCE)
    return _reshaped(call, x, _resolve(call, x, [-1]))


@keras_layer("Permute")
def permute(call: Call, x: Tensor) -> Tensor:
    """Convert Permute; ``dims`` counts axes from 1, without the batch axis."""
    x = single(call, x)
    dims = _config.integers(call, "dims")
    if sorted(dims) != list(range(1, x.rank)):
        raise call.unsupported("dims", dims, f"an order of 1 to {x.rank - 1}")
    # One transposition from the stored order, not one to Keras' order and one from there.
    axes = [call.stored_axis(x, axis) for axis in (0, *dims)]
    return Tensor(call.op("Transpose", [x.value], role="permuted", perm=axes), Layout.SOURCE)


@keras_layer("RepeatVector")
def repeat_vector(call: Call, x: Tensor) -> Tensor:
    """Convert RepeatVector: a vector becomes a sequence of ``n`` equal ones."""
    x = single(call, x)
    if x.rank != 2:
        raise wrong_input(call, f"an input of shape {x.shape}", "2 axes")
    step = call.op("Unsqueeze", [x.value, call.ints("axes", [1])], role="step")
    first = call.ints("first", [0] * _config.integer(call, "n"))
    return Tensor(call.op("Gather", [step, first], role="repeated", axis=1), Layout.SOURCE)


def _resolve(call: Call, x: Tensor, target: list[int]) -> list[int]:
    """Return the target with -1 computed where all sizes are known."""
    sizes = x.shape[1:]
    if any(size is None for size in sizes):
        return target
    count = math.prod(size for size in sizes if size is not None)
    known = math.prod(size for size in target if size != -1)
    fits = count % known == 0 if -1 in target else count == known
    if not fits:
        raise wrong_input(call, f"{sizes} ({count} elements)", f"{target} ({known} elements)")
    return [count // known if size == -1 else size for size in target]


def _reshaped(call: Call, x: Tensor, target: list[int]) -> Tensor:
    shape = call.ints("shape", [_KEEP, *target])
    return Tensor(call.op("Reshape", [call.source(x), shape], role="reshaped"), Layout.SOURCE)
