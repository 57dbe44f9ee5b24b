"""Round weights to half precision so that the errors of a kernel's taps cancel.

Neighbouring pixels are alike, so what a layer makes of a rounding error is mostly the sum of the
errors over a kernel's taps. Weights are rounded to nearest first; then, for each output and input,
those are moved to their other neighbour that cost least, while that brings the sum nearer to zero.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from segrt.cuda.compiling import processors
from segrt.cuda.views import decode, encode

Floats: TypeAlias = npt.NDArray[np.float32]

# Kernels worked on at a time: what is needed for them stays in the processor's cache.
_BLOCK = 1 << 13


def round_taps(kernel: npt.NDArray[Any], dtype: str) -> Floats:
    """Return ``kernel`` with every weight at one of its two neighbours in ``dtype``.

    Args:
        kernel: (..., y, x); the sums are taken over the last two axes. Zeros stay zeros.
        dtype: ``fp16`` or ``bf16``; anything else is returned as it is.
    """
    plain = np.ascontiguousarray(kernel, np.float32)
    taps = plain.shape[-2] * plain.shape[-1] if plain.ndim >= 2 else 1
    if dtype not in ("fp16", "bf16"):
        return plain
    exact = plain.reshape(-1, taps)
    result = np.empty_like(exact)

    def work(start: int) -> None:
        part = slice(start, start + _BLOCK)
        wanted = np.ascontiguousarray(exact[part].T)
        nearest = decode(encode(wanted, dtype), dtype)
        if taps > 1 and np.isfinite(nearest).all():
            nearest = _balanced(wanted, nearest, dtype)
        result[part] = nearest.T

    starts = range(0, len(exact), _BLOCK)
    # NumPy works without Python's lock.
    with ThreadPoolExecutor(max(1, min(processors(), len(starts)))) as pool:
        list(pool.map(work, starts))
    return result.reshape(plain.shape)


def _balanced(exact: Floats, nearest: Floats, dtype: str) -> Floats:
    """Return ``nearest`` (taps, kernels) with the cheapest weights moved."""
    error = nearest - exact
    other = _neighbour(nearest, np.where(error < 0, np.float32(1), np.float32(-1)), dtype)
    gain = other - nearest
    # What the move costs for what it brings; what is exact, such as zero, is never moved.
    fixed = (error == 0) | ~np.isfinite(gain) | (gain == 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        price = (np.abs(other - exact) - np.abs(error)) / np.abs(gain)
    price[fixed] = np.inf
    gain[fixed] = 0
    total = error.sum(axis=0, dtype=np.float32)
    order = np.argsort(price, axis=0)
    sorted_gain = np.take_along_axis(gain, order, axis=0)
    moved = np.zeros(exact.shape, bool)
    for step, change in enumerate(sorted_gain):
        after = total + change
        better = np.abs(after) < np.abs(total)
        total = np.where(better, after, total)
        moved[step] = better
    place = np.zeros(exact.shape, bool)
    np.put_along_axis(place, order, moved, axis=0)
    return np.where(place, other, nearest)


def _neighbour(values: Floats, direction: Floats, dtype: str) -> Floats:
    """Return the next value of ``dtype`` above (direction 1) or below (-1)."""
    if dtype == "fp16":
        bits = values.astype(np.float16).view(np.uint16).astype(np.int32)
    else:
        bits = (values.view(np.uint32) >> np.uint32(16)).astype(np.int32)
    # As a sign and a magnitude, both zeros alike: one more is the next value.
    magnitude = bits & 0x7FFF
    ordered = np.where(bits & 0x8000, -magnitude, magnitude) + direction.astype(np.int32)
    back = np.where(ordered < 0, 0x8000 - ordered, ordered).astype(np.uint16)
    return decode(back.view(np.float16) if dtype == "fp16" else back, dtype)
