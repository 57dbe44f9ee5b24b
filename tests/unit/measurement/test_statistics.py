"""Figures of times, against NumPy's definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segrt.measurement.statistics import percentile, summarise

TIMES = st.lists(st.floats(1e-3, 1e4), min_size=1, max_size=50)


@settings(deadline=None)
@given(TIMES, st.floats(0, 100))
def test_percentiles_are_numpys(times, percent):
    found = percentile(sorted(times), percent)
    assert found == pytest.approx(float(np.percentile(times, percent)), rel=1e-12)


@settings(deadline=None)
@given(TIMES)
def test_the_figures_are_what_they_are_called(times):
    found = summarise(times)
    assert found.runs == len(times)
    assert found.fastest == min(times)
    assert found.p50 == pytest.approx(float(np.median(times)), rel=1e-12)
    assert found.p90 == pytest.approx(float(np.percentile(times, 90)), rel=1e-12)
    assert found.p99 == pytest.approx(float(np.percentile(times, 99)), rel=1e-12)


def test_one_slow_run_shows_in_the_tail_alone():
    found = summarise([1.0] * 99 + [50.0])
    assert (found.p50, found.p90) == (1.0, 1.0)
    assert found.p99 > 1.0
