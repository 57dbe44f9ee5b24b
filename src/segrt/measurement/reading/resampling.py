"""Resize as sums of a few taps along each axis, by the formulas of the ONNX operator (opset 18)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from segrt.measurement.reading.step import Array, Step


@dataclass(frozen=True, slots=True)
class Axis:
    """What happens along one axis.

    Attributes:
        axis: Which.
        indices: int64 ``(taps, new size)``: where each result reads.
        weights: float64 ``(taps, new size)``: what it multiplies with; they add up to 1.
    """

    axis: int
    indices: Array
    weights: Array


@dataclass(frozen=True, slots=True)
class Resampling:
    """A Resize node.

    Attributes:
        mode: ``nearest``, ``linear`` or ``cubic``.
        rule: ONNX's word for how coordinates are mapped.
        rounding: ONNX's word for how the nearest is found.
        sizes: Of the result.
        axes: Those whose size changes.
    """

    mode: str
    rule: str
    rounding: str
    sizes: tuple[int, ...]
    axes: tuple[Axis, ...]


def read_resampling(step: Step) -> Resampling:
    """Read a Resize node.

    Raises:
        UnsupportedLayerError: It is of a kind that has no translation.
    """
    mode = step.text("mode", "nearest")
    rule = step.text("coordinate_transformation_mode", "half_pixel")
    rounding = step.text("nearest_mode", "round_prefer_floor")
    if step.integer("antialias") or step.integer("exclude_outside") or rule not in _PLACES:
        raise step.refuse(f" with {rule}, antialias or exclude_outside")
    if mode not in ("nearest", "linear", "cubic") or rounding not in _ROUNDINGS:
        raise step.refuse(f" of mode {mode}, {rounding}")
    old, new = step.shape(), step.result()
    scales = _scales(step, old, new)
    coefficient = step.number("cubic_coeff_a", -0.75)
    axes = []
    for axis, (before, after) in enumerate(zip(old, new, strict=True)):
        if before == after and scales[axis] == 1:
            continue
        # In single precision, as runtimes compute it: which of two equally near pixels is taken
        # may hang on the last bit.
        steps, scale = np.arange(after, dtype=np.float32), np.float32(scales[axis])
        places = _PLACES[rule](steps, before, after, scale)
        indices, weights = _taps(mode, rounding, places, coefficient)
        axes.append(Axis(axis, np.clip(indices, 0, before - 1), weights))
    return Resampling(mode, rule, rounding, new, tuple(axes))


def _scales(step: Step, old: tuple[int, ...], new: tuple[int, ...]) -> list[float]:
    """Return the scale of every axis; sizes give the quotient."""
    given = step.constant(2)
    if given is None or given.size == 0:
        return [after / before for before, after in zip(old, new, strict=True)]
    axes = step.integers("axes") or list(range(len(old)))
    scales = [1.0] * len(old)
    for axis, scale in zip(axes, given.reshape(-1), strict=True):
        scales[axis] = float(scale)
    return scales


def _half_pixel(x: Array, _old: int, _new: int, scale: np.float32) -> Array:
    return (x + np.float32(0.5)) / scale - np.float32(0.5)


def _pytorch(x: Array, old: int, new: int, scale: np.float32) -> Array:
    return _half_pixel(x, old, new, scale) if new > 1 else np.zeros_like(x)


def _corners(x: Array, old: int, new: int, _scale: np.float32) -> Array:
    return x * (old - 1) / (new - 1) if new > 1 else np.zeros_like(x)


def _asymmetric(x: Array, _old: int, _new: int, scale: np.float32) -> Array:
    return x / scale


_PLACES = {
    "half_pixel": _half_pixel,
    "pytorch_half_pixel": _pytorch,
    "align_corners": _corners,
    "asymmetric": _asymmetric,
}
_ROUNDINGS: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _taps(mode: str, rounding: str, places: Array, a: float) -> tuple[Array, Array]:
    if mode == "nearest":
        near = _ROUNDINGS[rounding](places).astype(np.int64)
        return near[None], np.ones((1, near.size))
    low = np.floor(places)
    part = places - low
    base = low.astype(np.int64)
    if mode == "linear":
        return np.stack([base, base + 1]), np.stack([1 - part, part])
    # Keys' kernel: within one pixel, and within two.
    distances = [1 + part, part, 1 - part, 2 - part]
    weights = [
        _outer(distances[0], a), _inner(distances[1], a),
        _inner(distances[2], a), _outer(distances[3], a),
    ]  # fmt: skip
    return np.stack([base - 1, base, base + 1, base + 2]), np.stack(weights)


def _inner(x: Array, a: float) -> Array:
    result: Array = ((a + 2) * x - (a + 3)) * x * x + 1
    return result


def _outer(x: Array, a: float) -> Array:
    result: Array = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return result
