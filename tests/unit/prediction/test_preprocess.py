from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from segrt.errors import ShapeError, UsageError
from segrt.prediction.picture import Picture
from segrt.prediction.preprocess import Normaliser, fit_channels, luma
from segrt.types import Preprocess

RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)


def test_luma_of_8_bits_is_pillows():
    every = np.stack(np.meshgrid(*[np.arange(0, 256, 5, dtype=np.uint8)] * 3), -1).reshape(
        -1, 52, 3
    )
    for pixels in (RGB, every):
        expected = np.asarray(Image.fromarray(pixels).convert("L"))
        np.testing.assert_array_equal(luma(pixels)[..., 0], expected)


def test_luma_of_16_bits_and_floats():
    wide = RNG.integers(0, 65536, (9, 9, 3), dtype=np.uint16)
    expected = wide @ np.array([0.299, 0.587, 0.114])
    assert abs(luma(wide)[..., 0] - expected).max() < 2
    np.testing.assert_allclose(luma(wide.astype(np.float32))[..., 0], expected, atol=2)
    grey = np.full((2, 2, 3), 65535, np.uint16)
    assert (luma(grey) == 65535).all()


@pytest.mark.parametrize(
    ("stored", "alpha", "wanted", "expected"),
    [
        (1, False, 3, (0, 0, 0)),
        (2, True, 1, (0,)),
        (2, True, 3, (0, 0, 0)),
        (3, False, 3, (0, 1, 2)),
        (4, True, 3, (0, 1, 2)),
        (4, True, 4, (0, 1, 2, 3)),
        (5, False, 5, (0, 1, 2, 3, 4)),
    ],
)
def test_channels_are_fitted(stored, alpha, wanted, expected):
    pixels = RNG.integers(0, 256, (4, 5, stored), dtype=np.uint8)
    found, remarks = fit_channels(Picture(pixels, alpha), wanted)
    np.testing.assert_array_equal(found, pixels[..., list(expected)])
    assert bool(remarks) == (alpha and wanted != stored)


def test_opaque_alpha_is_dropped_without_a_remark():
    pixels = np.full((4, 5, 4), 255, np.uint8)
    assert fit_channels(Picture(pixels, True), 3)[1] == ()


@pytest.mark.parametrize(("stored", "wanted"), [(3, 5), (2, 3), (5, 1)])
def test_channels_that_do_not_fit(stored, wanted):
    with pytest.raises(ShapeError):
        fit_channels(Picture(np.zeros((2, 2, stored), np.uint8)), wanted)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "int16"])
@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("scale", [None, 1.0, 0.017])
def test_formula(dtype, axis, order, scale):
    pixels = RNG.integers(0, 60000 if dtype == "uint16" else 256, (6, 7, 3)).astype(dtype)
    mean, std = (0.1, 0.5, 0.9), (0.3, 2.0, 0.7)
    found = Normaliser(Preprocess(scale, mean, std, order), 3, axis, "float32")(pixels)
    exact = pixels.astype(np.float64) / (257 if dtype == "uint16" else 1)
    exact = exact[..., ::-1] if order == "bgr" else exact
    exact = (exact * (1 / 255 if scale is None else scale) - mean) / std
    exact = np.moveaxis(exact, -1, 0) if axis == 1 else exact
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, exact, rtol=2e-7, atol=1e-12)


def test_default_scale_is_a_division_by_255_bit_for_bit():
    found = Normaliser(Preprocess(), 3, -1, "float32")(RGB)
    np.testing.assert_array_equal(found, RGB.astype(np.float32) / np.float32(255))


def test_full_16_bit_white_is_8_bit_white():
    make = Normaliser(Preprocess(), 1, -1, "float32")
    assert make(np.full((1, 1, 1), 65535, np.uint16)) == 1.0


def test_integer_networks_get_rounded_clipped_values():
    found = Normaliser(Preprocess(scale=1.5), 1, -1, "uint8")(
        np.array([[[1], [3], [200]]], np.uint8)
    )
    np.testing.assert_array_equal(found.ravel(), [2, 4, 255])


@pytest.mark.parametrize(
    "options", [{"mean": (1.0, 2.0)}, {"std": (1.0, 2.0)}, {"std": (1.0, 0.0, 1.0)}]
)
def test_mean_and_std_are_checked(options):
    with pytest.raises(UsageError):
        Normaliser(Preprocess(**options), 3, -1, "float32")
