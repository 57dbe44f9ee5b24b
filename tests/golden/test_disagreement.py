"""The comparison of the golden tests must reject what is wrong."""

import numpy as np
import pytest


@pytest.fixture
def reference():
    return np.random.default_rng(3).normal(size=(2, 6, 6, 3)).astype(np.float32)


def one_channel_wrong(array):
    wrong = array.copy()
    wrong[..., 1] *= 1.001
    return wrong


def one_pixel_nan(array):
    wrong = array.copy()
    wrong[1, 2, 3, 0] = np.nan
    return wrong


WRONG = {
    "doubled": lambda array: array * 2,
    "zero": np.zeros_like,
    "negated": lambda array: -array,
    "shifted by a pixel": lambda array: np.roll(array, 1, axis=2),
    "transposed": lambda array: np.ascontiguousarray(array.transpose(0, 2, 1, 3)),
    "channels swapped": lambda array: array[..., ::-1],
    "images swapped": lambda array: array[::-1],
    "one channel wrong": one_channel_wrong,
    "NaN": lambda array: np.full_like(array, np.nan),
    "one pixel NaN": one_pixel_nan,
    "infinite": lambda array: np.full_like(array, np.inf),
    "other shape": lambda array: array[:1],
    "other layout": lambda array: array.transpose(0, 3, 1, 2),
    "other type": lambda array: array.astype(np.float64),
    "a little off": lambda array: array * np.float32(1 + 3e-5),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arrays_are_rejected(disagreement, reference, name):
    assert disagreement(WRONG[name](reference), reference, bound=1e-5)


def test_rounding_is_accepted(disagreement, reference):
    assert disagreement(reference * np.float32(1 + 3e-7), reference, bound=1e-5) is None


def test_bound_zero_demands_equal_bits(disagreement, reference):
    assert disagreement(reference.copy(), reference, bound=0.0) is None
    assert disagreement(np.nextafter(reference, np.float32(9)), reference, bound=0.0)


def test_nothing_agrees_with_a_reference_that_is_not_finite(disagreement, reference):
    bad = one_pixel_nan(reference)
    assert disagreement(bad.copy(), bad, bound=1e-5)


def test_zero_reference_takes_only_zero(disagreement, reference):
    zero = np.zeros_like(reference)
    assert disagreement(zero.copy(), zero, bound=1e-5) is None
    assert disagreement(zero + np.float32(1e-30), zero, bound=1e-5)
