"""A convolution's parameters as kernels want them for the type that they compute in."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from segrt.cuda.operations import Convolution, TransposedConvolution
from segrt.cuda.rounding import round_taps
from segrt.cuda.views import INTEGERS, View

# Rounding and ordering weights takes seconds a network: what no one takes is not made.
Lazy: TypeAlias = Callable[[], npt.NDArray[Any]]


def weights_for(
    operation: Convolution | TransposedConvolution, dtype: str
) -> npt.NDArray[np.float32]:
    """Return the kernel, axes as they are: exact in ``dtype``; for integers these."""
    quantised = operation.scales if isinstance(operation, Convolution) else None
    if dtype in INTEGERS and quantised is not None:
        scales = quantised.reshape(-1, 1, 1, 1)
        return np.asarray(np.rint(operation.kernel / scales), np.float32)
    return round_taps(operation.kernel, dtype)


def factors_for(operation: Convolution, source: View, target: View) -> npt.NDArray[np.float32]:
    """Return what sums of integers are multiplied with, one number an output."""
    assert operation.scales is not None
    factors = operation.scales.astype(np.float64) * source.scale / target.scale
    return factors.astype(np.float32)


def bias_for(
    operation: Convolution | TransposedConvolution, target: View
) -> npt.NDArray[np.float32]:
    """Return the bias in units of the target."""
    return np.asarray(operation.bias / target.scale, np.float32)


def numbers_for(operation: Convolution, source: View, target: View) -> npt.NDArray[Any]:
    """Return what follows the sums: the bias (out); for integers factors and bias (2, out)."""
    if source.dtype not in INTEGERS:
        return operation.bias
    return np.stack([factors_for(operation, source, target), bias_for(operation, target)])


class _Once:
    """Makes something when it is first asked for, by whichever thread, and remembers it."""

    def __init__(self, make: Lazy) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: npt.NDArray[Any] | None = None

    def __call__(self) -> npt.NDArray[Any]:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made


def lazy_weights(operation: Convolution | TransposedConvolution, dtype: str) -> Lazy:
    """Return `weights_for`, made when it is first asked for and then remembered."""
    return _Once(lambda: weights_for(operation, dtype))


def arranged_for(
    arrange: Callable[[npt.NDArray[Any], str], npt.NDArray[Any]], weights: Lazy, dtype: str
) -> Lazy:
    """Return what orders weights O I H W for a kernel that wants to be given them H W I O."""
    return lambda: arrange(weights().transpose(2, 3, 1, 0), dtype)
