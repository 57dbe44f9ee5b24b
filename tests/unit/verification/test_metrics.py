"""The comparison helper must reject everything that is wrong before it is trusted anywhere."""

import numpy as np
import pytest

from segrt.verification.metrics import Accumulator, compare
from segrt.verification.tolerance import Limit, complaint

LIMIT = Limit(relative_l2=1e-5, peak=1e-4)


@pytest.fixture
def reference():
    return np.random.default_rng(1).normal(size=(2, 9, 9, 4)).astype(np.float32)


def one_channel_wrong(x):
    x[..., 2] = x[..., 1]
    return x


def one_pixel_wrong(x):
    x[0, 3, 4, 1] += 1.0
    return x


def with_value(value):
    def put(x):
        x[1, 2, 3, 0] = value
        return x

    return put


BROKEN = {
    "doubled": lambda x: x * 2,
    "negated": lambda x: -x,
    "shifted": lambda x: np.roll(x, 1, axis=2),
    "transposed in space": lambda x: x.transpose(0, 2, 1, 3),
    "reinterpreted layout": lambda x: x.transpose(0, 3, 1, 2).copy().reshape(x.shape),
    "one channel wrong": one_channel_wrong,
    "one pixel wrong": one_pixel_wrong,
    "batch swapped": lambda x: x[::-1],
    "all zero": np.zeros_like,
    "small bias": lambda x: x + 1e-3,
    "NaN": with_value(np.nan),
    "infinite": with_value(np.inf),
    "transposed shape": lambda x: x.transpose(0, 3, 1, 2),
    "one row less": lambda x: x[:, :-1],
    "extra axis": lambda x: x[None],
    "broadcastable": lambda x: x[:1],
    "integers": lambda x: x.astype(np.int32),
    "booleans": lambda x: x > 0,
    "complex": lambda x: x.astype(np.complex64),
    "objects": lambda x: x.astype(object),
    "strings": lambda x: x.astype(str),
}


@pytest.mark.parametrize("how", BROKEN)
def test_rejects(how, reference):
    candidate = BROKEN[how](reference.copy())
    assert complaint(compare(reference, candidate), LIMIT)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_same_non_finite_number_on_both_sides_does_not_pass(reference, value):
    reference[0, 0, 0, 0] = value
    result = compare(reference, reference.copy())
    assert "finite" in complaint(result, LIMIT)


def test_rejects_empty_arrays():
    empty = np.zeros((0, 4), np.float32)
    assert "nothing" in complaint(compare(empty, empty), LIMIT)
    assert "nothing" in complaint(Accumulator().result(), LIMIT)


def test_accepts_equal_and_rounded(reference):
    assert complaint(compare(reference, reference.copy()), Limit(0.0, 0.0)) == ""
    rounded = (reference.astype(np.float64) * (1 + 1e-7)).astype(np.float32)
    assert complaint(compare(reference, rounded), LIMIT) == ""
    assert complaint(compare(reference, rounded), Limit(0.0, 0.0)) != ""


def test_half_against_single_is_compared_by_value(reference):
    result = compare(reference, reference.astype(np.float16))
    assert result.problem == ""
    assert 1e-5 < result.relative_l2 < 1e-3


def test_integers_compare_with_integers():
    ref = np.arange(12).reshape(3, 4)
    assert complaint(compare(ref, ref.astype(np.int32)), Limit(0.0, 0.0)) == ""
    assert complaint(compare(ref, ref + 1), Limit(0.0, 0.0))


def test_numbers_by_hand():
    result = compare(np.array([[3.0, 4.0]]), np.array([[3.0, 5.0]]))
    assert result.max_abs == 1.0
    assert result.relative_l2 == pytest.approx(1 / 5)
    assert result.cosine == pytest.approx(29 / (5 * np.sqrt(34)))
    assert result.mape == pytest.approx(100 * (0 + 1 / 4) / 2)
    assert result.peak == pytest.approx(1 / 4)
    assert result.elements == 2


def test_percentage_error_leaves_zeros_of_the_reference_out():
    result = compare(np.array([0.0, 0.0, 2.0]), np.array([0.0, 1.0, 1.0]))
    assert result.mape == pytest.approx(50.0)
    assert result.zeros == 2
    assert compare(np.zeros(3), np.zeros(3)).mape == 0.0
    assert compare(np.zeros(3), np.ones(3)).mape == np.inf


def test_a_zero_reference_only_accepts_zeros():
    assert complaint(compare(np.zeros(5), np.zeros(5)), LIMIT) == ""
    result = compare(np.zeros(5), np.full(5, 1e-20))
    assert result.relative_l2 == np.inf
    assert complaint(result, LIMIT)


def test_pieces_add_up(reference):
    other = reference + np.float32(0.01) * np.random.default_rng(2).normal(size=reference.shape)
    whole = compare(reference, other)
    pieces = Accumulator()
    for row in range(2):
        pieces.update(reference[row : row + 1], other[row : row + 1])
    for name in ("max_abs", "relative_l2", "cosine", "mape", "peak", "elements"):
        assert getattr(pieces.result(), name) == pytest.approx(getattr(whole, name), rel=1e-12)


def test_an_early_problem_is_not_forgotten(reference):
    pieces = Accumulator()
    pieces.update(reference, reference[:, :-1])
    pieces.update(reference, reference)
    assert "shape" in pieces.result().problem


def test_small_values_do_not_underflow():
    tiny = np.full((1, 8), 1e-30, np.float32)
    assert compare(tiny, tiny * 2).relative_l2 == pytest.approx(1.0, rel=1e-6)


def test_strides_do_not_matter(reference):
    stored = np.ascontiguousarray(reference.transpose(0, 3, 1, 2))
    assert compare(reference, stored.transpose(0, 2, 3, 1)).max_abs == 0.0


def test_recorded_numbers_are_compared_with_whole_ones_by_value():
    recorded = np.array([[0.0, 1.0, 7.0]], np.float32)
    for kind in (np.int32, np.int64, np.uint8):
        assert compare(recorded, recorded.astype(kind)).relative_l2 == 0.0
        assert compare(recorded, (recorded + 1).astype(kind)).relative_l2 > 0.1
    assert compare(recorded[:, :2], recorded[:, :2].astype(bool)).relative_l2 == 0.0
    # The other way round something was cut off: whole numbers are wanted, fractions found.
    assert compare(recorded.astype(np.int64), recorded).problem
