"""Weights rounded with care, against trying everything."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from segrt.cuda.rounding import round_taps
from segrt.cuda.views import decode, encode


def _nearest(values: np.ndarray, dtype: str) -> np.ndarray:
    return decode(encode(values.astype(np.float32), dtype), dtype)


def _neighbours(value: float, dtype: str) -> list[float]:
    """The numbers of a type next to a value, found by bisection over all bit patterns."""
    bits = np.arange(1 << 16, dtype=np.uint16)
    every = decode(bits.view(np.float16) if dtype == "fp16" else bits, dtype)
    every = np.unique(every[np.isfinite(every)])
    place = np.searchsorted(every, value)
    return (
        [float(every[place])]
        if every[place] == value
        else [float(every[place - 1]), float(every[place])]
    )


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_sums_of_errors_against_trying_everything(dtype: str):
    kernel = np.random.default_rng(0).normal(0, 0.05, (6, 4, 2, 3)).astype(np.float32)
    rounded = round_taps(kernel, dtype)
    better = 0
    for exact, found in zip(kernel.reshape(-1, 6), rounded.reshape(-1, 6), strict=True):
        choices = [_neighbours(float(value), dtype) for value in exact]
        assert all(value in near for value, near in zip(found, choices, strict=True))
        best = min(
            abs(sum(pick) - float(exact.sum(dtype="f8"))) for pick in itertools.product(*choices)
        )
        error = abs(float((found - exact).sum(dtype="f8")))
        nearest = abs(float((_nearest(exact, dtype) - exact).sum(dtype="f8")))
        assert best <= error + 1e-9
        assert error <= nearest + 1e-9
        better += error < 0.5 * nearest
    assert better >= 12
    whole = np.abs((rounded - kernel).sum((2, 3))).mean()
    assert whole <= 0.35 * np.abs((_nearest(kernel, dtype) - kernel).sum((2, 3))).mean()


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_zeros_stay_and_single_taps_are_rounded_to_nearest(dtype: str):
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(8, 8, 2, 2)).astype(np.float32)
    kernel[:4, :, 0, 1] = 0
    assert np.all(round_taps(kernel, dtype)[:4, :, 0, 1] == 0)
    single = rng.normal(size=(8, 8, 1, 1)).astype(np.float32)
    np.testing.assert_array_equal(round_taps(single, dtype), _nearest(single, dtype))
    np.testing.assert_array_equal(round_taps(kernel, "fp32"), kernel)


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_extremes(dtype: str):
    """Numbers below the smallest normal one, zeros of both signs, and the largest ones."""
    values = np.array([[1e-8, -3e-6, 0.0, -0.0], [65504.0, 1.0, -1.0, 0.3]], np.float32)
    rounded = round_taps(values.reshape(2, 1, 2, 2), dtype).reshape(2, 4)
    assert np.all(rounded[0, 2:] == 0)
    for value, found in zip(values.reshape(-1), rounded.reshape(-1), strict=True):
        assert found in _neighbours(float(value), dtype)
