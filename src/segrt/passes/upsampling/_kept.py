"""Certificates for upsampling that stays as it is: does it do what Keras' layer does?"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from segrt.errors import PassError
from segrt.passes._evaluate import evaluate
from segrt.passes._proof import ramp, relative_l2
from segrt.passes.upsampling._base import PROBE_HEIGHT, PROBE_WIDTH, Site
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
    probe = ramp((1, 2, PROBE_HEIGHT, PROBE_WIDTH))
    found = evaluate(site.output, {site.source: probe}, wide=True)
    fy, fx = site.factors
    if site.kind == "nearest":
        wanted = probe.repeat(fy, axis=2).repeat(fx, axis=3)
    else:
        offset = 0.0 if site.rule.coordinates == "asymmetric" else 0.5
        rows, columns = (_tents(PROBE_HEIGHT, fy, offset), _tents(PROBE_WIDTH, fx, offset))
        wanted = np.einsum("ncij,yi,xj->ncyx", probe.astype(np.float64), rows, columns)
    error = relative_l2(found, wanted)
    exact = site.kind == "nearest"
    bound = 0.0 if exact else _BOUND
    if not error <= bound:
        raise PassError(
            f"{site.node.name!r} is not the upsampling of Keras",
            found=f"relative L2 difference {error:.3g} for {site.rule}, factors {site.factors}",
        )
    method = f"{'repeated' if exact else 'tent-weighted'} integer ramp, factor {fy}x{fx}"
    return Certificate("bit-equal" if exact else "up to rounding", method, error, bound)


def _tents(size: int, factor: int, offset: float) -> Array:
    """Return (size * factor, size): the weight of each input pixel in each output pixel."""
    where = (np.arange(size * factor) + offset) / factor - offset
    inside = np.clip(where, 0, size - 1)
    return np.maximum(0.0, 1.0 - np.abs(inside[:, None] - np.arange(size)))
