from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from segrt.errors import UsageError
from segrt.prediction.blend import Blender, Mosaic, ramp
from segrt.prediction.tiling import choose_tile, mirrored, plan_tiles
from segrt.types import ShapeProfile

RNG = np.random.default_rng(11)


@st.composite
def plans(draw):
    size = draw(st.tuples(st.integers(1, 70), st.integers(1, 70)))
    tile = draw(st.tuples(st.integers(1, 30), st.integers(1, 30)))
    overlap = tuple(draw(st.integers(0, side - 1)) for side in tile)
    return plan_tiles(size, tile, overlap)


def blend(plan, image, network=lambda tile: tile):
    blender, rows = Blender(plan, image.shape[-1]), []
    for index in range(plan.count):
        band = blender.add(network(plan.cut(image, index)))
        if band is not None:
            assert band.first_row == sum(map(len, rows))
            rows.append(band.values)
    return np.concatenate(rows)


@settings(deadline=None, max_examples=150)
@given(plans())
def test_tiles_lie_inside_cover_everything_and_overlap_as_asked(plan):
    for starts, length, side, asked in zip(
        (plan.rows, plan.columns), plan.size, plan.tile, plan.overlap, strict=True
    ):
        assert starts[0] == 0
        assert starts[-1] == max(0, length - side)
        steps = np.diff(starts)
        assert (steps > 0).all()
        assert (side - steps >= asked).all()
        fewest = 1 if length <= side else -(-(length - asked) // (side - asked))
        assert len(starts) == fewest


@settings(deadline=None, max_examples=100)
@given(plans(), st.integers(0, 2**32 - 1))
def test_identity_network_gives_back_the_image_bit_for_bit(plan, seed):
    image = np.random.default_rng(seed).normal(size=(*plan.size, 2)).astype(np.float32)
    np.testing.assert_array_equal(blend(plan, image), image)


@settings(deadline=None, max_examples=60)
@given(plans())
def test_weights_sum_to_one(plan):
    """Tile k predicts the k-th unit vector: the result is each tile's share of each pixel."""
    image = np.zeros((*plan.size, min(plan.count, 40)), np.float32)
    counter = iter(range(plan.count))

    def one(tile):
        tile = np.zeros((*plan.tile, image.shape[-1]), np.float32)
        tile[..., next(counter) % image.shape[-1]] = 1
        return tile

    shares = blend(plan, image, one)
    assert shares.min() >= 0
    np.testing.assert_allclose(shares.sum(axis=-1), 1, atol=1e-5)


def test_running_mean_is_the_weighted_mean():
    plan = plan_tiles((50, 45), (20, 16), (8, 5))
    tiles = RNG.normal(size=(plan.count, 20, 16, 3))
    window = np.outer(ramp(20, 8), ramp(16, 5)).astype(np.float64)
    total, weight = np.zeros((50, 45, 3)), np.zeros((50, 45, 1))
    for index, tile in enumerate(tiles):
        y, x = plan.rows[index // len(plan.columns)], plan.columns[index % len(plan.columns)]
        total[y : y + 20, x : x + 16] += tile * window[..., None]
        weight[y : y + 20, x : x + 16] += window[..., None]
    given_tiles = iter(tiles.astype(np.float32))
    found = blend(plan, np.zeros((50, 45, 3), np.float32), lambda _: next(given_tiles))
    np.testing.assert_allclose(found, total / weight, atol=1e-5)


@pytest.mark.parametrize(("tile", "overlap"), [(8, 3), (8, 4), (9, 1), (256, 64), (5, 0)])
def test_ramps_of_neighbours_sum_to_one(tile, overlap):
    weights = ramp(tile, overlap)
    assert (weights > 0).all()
    if overlap:
        np.testing.assert_allclose(weights[-overlap:] + weights[:overlap], 1, atol=1e-6)
    np.testing.assert_array_equal(weights, weights[::-1])


def test_equivariant_network_gives_the_untiled_result_where_tiles_see_enough():
    """A 5x5 box filter sees two pixels; away from tile edges tiled and untiled must agree."""
    image = RNG.normal(size=(90, 77, 1)).astype(np.float32)

    def box(tile):
        return ndimage.uniform_filter(tile, size=(5, 5, 1), mode="mirror").astype(np.float32)

    def hard_edge(tile):
        wrong = box(tile)
        wrong[:2] = wrong[-2:] = wrong[:, :2] = wrong[:, -2:] = 1000.0
        return wrong

    plan = plan_tiles((90, 77), (32, 32), (12, 12))
    whole = box(image)
    # Where every covering tile sees all five pixels, up to rounding.
    seen = blend(plan, image, lambda tile: (hard_edge(tile) > 500).astype(np.float32)) == 0
    assert seen.mean() > 0.5
    np.testing.assert_allclose(blend(plan, image, box)[seen], whole[seen], atol=2e-6)


def test_tile_edges_hardly_count():
    """What goes wrong at the outermost pixels of a tile is damped by the window."""
    plan = plan_tiles((100, 100), (40, 40), (20, 20))

    def edge(tile):
        marked = np.zeros((*tile.shape[:2], 1), np.float32)
        marked[0] = marked[-1] = marked[:, 0] = marked[:, -1] = 1
        return marked

    found = blend(plan, np.zeros((100, 100, 1), np.float32), edge)
    assert found[1:-1, 1:-1].max() < 0.01


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (5, 40)])
def test_small_images_are_mirrored(size):
    image = RNG.integers(0, 256, (*size, 1))
    plan = plan_tiles(size, (16, 16), (0, 0))
    pad = [(0, max(0, 16 - length)) for length in size]
    expected = np.pad(image, [*pad, (0, 0)], mode="reflect")[:16, :16]
    np.testing.assert_array_equal(plan.cut(image, 0), expected)


@given(st.integers(1, 20), st.integers(0, 60))
def test_mirrored_indices_are_numpys(length, extra):
    found = mirrored(np.arange(length + extra), length)
    np.testing.assert_array_equal(found, np.pad(np.arange(length), (0, extra), mode="reflect"))


@pytest.mark.parametrize(
    ("size", "fixed", "multiple", "asked", "expected"),
    [
        ((512, 512), (256, 128), (1, 1), None, (256, 128)),
        ((100, 90), (256, 256), (1, 1), 256, (256, 256)),
        ((100, 90), (None, None), (16, 32), None, (112, 96)),
        ((1000, 2000), (None, None), (16, 16), None, (992, 992)),
        ((1000, 2000), (None, None), (16, 16), 300, (304, 304)),
        ((64, 2000), (None, None), (16, 16), 304, (64, 304)),
        ((40, 5000), (None, None), (16, 16), None, (48, 5008)),
        ((40, 50000), (None, None), (16, 16), None, (48, 992)),
        ((700, 700), (None, 256), (32, 256), None, (704, 256)),
    ],
)
def test_choice_of_the_tile(size, fixed, multiple, asked, expected):
    assert choose_tile(size, fixed, multiple, asked, whole_pixels=999_999) == expected


def test_tile_that_a_fixed_network_cannot_take():
    with pytest.raises(UsageError, match="tile"):
        choose_tile((512, 512), (256, 256), (1, 1), 128)


@pytest.mark.parametrize("overlap", [-1, 8, 9])
def test_overlap_must_be_smaller_than_the_tile(overlap):
    with pytest.raises(UsageError, match="overlap"):
        plan_tiles((20, 20), (8, 8), (overlap, 0))


RANGE = ShapeProfile(64, 128, 250)


@pytest.mark.parametrize(
    ("size", "asked", "expected"),
    [
        ((30, 200), None, (64, 208)),  # too small: mirrored; a multiple of 16 that holds it
        ((500, 100), None, (240, 112)),  # too large: the largest multiple that is allowed
        ((500, 500), 128, (128, 128)),
        ((500, 500), 130, (144, 144)),
    ],
)
def test_tiles_stay_within_a_range(size, asked, expected):
    assert choose_tile(size, (RANGE, RANGE), (16, 16), asked) == expected


def test_a_range_without_a_multiple_gives_its_usual_size():
    narrow = ShapeProfile(60, 61, 62)
    assert choose_tile((500, 10), (narrow, 32), (16, 16), None) == (61, 32)


def test_tile_outside_a_range():
    with pytest.raises(UsageError, match="tile") as caught:
        choose_tile((512, 512), (RANGE, RANGE), (1, 1), 512)
    assert "64 to 250" in str(caught.value)


@given(plans(), st.integers(0, 2**32 - 1))
def test_masks_are_joined_from_whole_pixels(plan, seed):
    classes = np.random.default_rng(seed).integers(0, 4, plan.size).astype("f4")[..., None]
    mosaic, rows = Mosaic(plan, 1), []
    for index in range(plan.count):
        band = mosaic.add(plan.cut(classes, index))
        if band is not None:
            rows.append(band.values)
    assert np.array_equal(np.concatenate(rows), classes)


def test_a_seam_lies_in_the_middle_of_what_tiles_share():
    plan = plan_tiles((4, 12), (4, 8), (0, 4))
    mosaic = Mosaic(plan, 1)
    assert mosaic.add(np.full((4, 8, 1), 1, "f4")) is None
    band = mosaic.add(np.full((4, 8, 1), 2, "f4"))
    assert band.values[0, :, 0].tolist() == [1] * 6 + [2] * 6
