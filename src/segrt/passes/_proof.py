"""Certificates: run what was there and what replaces it, on small arrays, and compare."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.errors import PassError
from segrt.passes._evaluate import Feeds, evaluate
from segrt.passes._operators import Array
from segrt.types import Certificate

# A float32 constant is off by at most 6e-8 of itself; sums of products of such constants with
# mixed signs lose a little more.
ROUNDING_BOUND = 1e-6

# Unknown and large sizes become these in a probe; small, odd and unequal, so that a rewrite that
# mixes up axes cannot pass.
PROBE_SIZES = (5, 7, 6, 9)


def ramp(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return the integers 0, 1, 2 ... in ``shape``; exact in float32 below 2**24 elements."""
    return np.arange(np.prod(shape, dtype=np.int64), dtype=np.float32).reshape(shape)


def noise(shape: tuple[int, ...], seed: int = 1) -> npt.NDArray[np.float32]:
    """Return the same normal numbers for the same shape and seed."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def relative_l2(found: Array, wanted: Array) -> float:
    """Return ``|found - wanted| / |wanted|``; infinite for another shape or any NaN.

    Infinities are equal only to themselves.
    """
    if found.shape != wanted.shape:
        return float("inf")
    a, b = found.astype(np.float64).reshape(-1), wanted.astype(np.float64).reshape(-1)
    both = np.isinf(a) & (a == b)
    a, b = a[~both], b[~both]
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    difference, size = float(np.linalg.norm(a - b)), float(np.linalg.norm(b))
    if difference == 0.0:
        return 0.0
    return difference / size if size > 0 else float("inf")


def prove(
    old: ir.Value,
    new: ir.Value,
    feeds: Feeds,
    *,
    claim: Literal["bit-equal", "up to rounding"],
    what: str,
) -> Certificate:
    """Compute ``old`` and ``new`` from ``feeds`` and certify that they agree.

    For ``bit-equal`` the arrays are taken as they are and must agree exactly; for ``up to
    rounding`` both sides are computed in float64 from the float32 constants.

    Args:
        old: What was there.
        new: What replaces it.
        feeds: Arrays of the values both start from.
        claim: What is to be certified.
        what: Words for the method (``integer ramp``); the probe's shape is added.

    Raises:
        PassError: They do not agree.
    """
    wide = claim == "up to rounding"
    wanted = evaluate(old, feeds, wide=wide)
    found = evaluate(new, feeds, wide=wide)
    error = relative_l2(found, wanted)
    bound = ROUNDING_BOUND if wide else 0.0
    shapes = ", ".join("x".join(map(str, array.shape)) or "scalar" for array in feeds.values())
    certificate = Certificate(claim, f"{what}, {shapes}", error, bound)
    if not error <= bound:
        raise PassError(
            f"the certificate of a rewrite of {old.name!r} failed",
            found=f"relative L2 difference {error:.3g} ({certificate.method})",
            wanted=f"at most {bound:.3g}",
            hint="this is a mistake in the rewrite: it was not applied; please report it",
        )
    return certificate
