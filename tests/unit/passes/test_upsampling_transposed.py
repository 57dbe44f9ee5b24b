"""The form ``transposed``, over kernels, factors and paddings, against the graph as it was."""

from __future__ import annotations

import numpy as np
import pytest
from _graphs import Net, ops, run
from hypothesis import given, settings
from hypothesis import strategies as st

from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower
from segrt.passes.upsampling import transposed


def image(shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def transposed_verdicts(verdicts):
    return [v for v in verdicts if v.pass_name == "upsampling/transposed"]


@settings(max_examples=60, deadline=None)
@given(
    factors=st.tuples(st.integers(1, 4), st.integers(1, 4)).filter(lambda f: max(f) > 1),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    pads=st.tuples(*[st.integers(0, 4)] * 4),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    sizes=st.tuples(st.integers(2, 6), st.integers(2, 6)),
    known=st.booleans(),
    bias=st.booleans(),
)
def test_equals_upsampling_then_convolution(factors, kernel, pads, channels, sizes, known, bias):
    net = Net()
    x = net.image(channels[0], *(sizes if known else (None, None)))
    y = net.conv(net.up(x, *factors), channels[1], kernel, pads, bias=bias)
    model = net.model(y)
    large = [sizes[i] * factors[i] + pads[i] + pads[i + 2] for i in range(2)]
    if large[0] < kernel[0] or large[1] < kernel[1]:
        return  # the old graph has no output
    lowered, verdicts = lower(model, PassContext(("transposed",)))
    (verdict,) = transposed_verdicts(verdicts)
    fits = all(pad < kernel[axis % 2] for axis, pad in enumerate(pads))
    assert verdict.applied == fits, verdict
    if not fits:
        assert "pads by more" in verdict.reason
        return
    assert "Resize" not in ops(lowered)
    assert "Conv" not in ops(lowered)
    x_array = image((2, channels[0], *sizes))
    found, wanted = run(lowered, x_array)["conv"], run(model, x_array)["conv"]
    assert found.shape == wanted.shape
    assert np.linalg.norm(found - wanted) <= 1e-5 * np.linalg.norm(wanted)


@pytest.mark.parametrize("wrong", [lambda w: w[:, :, ::-1], lambda w: 1.01 * w, np.zeros_like])
def test_a_wrong_kernel_is_caught_by_its_certificate(monkeypatch, wrong):
    real = transposed.smear_kernel
    monkeypatch.setattr(
        transposed, "smear_kernel", lambda *given: np.ascontiguousarray(wrong(real(*given)))
    )
    net = Net()
    y = net.conv(net.up(net.image(3, 6, 5), 2, 2), 4, (2, 2), (0, 0, 1, 1))
    lowered, verdicts = lower(net.model(y), PassContext(("transposed", "resize")))
    assert not transposed_verdicts(verdicts)[0].applied
    assert "Resize" in ops(lowered)


def test_nine_products_for_the_usual_u_net():
    kernel = image((4, 3, 2, 2))
    smeared = transposed.smear_kernel(kernel, (2, 2))
    assert smeared.shape == (3, 4, 3, 3)
    # Its middle tap serves the phase whose four taps all fall on one small pixel.
    np.testing.assert_allclose(smeared[:, :, 1, 1], kernel.sum((2, 3)).T, rtol=1e-6)
