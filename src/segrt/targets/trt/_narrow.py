"""Weights cast to the type that a network computes in, and what does not fit it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# The largest finite numbers, rounded down.
LARGEST = {"float16": 65504.0, "bfloat16": 3.3895e38, "float32": 3.4028e38}


def narrow(array: Array, dtype: np.dtype[Any]) -> tuple[Array, float | None]:
    """Cast floats.

    Args:
        array: float16, bfloat16, float32 or float64.
        dtype: One of these.

    Returns:
        The array as ``dtype``, in the same memory if it is that already; and the largest
        magnitude among the finite numbers that became infinite, None if there is none.
    """
    if array.dtype == dtype:
        # A view, not a copy: TensorRT knows NumPy's own description of a type only, not another
        # that is equal to it, as files bring along.
        return array.view(dtype), None
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    if _fits(array, LARGEST.get(dtype.name, 0.0)):
        return cast, None
    lost = np.isinf(cast.astype(np.float32)) & np.isfinite(array.astype(np.float64))
    return cast, float(np.abs(array[lost]).max()) if lost.any() else None


def _fits(array: Array, largest: float) -> bool:
    """Say whether no number can become infinite, in two passes that allocate nothing.

    False is no verdict: the array may hold infinities or NaN itself, or numbers in between that
    are rounded down.
    """
    # NaN is neither above nor below.
    return array.size == 0 or bool(array.min() >= -largest and array.max() <= largest)
