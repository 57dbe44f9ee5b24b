"""Sizes and ranges as they are written on the command line."""

import click
import pytest

from segrt.cli import _sizes
from segrt.types import ShapeProfile


@pytest.mark.parametrize(
    ("text", "expected"),
    [("4", 4), ("1:8:32", ShapeProfile(1, 8, 32)), ("2:2:2", ShapeProfile(2, 2, 2))],
)
def test_batches(text, expected):
    assert _sizes.batch(text) == expected


SQUARES = ShapeProfile(128, 256, 512)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("256", (256,)),
        ("16x256x320", (16, 256, 320)),
        ("8x16x16:16x32x32:32", (ShapeProfile(8, 16, 32), *[ShapeProfile(16, 32, 32)] * 2)),
        ("256x320", (256, 320)),
        ("256X320", (256, 320)),
        ("128:256:512", (SQUARES,)),
        ("128x128:256x256:512x512", (SQUARES, SQUARES)),
        ("128x64:256x64:512x96", (SQUARES, ShapeProfile(64, 64, 96))),
        ("128:256x256:512", (SQUARES, SQUARES)),
    ],
)
def test_images(text, expected):
    assert _sizes.size(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1:8", "three sizes"), ("1:2:3:4", "three sizes"), ("8:4:16", "from the smallest"),
        ("0", "at least 1"), ("a", "not of the form"), ("", "not of the form"),
        ("1::4", "not of the form"), ("-1", "not of the form"),
    ],
)  # fmt: skip
def test_what_is_no_size_is_refused(text, said):
    with pytest.raises(click.BadParameter, match=said):
        _sizes.batch(text)
    with pytest.raises(click.BadParameter, match=said):
        _sizes.size(text)


@pytest.mark.parametrize("text", ["1x2x3x4", "8x8:16x16x16:32x32"])
def test_other_numbers_of_sides_are_refused(text):
    with pytest.raises(click.BadParameter, match="HEIGHTxWIDTH"):
        _sizes.size(text)
