"""The pass ``fold_pixels`` against the graph as it was."""

from __future__ import annotations

import numpy as np
import pytest
from _graphs import Net, keras_arrays, ops
from hypothesis import given, settings
from hypothesis import strategies as st

from segrt.graph import metadata
from segrt.passes import fold_pixels
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower

CONTEXT = PassContext(extra_passes=("fold_pixels",))


def fold_verdicts(verdicts):
    return [v for v in verdicts if v.pass_name == "fold_pixels"]


def tail(outputs, kernel=(3, 3), size=(8, 12), *, bias=True, **attributes):
    """Return a net that ends like a U-Net: few outputs, an activation, 1x1, an activation."""
    net = Net()
    x = net.image(5, *size)
    y = net.layer("Relu", [net.conv(x, outputs, kernel, bias=bias, **attributes)], "relu")
    y = net.conv(y, 3, (1, 1), bias=bias, name="last")
    return net, y, net.layer("Sigmoid", [y], "sigmoid")


@settings(max_examples=30, deadline=None)
@given(
    outputs=st.integers(1, 4),
    kernel=st.tuples(st.integers(3, 5), st.integers(3, 5)),
    size=st.sampled_from([(4, 4), (8, 12), (12, 8)]),
    bias=st.booleans(),
)
def test_equals_the_tail(outputs, kernel, size, bias):
    net, _, y = tail(outputs, kernel, size, bias=bias)
    model = net.model(y)
    lowered, verdicts = lower(model, CONTEXT)
    (verdict,) = fold_verdicts(verdicts)
    assert verdict.applied
    first = next(node for node in lowered.graph if node.op_type == "Conv")
    assert first.outputs[0].shape[1] in (12, 16)
    x = np.random.default_rng(1).standard_normal((2, 5, *size)).astype(np.float32)
    wanted, found = keras_arrays(model, x), keras_arrays(lowered, x)
    assert set(found) == {"sigmoid"}
    assert set(metadata.fused(lowered)) == {"conv", "relu", "last"}
    np.testing.assert_allclose(found["sigmoid"], wanted["sigmoid"], atol=2e-6)


def test_stops_where_a_value_is_needed():
    net, last, y = tail(2)
    model = net.model(y, last)
    lowered, verdicts = lower(model, CONTEXT)
    assert fold_verdicts(verdicts)[0].applied
    x = np.random.default_rng(1).standard_normal((1, 5, 8, 12)).astype(np.float32)
    wanted, found = keras_arrays(model, x), keras_arrays(lowered, x)
    assert set(found) == {"last", "sigmoid"}
    for name in found:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"size": (8, 10)}, "whole blocks"),
        ({"size": (None, None)}, "not fixed"),
        ({"strides": (2, 2)}, "strides"),
        ({"pads": (0, 0, 0, 0), "size": (10, 14)}, "changes the image's size"),
    ],
)
def test_refuses_aloud(change, reason):
    net, _, y = tail(2, **change)
    lowered, verdicts = lower(net.model(y), CONTEXT)
    (verdict,) = fold_verdicts(verdicts)
    assert not verdict.applied
    assert reason in verdict.reason
    assert ops(lowered) == ["Conv", "Relu", "Conv", "Sigmoid"]


def test_leaves_wide_and_pointwise_convolutions_alone():
    net = Net()
    y = net.conv(net.conv(net.image(3, 8, 8), 5, name="a"), 2, (1, 1), name="b")
    _, verdicts = lower(net.model(y), CONTEXT)
    assert not fold_verdicts(verdicts)


def test_a_wrong_block_is_caught_by_its_certificate(monkeypatch):
    real = fold_pixels.pixel_shuffle
    monkeypatch.setattr(
        fold_pixels,
        "pixel_shuffle",
        lambda rewriter, x, block, name: real(rewriter, x, block[::-1], name=name),
    )
    net, _, y = tail(2)
    lowered, verdicts = lower(net.model(y), CONTEXT)
    assert not fold_verdicts(verdicts)[0].applied
    assert ops(lowered) == ["Conv", "Relu", "Conv", "Sigmoid"]
