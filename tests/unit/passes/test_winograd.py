"""The pass ``winograd``, over sizes and paddings, against the graph as it was."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from _graphs import Net, keras_arrays, ops, run
from hypothesis import given, settings
from hypothesis import strategies as st

from segrt.passes import winograd
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower

CONTEXT = PassContext(extra_passes=("winograd",))


def image(shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def verdicts_of(model):
    lowered, verdicts = lower(model, CONTEXT)
    return lowered, [v for v in verdicts if v.pass_name == "winograd"]


def test_the_identity_in_exact_numbers():
    out_of, taps, into = winograd._maps()
    random = np.random.default_rng(0)
    pixels, filter_ = random.integers(-9, 9, 6), random.integers(-9, 9, 3)
    found = out_of @ ((taps @ filter_) * (into @ pixels))
    np.testing.assert_allclose(found, np.correlate(pixels, filter_, "valid"), atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    sizes=st.tuples(st.integers(3, 11), st.integers(3, 11)),
    batch=st.sampled_from([None, 1, 2]),
    bias=st.booleans(),
)
def test_equals_the_convolution(pads, channels, sizes, batch, bias):
    net = Net()
    x = net.input("x", (batch, channels[0], *sizes), ir.DataType.FLOAT)
    y = net.layer("Relu", [net.conv(x, channels[1], (3, 3), pads, bias=bias)], "relu")
    model = net.model(y)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "_WORTH", 0.0)
        lowered, (verdict,) = verdicts_of(model)
    assert verdict.applied
    assert verdict.certificate.error < 1e-6
    assert "Conv" not in ops(lowered)
    x_array = image((batch or 2, channels[0], *sizes))
    wanted, found = keras_arrays(model, x_array), keras_arrays(lowered, x_array)
    assert set(found) == set(wanted)
    for name in wanted:
        assert found[name].shape == wanted[name].shape
        # ReLU may leave next to nothing of a small array: the scale is the convolution's.
        scale = np.linalg.norm(wanted["conv"])
        assert np.linalg.norm(found[name] - wanted[name]) <= 1e-5 * scale


def test_neighbours_need_no_transposes_between_them():
    net = Net()
    x = net.image(64, 8, 8)
    y = net.layer("Relu", [net.conv(x, 64, name="a")], "ra")
    y = net.layer("Relu", [net.conv(y, 64, name="b")], "rb")
    model = net.model(y)
    lowered, verdicts = verdicts_of(model)
    assert [v.applied for v in verdicts] == [True, True]
    whole = [
        n
        for n in lowered.graph
        if n.op_type == "Transpose" and len(n.attributes["perm"].as_ints()) == 4
    ]
    assert len(whole) == 2, "in at the front, out at the back"
    x_array = image((1, 64, 8, 8))
    found, wanted = run(lowered, x_array)["rb"], run(model, x_array)["rb"]
    assert np.linalg.norm(found - wanted) <= 1e-5 * np.linalg.norm(wanted)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kernel": (2, 2)}, "3x3"),
        ({"strides": (2, 2)}, "strides"),
        ({"dilations": (2, 2)}, "dilations"),
        ({"group": 2}, "groups"),
        ({"size": None}, "size"),
        ({"channels": 2}, "fewer products"),
    ],
)
def test_refuses_aloud(change, reason):
    options = {"kernel": (3, 3), "size": 16, "channels": 64} | change
    size, channels = options.pop("size"), options.pop("channels")
    kernel = options.pop("kernel")
    net = Net()
    model = net.model(net.conv(net.image(channels, size, size), channels, kernel, **options))
    lowered, (verdict,) = verdicts_of(model)
    assert not verdict.applied
    assert reason in verdict.reason
    assert "Conv" in ops(lowered)


@pytest.mark.parametrize("matrix", [0, 1, 2])
def test_a_wrong_map_is_caught_by_its_certificate(monkeypatch, matrix):
    maps = list(winograd._maps())
    maps[matrix] = maps[matrix] * (1 + 1e-4 * (maps[matrix] == maps[matrix].max()))
    monkeypatch.setattr(winograd, "_maps", lambda: tuple(maps))
    net = Net()
    lowered, (verdict,) = verdicts_of(net.model(net.conv(net.image(64, 8, 8), 64)))
    assert not verdict.applied
    assert "certificate" in verdict.reason
    assert ops(lowered) == ["Conv"]


def test_runs_only_where_it_is_asked_for():
    net = Net()
    lowered, _ = lower(net.model(net.conv(net.image(64, 8, 8), 64)), PassContext())
    assert ops(lowered) == ["Conv"]
