"""Numbers that a narrower type cannot hold are found, and only those."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from segrt.targets.trt._narrow import narrow

HALF, BRAIN, SINGLE = np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16), np.dtype(np.float32)
INF = float("inf")


@pytest.mark.parametrize(
    ("numbers", "kind", "dtype", "lost"),
    [
        ([1.0, -2.5], np.float32, HALF, None),
        ([1.0, -65504.0], np.float32, HALF, None),
        # Between the largest number and the middle to the next there would be, it is rounded down.
        ([65519.0], np.float32, HALF, None),
        ([65520.0], np.float32, HALF, 65520.0),
        ([1.0, -70000.0, 66000.0], np.float32, HALF, 70000.0),
        ([INF, -INF, np.nan, 1.0], np.float32, HALF, None),
        ([INF, 1e5], np.float32, HALF, 1e5),
        ([np.nan, -1e5], np.float32, HALF, 1e5),
        ([3e38], np.float32, BRAIN, None),
        ([3.4e38], np.float32, BRAIN, pytest.approx(3.4e38)),
        ([1e39], np.float64, SINGLE, 1e39),
        ([1e38], np.float64, SINGLE, None),
        ([1e30], ml_dtypes.bfloat16, HALF, pytest.approx(1e30, rel=0.01)),
        ([], np.float32, HALF, None),
    ],
)
def test_what_is_lost(numbers, kind, dtype, lost):
    array = np.array(numbers).astype(kind)
    cast, found = narrow(array, dtype)
    assert found == lost
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(cast, array.astype(dtype))
    assert cast.dtype == dtype


def test_the_same_type_is_no_copy_but_numpys_own():
    # As HDF5 files describe it: equal, but another object, which TensorRT does not know.
    described = np.dtype(np.float32, metadata={"from": "a file"})
    array = np.ones(3, described)
    found, lost = narrow(array, SINGLE)
    assert lost is None
    assert found.dtype is SINGLE
    assert np.shares_memory(found, array)
