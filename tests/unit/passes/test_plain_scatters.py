"""The pass ``plain_scatters`` on unpoolings as imports write them, and on what only looks so."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from _graphs import Net, ops, run

from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower

CONTEXT = PassContext(extra_passes=("plain_scatters", "unfold_pools"))
SIDE, DEPTH = 8, 3


def unpooled(*, strides=(2, 2), kernel=(2, 2), start=0.0, between="Mod", size=SIDE):
    """Pool, and put the maxima back: places counted within a channel."""
    net = Net()
    x = net.input("x", (None, DEPTH, size, size), ir.DataType.FLOAT)
    pool, places = net.ops(
        "MaxPool", [x], name="pool:o", outputs=2, kernel_shape=kernel, strides=strides
    )
    pixels = net.constant("pixels", np.array([SIDE * SIDE], np.int64))
    pixel = net.op(between, [places, pixels], name="pixel")
    flat = net.constant("flat", np.array([0, DEPTH, -1], np.int64))
    pixel = net.op("Reshape", [pixel, flat], name="flat_pixel")
    numbers = net.op("Reshape", [pool, flat], name="flat_value")
    empty = net.constant("empty", np.full((1, DEPTH, SIDE * SIDE), start, np.float32))
    batch = net.op("Shape", [x], name="batch", start=0, end=1)
    rest = net.constant("rest", np.array([DEPTH, SIDE * SIDE], np.int64))
    full = net.op("Concat", [batch, rest], name="full", axis=0)
    empty = net.op("Expand", [empty, full], name="empty:e")
    filled = net.op(
        "ScatterElements", [empty, pixel, numbers], name="filled:o", axis=2, reduction="add"
    )
    return net.model(net.keras(filled, "filled"))


def lowered_with(model):
    lowered, verdicts = lower(model, CONTEXT)
    (verdict,) = [v for v in verdicts if v.pass_name == "plain_scatters"]
    return lowered, verdict


@pytest.mark.parametrize("strides", [(2, 2), (3, 2)])
def test_maxima_of_windows_apart_are_put_back_without_adding(strides):
    model = unpooled(strides=strides)
    lowered, verdict = lowered_with(model)
    assert verdict.applied, verdict.reason
    assert "every place" in verdict.certificate.method
    (scatter,) = [node for node in lowered.graph if node.op_type == "ScatterElements"]
    assert "reduction" not in scatter.attributes
    assert "MaxPool" not in ops(lowered)
    x = np.random.default_rng(0).integers(-3, 3, (2, DEPTH, SIDE, SIDE)).astype(np.float32)
    np.testing.assert_array_equal(run(lowered, x)["filled"], run(model, x)["filled"])


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"kernel": (3, 3)}, "not those of a pool's maxima"),
        ({"start": 1.0}, "not zero"),
        ({"between": "Div"}, "become the same"),
        ({"between": "Max"}, "not those of a pool's maxima"),
        ({"size": None}, "not fixed"),
    ],
)
def test_what_may_meet_stays(settings, reason):
    lowered, verdict = lowered_with(unpooled(**settings))
    assert not verdict.applied
    assert reason in verdict.reason
    (scatter,) = [node for node in lowered.graph if node.op_type == "ScatterElements"]
    assert scatter.attributes.get_string("reduction", "none") == "add"
