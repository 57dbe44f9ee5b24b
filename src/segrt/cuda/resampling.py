"""What each row of a resized image is made of: ONNX's Resize as tables, one axis at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class ResizeRule:
    """How an axis is resized, in ONNX's words.

    Attributes:
        mode: ``nearest``, ``linear`` or ``cubic``.
        transform: ``half_pixel``, ``asymmetric``, ``align_corners`` ...
        rounding: ``nearest_mode``.
        cubic: ``cubic_coeff_a``.
        exclude_outside: Weights outside the image are left out, and the others made to sum to 1.
        antialias: When shrinking, the filter is made as wide as the pixels of the result.
    """

    mode: str
    transform: str
    rounding: str = "round_prefer_floor"
    cubic: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False


_ROUNDINGS: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda at: np.ceil(at - 0.5),
    "round_prefer_ceil": lambda at: np.floor(at + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def axis_tables(
    rule: ResizeRule, before: int, after: int, scale: float | None
) -> tuple[Array, Array] | None:
    """Return places and weights (after, taps) of an axis; None where the rule is not known.

    Args:
        rule: How it is resized.
        before: Size of the source.
        after: Size of the result.
        scale: What ONNX was told; None where it was told sizes.
    """
    ratio = after / before if scale is None else float(scale)
    at = _source_places(rule.transform, before, after, scale)
    if at is None or rule.mode not in ("nearest", "linear", "cubic"):
        return None
    if rule.mode == "nearest":
        if rule.rounding not in _ROUNDINGS:
            return None
        places = np.clip(_ROUNDINGS[rule.rounding](at), 0, before - 1).astype(np.int32)
        return places[:, None], np.ones((after, 1), np.float32)
    stretch = max(1.0, 1 / ratio) if rule.antialias else 1.0
    places, weights = _filtered(rule, at, stretch)
    outside = (places < 0) | (places >= before)
    if rule.exclude_outside:
        weights = np.where(outside, 0, weights)
        weights = weights / weights.sum(axis=1, keepdims=True)
    return _merged(np.clip(places, 0, before - 1), weights, before)


def matrix_tables(matrix: Array) -> tuple[Array, Array]:
    """Return places and weights (rows, taps) of a matrix (rows, columns)."""
    columns = np.broadcast_to(np.arange(matrix.shape[1]), matrix.shape)
    return _merged(columns, matrix.astype(np.float64), matrix.shape[1])


def unchanged(size: int) -> tuple[Array, Array]:
    """Return the tables of an axis that stays as it is."""
    return np.arange(size, dtype=np.int32)[:, None], np.ones((size, 1), np.float32)


def _source_places(transform: str, before: int, after: int, scale: float | None) -> Array | None:
    x = np.arange(after, dtype=np.float64)

    def back(at: Array) -> Array:
        # What lies half way between two pixels must do so exactly: multiplied first; or in the
        # single precision that the scale was rounded to, as ONNX Runtime does.
        if scale is None:
            return at * before / after
        return np.asarray(at.astype(np.float32) / np.float32(scale), np.float64)

    # Where the size was rounded, what is left over is shared by both ends.
    spare = 0.0 if scale is None else before / 2 * (1 - after / (scale * before))
    centres = back(x + 0.5) - 0.5
    known = {
        "half_pixel": centres,
        "half_pixel_symmetric": centres + spare,
        "pytorch_half_pixel": centres if after > 1 else x * 0,
        "asymmetric": back(x),
        "align_corners": x * (before - 1) / max(1, after - 1),
        "tf_half_pixel_for_nn": back(x + 0.5),
    }
    return known.get(transform)


def _filtered(rule: ResizeRule, at: Array, stretch: float) -> tuple[Array, Array]:
    """Return places, outside the image too, and weights of a filter about each point."""
    reach = (1 if rule.mode == "linear" else 2) * stretch
    first = np.floor(at - reach).astype(int)
    count = int(np.ceil(2 * reach)) + 2
    places = first[:, None] + np.arange(count)
    apart = np.abs(at[:, None] - places) / stretch
    weights = np.maximum(1 - apart, 0) if rule.mode == "linear" else _cubic(apart, rule.cubic)
    return places, weights / (weights.sum(axis=1, keepdims=True) if rule.antialias else 1)


def _cubic(apart: Array, a: float) -> Array:
    """Return Keys' kernel (Cubic convolution interpolation, 1981) with the coefficient ``a``."""
    near = ((a + 2) * apart - (a + 3)) * apart**2 + 1
    far = ((a * apart - 5 * a) * apart + 8 * a) * apart - 4 * a
    return np.where(apart <= 1, near, np.where(apart < 2, far, 0))


def _merged(places: Array, weights: Array, size: int) -> tuple[Array, Array]:
    """Add up weights of one place, leave out zeros; rows are filled up with weights of zero."""
    full = np.zeros((len(places), size))
    np.add.at(full, (np.arange(len(places))[:, None], places), weights)
    taps = max(1, int((full != 0).sum(axis=1).max()))
    # Stable, so that the places stay in order.
    order = np.argsort(full == 0, axis=1, kind="stable")[:, :taps]
    return order.astype(np.int32), np.take_along_axis(full, order, axis=1).astype(np.float32)
