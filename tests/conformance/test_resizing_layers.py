"""Resizing to any size: nearest and bicubic by TensorFlow's formulas, sizes that are unknown."""

import numpy as np
import pytest

from helpers.closeness import assert_close, assert_same_bits
from helpers.layer_calls import KERAS_3, apply, convert, run_openvino
from segrt.errors import SegrtError

BOUND = 3e-6


def random(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def nearest(size, wanted):
    """The pixel under each new pixel's center, in whole numbers."""
    return (2 * np.arange(wanted) + 1) * size // (2 * wanted)


def linear(size, wanted):
    """The matrix of linear interpolation between pixel centers."""
    places = np.clip((np.arange(wanted) + 0.5) * size / wanted - 0.5, 0, size - 1)
    return np.maximum(0, 1 - abs(places[:, None] - np.arange(size)[None]))


SIZES = [(7, 9, 14, 18), (7, 9, 3, 4), (8, 6, 5, 15), (5, 31, 33, 7), (3, 10, 10, 3), (1, 2, 4, 1)]


@pytest.mark.parametrize(("height", "width", "rows", "columns"), SIZES)
@pytest.mark.parametrize("unknown", [False, True])
def test_nearest_reads_the_pixel_under_the_center(height, width, rows, columns, unknown):
    x = random(1, height, width, 2)
    config = {"height": rows, "width": columns, "interpolation": "nearest"}
    wanted = x[:, nearest(height, rows)][:, :, nearest(width, columns)]
    assert_same_bits(apply("Resizing", config, [], x, unknown=unknown), wanted)


@pytest.mark.parametrize(("height", "width", "rows", "columns"), SIZES)
@pytest.mark.parametrize("unknown", [False, True])
def test_bilinear_samples_between_centers(height, width, rows, columns, unknown):
    x = random(1, height, width, 2)
    config = {"height": rows, "width": columns}
    wanted = np.einsum("rh,nhwc,kw->nrkc", linear(height, rows), x, linear(width, columns))
    assert_close(apply("Resizing", config, [], x, unknown=unknown), wanted, BOUND)
    found = apply("Resizing", config, [], x, unknown=unknown, run=run_openvino)
    assert_close(found, wanted, BOUND)


def test_every_ratio_of_small_sizes_gives_the_right_size_and_pixels():
    for size in range(1, 14):
        x = random(1, size, 1, 1)
        for wanted in range(1, 30):
            config = {"height": wanted, "width": 1, "interpolation": "nearest"}
            found = apply("Resizing", config, [], x)
            assert_same_bits(found, x[:, nearest(size, wanted)])


def test_bicubic_upsampling_of_unknown_sizes():
    x = random(1, 5, 6, 2)
    config = {"size": [2, 4], "interpolation": "bicubic"}
    remarks = []
    found = apply("UpSampling2D", config, [], x, unknown=True, remarks=remarks)
    assert_close(found, apply("UpSampling2D", config, [], x), BOUND)
    assert "OpenVINO" in remarks[0]
    shape = [(None, None, None, 2)]
    with pytest.raises(SegrtError, match="powers of 2"):
        convert("UpSampling2D", {**config, "size": 3}, [], shape)
    with pytest.raises(SegrtError, match="known sizes"):
        convert("Resizing", {"height": 4, "width": 4, "interpolation": "bicubic"}, [], shape)


@pytest.mark.parametrize(
    "config",
    [
        {"height": 4, "width": 4, "interpolation": "area"},
        {"height": 4, "width": 4, "interpolation": "lanczos3"},
        {"height": 4, "width": 4, "antialias": True},
        {"height": 0, "width": 4},
        {"height": 4},
        {"height": 4, "width": 4, "crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True},
        {"height": 4, "width": 9, "pad_to_aspect_ratio": True, "fill_mode": "edge"},
    ],
)
def test_what_cannot_be_exact_is_refused(config):
    with pytest.raises(SegrtError, match="layer 'layer'"):
        convert("Resizing", config, [], [(None, 6, 6, 3)], version=KERAS_3)
