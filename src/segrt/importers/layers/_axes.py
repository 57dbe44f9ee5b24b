"""Axes that a layer's configuration names, as the input stores them."""

from __future__ import annotations

from collections.abc import Sequence

from segrt.importers._layer_graph import Array
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Tensor


def several_axes(call: Call, x: Tensor, key: str = "axis", default: int = -1) -> list[int]:
    """Return the axes of Keras' order, from 0 and ascending, from ``-1``, ``3`` or ``[1, -1]``.

    Raises:
        UnsupportedConfigError: None, not of this input, or one twice.
    """
    found = _config.integers(call, key, default)
    axes = sorted({axis % x.rank for axis in found if -x.rank <= axis < x.rank})
    if not axes or len(axes) != len(found):
        raise call.unsupported(key, found, f"different axes of the {x.rank}-dimensional input")
    return axes


def stored_axes(call: Call, x: Tensor, axes: Sequence[int]) -> list[int]:
    """Return where these axes lie in the stored value, ascending."""
    return sorted(call.stored_axis(x, axis) for axis in axes)


def as_stored(x: Tensor, axes: Sequence[int], array: Array) -> Array:
    """Return an array over ``axes`` of Keras' order, as it broadcasts against the stored value.

    Args:
        x: The layer's input.
        axes: Ascending.
        array: Its elements run over ``axes`` in that order.
    """
    shape = [1] * x.rank
    for axis, size in zip(axes, array.shape, strict=True):
        shape[axis] = size
    full = array.reshape(shape)
    return full if x.to_source is None else full.transpose(_inverse(x.to_source))


def _inverse(axes: Sequence[int]) -> list[int]:
    return sorted(range(len(axes)), key=lambda index: axes[index])
