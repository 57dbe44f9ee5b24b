"""How an output of the deployed session is judged by its masks."""

import numpy as np
import pytest

from segrt.types import Precision, TensorSpec
from segrt.verification._outputs import OutputComparison
from segrt.verification.tolerance import TOLERANCES


def _note(flips: dict[float, float], precision: Precision = Precision.FP32) -> str:
    """Return what is said of an output of 4096 pixels, some of them moved."""
    spec = TensorSpec("mask", (None, 64, 64, 1), "float32", channel_axis=-1)
    tolerance = TOLERANCES[precision]
    comparison = OutputComparison(
        spec, "Sigmoid", threshold=None, band_px=2, margin=tolerance.undecided
    )
    reference = np.random.default_rng(0).choice([0.1, 0.9], (1, 64, 64, 1)).astype(np.float32)
    candidate = reference.copy()
    for place, (one, other) in enumerate(flips.items()):
        reference[0, 0, place], candidate[0, 0, place] = one, other
    comparison.update(reference, candidate)
    return comparison.row(tolerance).note


def test_a_pixel_on_the_threshold_may_fall_on_either_side():
    assert _note({0.5 - 3e-7: 0.5 + 3e-7, 0.5 + 5e-7: 0.5 - 2e-7}) == ""


def test_a_pixel_beside_the_threshold_may_not():
    # Within what the values may differ by, but not what a mask may.
    assert _note({0.5 - 2e-5: 0.5 + 2e-5}) == (
        "masks agree on all but 1 of 4096 pixels, wanted a share of 1"
    )
    both = {0.5 - 3e-7: 0.5 + 3e-7, 0.5 - 2e-5: 0.5 + 2e-5}
    assert "all but 2 of 4096 pixels (1 of them by rounding)" in _note(both)


@pytest.mark.parametrize("precision", sorted(set(TOLERANCES) - {Precision.FP32}))
def test_coarser_numbers_have_a_share_of_their_own(precision):
    assert TOLERANCES[precision].undecided == 0
    assert TOLERANCES[precision].mask_agreement < 1
