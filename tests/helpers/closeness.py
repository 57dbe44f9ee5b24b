"""Assertions on arrays; every bound is said where it is used."""

import numpy as np


def relative_l2(found, wanted):
    """Return ``|found - wanted| / |wanted|``; infinite for another shape, NaN or infinity."""
    if found.shape != wanted.shape or not np.isfinite(found).all():
        return np.inf
    difference = np.linalg.norm((found.astype(np.float64) - wanted).ravel())
    scale = np.linalg.norm(np.asarray(wanted, np.float64).ravel())
    return difference / scale if scale else (0.0 if difference == 0 else np.inf)


def assert_close(found, wanted, bound):
    error = relative_l2(found, wanted)
    assert error <= bound, f"{error:.2e} > {bound:.0e}, shapes {found.shape} and {wanted.shape}"


def assert_same_bits(found, wanted):
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)
