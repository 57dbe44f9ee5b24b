"""What kernels on integers of eight bits share: numbers for their tests, and references.

Behind the sums stand one factor and one bias a channel, in units of the target: what is rounded
is ``sum * factor + bias``, with the factor ``source scale * weight scale / target scale``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.views import INTEGERS, View


def random_weights(shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.int8]:
    """Return integers as a symmetric quantiser gives them."""
    return rng.integers(-127, 128, shape).astype(np.int8)


def random_numbers(
    rows: int, terms: int, target: View, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Return ``rows - 1`` rows of factors and one of bias: results fill the target's range.

    Args:
        rows: 2, or more where there is more than one row of factors.
        terms: Products in one sum.
        target: Written.
        rng: Where to draw from.
    """
    usual = 40.0 if target.dtype in INTEGERS else 1.0
    # Standard deviation of a sum: both numbers spread evenly over -127 ... 127.
    factors = usual / (73.0**2 * np.sqrt(terms)) * rng.uniform(0.5, 2.0, (rows - 1, target.c))
    bias = rng.normal(0, usual / 2, (1, target.c))
    return np.concatenate([factors, bias]).astype(np.float32)


def finish(
    sums: npt.NDArray[Any], numbers: npt.NDArray[Any], target: View, row: int = 0
) -> npt.NDArray[np.float64]:
    """Return sums times their factors plus bias, as numbers (not in units of the target)."""
    wide = numbers.astype(np.float64)
    result: npt.NDArray[np.float64] = (sums * wide[row] + wide[-1]) * target.scale
    return result
