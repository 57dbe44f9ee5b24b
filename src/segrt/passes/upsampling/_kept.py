"""Certificates for upsampling that stays as it is: does it do what Keras' layer does?"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from segrt.errors import PassError
from segrt.passes._evaluate import evaluate
from segrt.passes._proof import ramp, relative_l2
from segrt.passes.upsampling._base import Site
from segrt.types import Certificate

Array: TypeAlias = npt.NDArray[Any]

# Both sides are float64: only the order of two additions differs.
_BOUND = 1e-12


def prove_kept(site: Site) -> Certificate | None:
    """Certify a Resize that stays; None for a transposed convolution, where nothing is claimed.

    Nearest must repeat pixels. Bilinear must be the tent-weighted sum of all pixels, a formula
    without floor or clamp that shares nothing with the evaluator.

    Raises:
        PassError: It does something else.
    """
    if site.kind == "transposed convolution" or site.rule is None:
        return None
    probe = ramp((1, 2, *site.probe))
    found = evaluate(site.output, {site.source: probe}, wide=True)
    exact = site.kind == "nearest"
    offset = 0.0 if site.rule.coordinates == "asymmetric" else 0.5
    wanted: Array = probe if exact else probe.astype(np.float64)
    for axis, factor in enumerate(site.factors, start=2):
        if exact:
            wanted = wanted.repeat(factor, axis=axis)
        else:
            tents = _tents(wanted.shape[axis], factor, offset)
            wanted = np.moveaxis(np.tensordot(wanted, tents, axes=(axis, 1)), -1, axis)
    error = relative_l2(found, wanted)
    bound = 0.0 if exact else _BOUND
    if not error <= bound:
        raise PassError(
            f"{site.node.name!r} is not the upsampling of Keras",
            found=f"relative L2 difference {error:.3g} for {site.rule}, factors {site.factors}",
        )
    factors = "x".join(map(str, site.factors))
    method = f"{'repeated' if exact else 'tent-weighted'} integer ramp, factor {factors}"
    return Certificate("bit-equal" if exact else "up to rounding", method, error, bound)


def _tents(size: int, factor: int, offset: float) -> Array:
    """Return (size * factor, size): the weight of each input pixel in each output pixel."""
    where = (np.arange(size * factor) + offset) / factor - offset
    inside = np.clip(where, 0, size - 1)
    return np.maximum(0.0, 1.0 - np.abs(inside[:, None] - np.arange(size)))
