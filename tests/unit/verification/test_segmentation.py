"""Masks, overlap figures and the boundary band, against numbers worked out by hand."""

import numpy as np
import pytest

from segrt.errors import UsageError
from segrt.verification.segmentation import MaskComparison, MaskRule, boundary_band


def square(size=16, start=4, stop=12):
    mask = np.zeros((1, size, size), np.int64)
    mask[:, start:stop, start:stop] = 1
    return mask


def test_band_of_a_step_edge():
    mask = np.zeros((1, 6, 10), np.int64)
    mask[:, :, 5:] = 1
    # The two columns that touch are the boundary; a band of 1 px adds one column on either side.
    assert boundary_band(mask, 0)[0, 0].tolist() == [False] * 4 + [True] * 2 + [False] * 4
    assert boundary_band(mask, 1)[0, 3].tolist() == [False] * 3 + [True] * 4 + [False] * 3


def test_band_of_a_uniform_mask_is_empty():
    assert not boundary_band(np.ones((2, 5, 5), np.int64), 3).any()


def test_band_does_not_wrap_around():
    mask = np.zeros((1, 5, 9), np.int64)
    mask[:, :, 0] = 1
    assert not boundary_band(mask, 2)[..., -3:].any()


def one_channel(masks):
    return masks[..., None].astype(np.float32)


def test_figures_by_hand():
    comparison = MaskComparison(MaskRule("threshold", 0.5), classes=2, band_px=1)
    reference = square()
    candidate = reference.copy()
    candidate[0, 4, 4:8] = 0  # four pixels on the edge
    candidate[0, 0, 0] = 1  # one far from it
    comparison.update(one_channel(reference), one_channel(candidate))
    result = comparison.result()
    assert result.pixels == 256
    assert result.agreement == pytest.approx(1 - 5 / 256)
    assert result.iou[1] == pytest.approx(60 / 65)
    assert result.dice[1] == pytest.approx(2 * 60 / (64 + 61))
    assert result.iou[0] == pytest.approx(191 / 196)
    band = int(boundary_band(reference, 1).sum())
    assert result.band_error == pytest.approx(4 / band)
    assert result.elsewhere_error == pytest.approx(1 / (256 - band))


def test_equal_masks():
    comparison = MaskComparison(MaskRule("argmax"), classes=3, band_px=2)
    probabilities = np.random.default_rng(0).random((2, 8, 8, 3)).astype(np.float32)
    comparison.update(probabilities, probabilities.copy())
    result = comparison.result()
    assert result.agreement == 1.0
    assert result.iou == (1.0, 1.0, 1.0)
    assert result.band_error == 0.0


def test_a_class_that_occurs_nowhere_has_no_overlap():
    comparison = MaskComparison(MaskRule("threshold", 0.5), classes=2, band_px=2)
    empty = np.zeros((1, 8, 8, 1), np.float32)
    comparison.update(empty, empty)
    result = comparison.result()
    assert result.iou == (1.0, None)
    assert result.dice == (1.0, None)
    assert result.band_error is None


def test_pieces_add_up():
    rng = np.random.default_rng(0)
    first, second = (rng.random((3, 9, 9, 4)).astype(np.float32) for _ in range(2))
    whole, pieces = (MaskComparison(MaskRule("argmax"), classes=4, band_px=1) for _ in range(2))
    whole.update(first, second)
    for row in range(3):
        pieces.update(first[row : row + 1], second[row : row + 1])
    assert whole.result() == pieces.result()


def test_nan_agrees_with_nothing():
    comparison = MaskComparison(MaskRule("threshold", 0.5), classes=2, band_px=1)
    nan = np.full((1, 8, 8, 1), np.nan, np.float32)
    comparison.update(nan, nan)
    assert comparison.result().agreement == 0.0


NEAR = np.float32(0.5) + np.float32(5e-7) * np.array([-1, 1, -6000, 6000, 1], np.float32)


def _undecided(reference, candidate, rule, classes=2, margin=2e-6) -> tuple[int, float]:
    comparison = MaskComparison(rule, classes=classes, band_px=1, margin=margin)
    comparison.update(reference, candidate)
    result = comparison.result()
    return result.undecided, result.agreement


def test_pixels_at_the_threshold_are_undecided():
    rule = MaskRule("threshold", 0.5)
    reference = np.ones((1, 1, 6, 1), np.float32)
    reference[0, 0, :5, 0] = NEAR
    candidate = reference.copy()
    # Across the threshold by rounding; by more than that; near in one of them only.
    candidate[0, 0, :5, 0] = NEAR[[1, 0, 3, 2, 2]]
    assert _undecided(reference, candidate, rule) == (2, 1 / 6)
    assert _undecided(reference, candidate, rule, margin=0.0) == (0, 1 / 6)
    # The margin grows with the values: an output of 1000 times the size rounds as much more.
    reference[0, 0, 5, 0] = candidate[0, 0, 5, 0] = 2000
    assert _undecided(reference, candidate, rule) == (5, 1 / 6)
    reference[0, 0, 5, 0] = candidate[0, 0, 5, 0] = np.inf
    assert _undecided(reference, candidate, rule)[0] == 2


def test_classes_of_the_same_value_are_undecided():
    reference = np.array([[[[0.5, 0.5 + 1e-6, 0.1], [0.5, 0.5 + 1e-6, 0.1], [1, 0, 0.9]]]])
    candidate = np.array([[[[0.5 + 1e-6, 0.5, 0.1], [0.1, 0.5, 0.5 + 1e-6], [0.9, 0, 1]]]])
    assert _undecided(reference, candidate, MaskRule("argmax"), 3) == (1, 0.0)


@pytest.mark.parametrize("rule", [MaskRule("threshold", 0.0), MaskRule("argmax")])
def test_nan_is_never_undecided(rule):
    channels = 1 if rule.kind == "threshold" else 2
    plain = np.zeros((1, 4, 4, channels), np.float32)
    broken = plain.copy()
    broken[..., 0] = np.nan
    for pair in ((plain, broken), (broken, plain), (broken, broken)):
        assert _undecided(*pair, rule) == (0, 0.0)


def test_channel_axis():
    rng = np.random.default_rng(1)
    first, second = (rng.random((1, 6, 6, 3)).astype(np.float32) for _ in range(2))
    last = MaskComparison(MaskRule("argmax"), classes=3, band_px=1)
    front = MaskComparison(MaskRule("argmax"), classes=3, band_px=1, channel_axis=1)
    last.update(first, second)
    front.update(first.transpose(0, 3, 1, 2), second.transpose(0, 3, 1, 2))
    assert last.result() == front.result()


@pytest.mark.parametrize(
    ("operator", "channels", "threshold", "wanted"),
    [
        ("Sigmoid", 1, None, MaskRule("threshold", 0.5)),
        ("HardSigmoid", 1, None, MaskRule("threshold", 0.5)),
        ("Conv", 1, None, MaskRule("threshold", 0.0)),
        ("Tanh", 1, None, MaskRule("threshold", 0.0)),
        ("Sigmoid", 1, 0.3, MaskRule("threshold", 0.3)),
        ("Softmax", 4, None, MaskRule("argmax")),
        ("Conv", 4, None, MaskRule("argmax")),
        ("Sigmoid", 2, None, MaskRule("argmax")),
    ],
)
def test_rule(operator, channels, threshold, wanted):
    assert MaskRule.choose(operator, channels, threshold) == wanted


def test_a_threshold_for_many_classes_is_refused():
    with pytest.raises(UsageError, match="threshold"):
        MaskRule.choose("Softmax", 3, 0.5)
