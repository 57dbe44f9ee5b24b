"""What the golden tests share: how an array is compared with the one real Keras gave."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest


def disagreement(candidate: np.ndarray, reference: np.ndarray, *, bound: float) -> str | None:
    """Say how ``candidate`` differs from ``reference``, or None where it does not.

    Args:
        candidate: What is to be judged.
        reference: What Keras gave; must be finite.
        bound: Largest relative L2 difference; 0 demands equal bits (0 and -0 are equal).
    """
    if candidate.shape != reference.shape:
        return f"shape {candidate.shape} instead of {reference.shape}"
    if candidate.dtype != np.float32:
        return f"type {candidate.dtype} instead of float32"
    if not np.isfinite(reference).all():
        return "the reference is not finite"
    if not np.isfinite(candidate).all():
        return "NaN or infinity"
    difference = np.linalg.norm(candidate.astype(np.float64) - reference)
    allowed = bound * np.linalg.norm(reference.astype(np.float64))
    if difference <= allowed:
        return None
    scale = np.linalg.norm(reference.astype(np.float64)) or 1.0
    return f"relative L2 {difference / scale:.3g} over {bound:g}"


@pytest.fixture(scope="session", name="disagreement")
def disagreement_fixture() -> Callable[..., str | None]:
    return disagreement
