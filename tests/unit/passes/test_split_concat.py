"""The pass ``split_concat`` against the graph as it was."""

from __future__ import annotations

import numpy as np
import pytest
from _graphs import Net, keras_arrays, ops
from hypothesis import given, settings
from hypothesis import strategies as st

from segrt.graph import metadata
from segrt.passes import split_concat
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower

CONTEXT = PassContext(extra_passes=("split_concat",))


def net_of(channels, *, axis=1, bias=True, **attributes):
    net = Net()
    x = net.image(2)
    parts = [net.conv(x, count, name=f"part{i}") for i, count in enumerate(channels)]
    joined = net.layer("Concat", parts, "joined", axis=axis)
    y = net.conv(joined, 4, bias=bias, **attributes)
    return net, joined, net.layer("Relu", [y], "relu")


def split_verdicts(verdicts):
    return [v for v in verdicts if v.pass_name == "split_concat"]


@settings(max_examples=30, deadline=None)
@given(
    channels=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    bias=st.booleans(),
)
def test_equals_the_convolution_of_the_concatenation(channels, kernel, strides, bias):
    net, _, y = net_of(channels, kernel=kernel, strides=strides, bias=bias)
    model = net.model(y)
    lowered, verdicts = lower(model, CONTEXT)
    (verdict,) = split_verdicts(verdicts)
    assert verdict.applied
    assert "Concat" not in ops(lowered)
    assert ops(lowered).count("Conv") == 2 * len(channels)
    x = np.random.default_rng(1).standard_normal((2, 2, 6, 5)).astype(np.float32)
    wanted, found = keras_arrays(model, x), keras_arrays(lowered, x)
    assert set(wanted) - set(found) == {"joined"} == set(metadata.fused(lowered))
    for name in found:
        scale = np.linalg.norm(wanted["conv"])
        assert np.linalg.norm(found[name] - wanted[name]) <= 1e-5 * scale


def test_refuses_what_others_read_too():
    net, joined, y = net_of([2, 3])
    lowered, verdicts = lower(net.model(y, net.layer("Relu", [joined], "other")), CONTEXT)
    assert not split_verdicts(verdicts)[0].applied
    assert "Concat" in ops(lowered)


@pytest.mark.parametrize("case", ["axis", "group", "twice"])
def test_refuses_aloud(case):
    if case == "twice":
        net = Net()
        x = net.conv(net.image(2), 3, name="part0")
        y = net.conv(net.layer("Concat", [x, x], "joined", axis=1), 4)
    else:
        options = {"axis": {"axis": 2}, "group": {"group": 2}}[case]
        net, _, y = net_of([2, 2], **options)
    lowered, verdicts = lower(net.model(y), CONTEXT)
    (verdict,) = split_verdicts(verdicts)
    assert not verdict.applied
    assert verdict.reason
    assert "Concat" in ops(lowered)
    assert not metadata.fused(lowered)


def test_a_wrong_cut_is_caught_by_its_certificate(monkeypatch):
    real = split_concat._parts
    monkeypatch.setattr(split_concat, "_parts", lambda concat: real(concat)[::-1])
    net, _, y = net_of([2, 3])
    lowered, verdicts = lower(net.model(y), CONTEXT)
    assert not split_verdicts(verdicts)[0].applied
    assert "Concat" in ops(lowered)
