"""A convolution's parameters as kernels want them for the type that they compute in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.operations import Convolution, TransposedConvolution
from segrt.cuda.rounding import round_taps
from segrt.cuda.views import INTEGERS, View


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
