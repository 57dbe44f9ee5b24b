"""Memory of kernels' cases as the host holds it, and the numbers in it."""

from __future__ import annotations

import numpy as np

from segrt.cuda.views import HOST_TYPES, View, decode, encode


def random_memory(view: View, seed: int, largest: int = 255) -> np.ndarray:
    """Return random memory for a view's whole span, N H W and its pitch.

    Args:
        view: How it lies.
        seed: Where to draw from.
        largest: Of unsigned integers.
    """
    rng = np.random.default_rng(seed)
    shape = (view.n, view.h, view.w, view.pitch)
    if view.dtype == "uint8":
        return rng.integers(0, largest + 1, shape, np.uint8)
    if view.dtype == "int8":
        return rng.integers(-128, 128, shape, np.int8)
    return encode(rng.normal(size=shape), view.dtype)


def numbers(memory: np.ndarray, view: View) -> np.ndarray:
    """Return what lies in a view's memory, N H W C."""
    part = np.ascontiguousarray(memory[..., view.offset : view.offset + view.c])
    return decode(part, view.dtype).astype(np.float64) * view.scale


def beside(memory: np.ndarray, view: View) -> np.ndarray:
    """Return the bytes that lie between a view's pixels."""
    part = np.delete(memory, np.s_[view.offset : view.offset + view.c], axis=3)
    return np.ascontiguousarray(part).view(np.uint8)


def poisoned(view: View) -> np.ndarray:
    """Return memory of a view's span that is NaN in every type of floating point."""
    shape = (view.n, view.h, view.w, view.pitch * view.item_bytes)
    return np.full(shape, 0xFF, np.uint8).view(HOST_TYPES[view.dtype])
