from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from segrt.prediction.overlay import (
    boundary,
    class_colour,
    colour_table,
    displayable,
    heat_map,
    overlay,
)


def lightness(rgb):
    """CIE L* of sRGB colours, from the definition of relative luminance."""
    encoded = rgb / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(y > (6 / 29) ** 3, 116 * np.cbrt(y) - 16, y * (29 / 3) ** 3)


def test_heat_map_rises_evenly_in_lightness():
    found = lightness(colour_table().astype(float))
    np.testing.assert_allclose(found, np.linspace(8, 95, 256), atol=0.7)
    assert len(np.unique(colour_table(), axis=0)) >= 250


def test_heat_map_looks_up():
    values = np.array([[0, 128], [255, 7]], np.uint8)
    np.testing.assert_array_equal(heat_map(values), colour_table()[values])


def test_boundary_is_the_inner_edge():
    mask = np.zeros((20, 20), np.uint8)
    mask[4:12, 5:15] = 1
    mask[14, 3] = 2
    expected = np.zeros_like(mask, bool)
    for index in (1, 2):
        inside = mask == index
        expected |= inside & ~ndimage.binary_erosion(inside)
    np.testing.assert_array_equal(boundary(mask), expected)


def test_overlay_leaves_the_background_and_draws_class_colours():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    before = pixels.copy()
    mask = np.zeros((20, 20), np.uint8)
    mask[4:12, 5:15] = 1
    mask[15:18, 3:6] = 2
    found = overlay(pixels, mask)
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_array_equal(found[mask == 0], pixels[mask == 0])
    assert tuple(found[4, 5]) == class_colour(1)
    assert tuple(found[15, 3]) == class_colour(2)
    expected = pixels[8, 9] * 0.75 + np.array(class_colour(1)) * 0.25
    assert abs(found[8, 9] - expected).max() <= 0.51


def test_colours_of_many_classes_differ():
    assert len({class_colour(index) for index in range(1, 60)}) == 59


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
def test_displayable_of_any_channels_and_range(channels):
    wide = np.linspace(100, 4000, 40 * 30 * channels).reshape(40, 30, channels).astype(np.uint16)
    shown = displayable(wide)
    assert shown.shape == (40, 30, 3)
    assert shown.min() == 0
    assert shown.max() == 255
    assert displayable(np.full((3, 3, channels), 7, np.float32)).dtype == np.uint8
