"""The pass ``slice_pools`` against the graph as it was."""

from __future__ import annotations

import numpy as np
import pytest
from _graphs import Net, keras_arrays, ops
from hypothesis import given, settings
from hypothesis import strategies as st

from segrt.passes import slice_pools
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower

CONTEXT = PassContext(extra_passes=("slice_pools",))


def net_of(size=(8, 12), window=(2, 2), *, joined=True, **attributes):
    """Return a net whose skip is pooled and, unless told otherwise, concatenated."""
    net = Net()
    skip = net.conv(net.image(2, *size), 3, name="skip")
    wanted = {"kernel_shape": window, "strides": window} | attributes
    pool = net.layer("MaxPool", [skip], "pool", **wanted)
    ends = [pool]
    if joined:
        ends.append(net.layer("Concat", [skip, net.conv(skip, 2, name="up")], "join", axis=1))
    return net.model(*ends)


def pool_verdicts(verdicts):
    return [v for v in verdicts if v.pass_name == "slice_pools"]


@settings(max_examples=30, deadline=None)
@given(
    size=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    window=st.sampled_from([(2, 2), (1, 2), (2, 1), (1, 4), (3, 1)]),
)
def test_equals_the_pool_bit_for_bit(size, window):
    model = net_of(size, window)
    lowered, verdicts = lower(model, CONTEXT)
    (verdict,) = pool_verdicts(verdicts)
    assert verdict.applied
    assert verdict.certificate.claim == "bit-equal"
    assert "MaxPool" not in ops(lowered)
    x = np.random.default_rng(1).standard_normal((2, 2, *size)).astype(np.float32)
    wanted, found = keras_arrays(model, x), keras_arrays(lowered, x)
    assert set(found) == set(wanted)
    np.testing.assert_array_equal(found["pool"], wanted["pool"])


@pytest.mark.parametrize("window", [(2, 2), (1, 3), (4, 1)])
@pytest.mark.parametrize("size", [(None, None), (None, 12), (9, None)])
def test_one_graph_for_all_sizes(size, window):
    model = net_of(size, window)
    lowered, verdicts = lower(model, CONTEXT)
    (verdict,) = pool_verdicts(verdicts)
    assert verdict.applied, verdict.reason
    assert "MaxPool" not in ops(lowered)
    for height, width in ((8, 12), (9, 13), (11, 6)):
        sides = (size[0] or height, size[1] or width)
        x = np.random.default_rng(1).standard_normal((2, 2, *sides)).astype(np.float32)
        wanted, found = keras_arrays(model, x), keras_arrays(lowered, x)
        np.testing.assert_array_equal(found["pool"], wanted["pool"])


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "VALID"])
def test_padding_that_pads_nothing_is_none(auto_pad):
    model = net_of((8, 12), auto_pad=auto_pad)
    lowered, _ = lower(model, CONTEXT)
    assert "MaxPool" not in ops(lowered)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"strides": (1, 1)}, "overlap"),
        ({"window": (3, 3)}, "large"),
        ({"size": (None, 8), "auto_pad": "SAME_UPPER"}, "padded"),
        ({"size": (8, None), "ceil_mode": 1}, "padded"),
        ({"pads": (1, 1, 1, 1)}, "padded"),
        ({"size": (7, 8), "auto_pad": "SAME_UPPER"}, "padded"),
        ({"size": (7, 8), "ceil_mode": 1}, "padded"),
        ({"dilations": (2, 2)}, "gaps"),
    ],
)
def test_refuses_aloud(change, reason):
    lowered, verdicts = lower(net_of(**change), CONTEXT)
    (verdict,) = pool_verdicts(verdicts)
    assert not verdict.applied
    assert reason in verdict.reason
    assert "MaxPool" in ops(lowered)


def test_leaves_pools_of_other_values():
    lowered, verdicts = lower(net_of(joined=False), CONTEXT)
    assert pool_verdicts(verdicts) == []
    assert "MaxPool" in ops(lowered)


def test_a_wrong_window_is_caught_by_its_certificate(monkeypatch):
    real = slice_pools._window
    monkeypatch.setattr(slice_pools, "_window", lambda pool: real(pool)[::-1])
    lowered, verdicts = lower(net_of((8, 8), (1, 2)), CONTEXT)
    (verdict,) = pool_verdicts(verdicts)
    assert not verdict.applied
    assert "certificate" in verdict.reason
    assert "MaxPool" in ops(lowered)
