"""Pixels that are fed as they hardly were in training are remarked on."""

import numpy as np
import pytest

from segrt.prediction.picture import Picture
from segrt.prediction.value_remarks import remark_on_values
from segrt.types import Preprocess

GREY = np.arange(12, dtype=np.float64).reshape(3, 4, 1) / 11


def remarks(pixels, channels=1, scale=None, *, alpha=False):
    return " / ".join(remark_on_values(Picture(pixels, alpha), channels, Preprocess(scale=scale)))


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        ((GREY * 255).astype(np.uint8), ""),
        ((GREY * 65535).astype(np.uint16), ""),
        (np.zeros((3, 4, 1), np.uint16), ""),
        ((GREY * 4095).astype(np.uint16), "none is over 4095"),
        (GREY.astype(np.float32), "float32 pixels of at most 1"),
        ((GREY * 255).astype(np.float32), ""),
        ((GREY * 3000).astype(np.float64), "below 0 or over 255"),
        ((GREY * 100 - 20).astype(np.int16), "below 0 or over 255"),
    ],
)
def test_unusual_values_are_told(pixels, said):
    found = remarks(pixels)
    assert said in found
    assert bool(found) == bool(said)


@pytest.mark.parametrize(("scale", "told"), [(None, True), (1 / 255, True), (1.0, False)])
def test_small_floats_are_told_where_255_is_expected(scale, told):
    # A package holds the scale that was taken, so it is a number there, not None.
    assert bool(remarks(GREY.astype(np.float32), scale=scale)) == told


def test_colours_made_grey_are_told():
    colours = np.zeros((3, 4, 3), np.uint8)
    assert "made grey" in remarks(colours)
    assert "made grey" in remarks(np.zeros((3, 4, 4), np.uint8), alpha=True)
    assert remarks(colours, channels=3) == ""
    assert remarks(np.zeros((3, 4, 2), np.uint8), alpha=True) == ""
