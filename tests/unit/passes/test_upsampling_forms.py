"""Every form, over kernels, factors, paddings and sizes, against ONNX Runtime on the old graph."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from _graphs import Net, keras_arrays, ops, run
from hypothesis import given, settings
from hypothesis import strategies as st

from segrt.errors import UsageError
from segrt.graph import metadata
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower, plan
from segrt.passes.upsampling import subpixel


def image(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def close(a, b, bound=1e-5):
    assert a.shape == b.shape
    assert np.linalg.norm(a - b) <= bound * np.linalg.norm(b)


def applied(verdicts, form):
    return [v for v in verdicts if v.pass_name == f"upsampling/{form}" and v.applied]


@settings(max_examples=60, deadline=None)
@given(
    factors=st.tuples(st.integers(1, 4), st.integers(1, 4)).filter(lambda f: max(f) > 1),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    pads=st.tuples(*[st.integers(0, 3)] * 4),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    sizes=st.tuples(st.integers(2, 6), st.integers(2, 6)),
    known=st.booleans(),
    bias=st.booleans(),
)
def test_subpixel_equals_upsampling_then_convolution(
    factors, kernel, pads, channels, sizes, known, bias
):
    net = Net()
    x = net.image(channels[0], *(sizes if known else (None, None)))
    y = net.conv(net.up(x, *factors), channels[1], kernel, pads, bias=bias)
    model = net.model(y)
    large = [sizes[i] * factors[i] + pads[i] + pads[i + 2] for i in range(2)]
    if large[0] < kernel[0] or large[1] < kernel[1]:
        return  # the old graph has no output
    lowered, verdicts = lower(model, PassContext(("subpixel",)))
    assert applied(verdicts, "subpixel"), verdicts
    assert "Resize" not in ops(lowered)
    x_array = image((2, channels[0], *sizes))
    close(run(lowered, x_array)["conv"], run(model, x_array)["conv"])


@pytest.mark.parametrize("form", ["expand", "deconvolution", "resize"])
@pytest.mark.parametrize("factors", [(2, 2), (3, 2), (1, 4)])
@pytest.mark.parametrize("known", [True, False])
def test_nearest_forms_are_bit_equal(form, factors, known):
    net = Net()
    y = net.up(net.image(3, *((6, 5) if known else (None, None))), *factors)
    model = net.model(net.layer("Relu", [y], "out"))
    lowered, verdicts = lower(model, PassContext((form,)))
    assert bool(applied(verdicts, form)) == (form != "resize")
    x = image((2, 3, 6, 5))
    found = keras_arrays(lowered, x)
    for name, wanted in keras_arrays(model, x).items():
        np.testing.assert_array_equal(found[name], wanted)


@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric"])
@pytest.mark.parametrize("factors", [(2, 2), (3, 2), (4, 4)])
def test_bilinear_subpixel_is_exact_at_the_border_too(coordinates, factors):
    net = Net()
    y = net.up(
        net.image(3, None, None),
        *factors,
        mode="linear",
        coordinate_transformation_mode=coordinates,
    )
    model = net.model(net.layer("Relu", [y], "out"))
    lowered, verdicts = lower(model, PassContext(("subpixel",)))
    assert applied(verdicts, "subpixel"), verdicts
    x = image((2, 3, 4, 7))
    close(keras_arrays(lowered, x)["up"], keras_arrays(model, x)["up"])


@pytest.mark.parametrize("form", ["expand", "deconvolution"])
def test_bilinear_is_refused_by_the_forms_for_nearest(form):
    net = Net()
    y = net.up(net.image(3), mode="linear", coordinate_transformation_mode="half_pixel")
    lowered, verdicts = lower(net.model(y), PassContext((form,)))
    assert ops(lowered) == ["Resize"]
    assert "bilinear" in verdicts[-1].reason
    assert not verdicts[-1].applied


def test_other_spellings_of_nearest_are_told_from_shifting_ones():
    for coordinates, rounding, same in (
        ("half_pixel", "round_prefer_ceil", True),
        ("tf_half_pixel_for_nn", "floor", True),
        ("half_pixel", "floor", False),
        ("tf_half_pixel_for_nn", "round_prefer_floor", False),
    ):
        net = Net()
        y = net.up(net.image(3), coordinate_transformation_mode=coordinates, nearest_mode=rounding)
        lowered, verdicts = lower(net.model(y), PassContext(("resize",)))
        node = next(node for node in lowered.graph if node.op_type == "Resize")
        spelled = node.attributes["nearest_mode"].as_string()
        assert verdicts[-1].applied is same
        assert (spelled == "floor") is (same or rounding == "floor")
        if not same:
            assert "another pixel" in verdicts[-1].reason


def test_keras_values_stay_true_and_the_upsampled_one_is_listed():
    net = Net()
    x = net.image(3)
    y = net.layer("Relu", [net.batch_norm(net.conv(net.up(x), 4, (2, 2)))], "relu")
    model = net.model(net.conv(net.up(y), 2, name="last"))
    lowered, _ = lower(model, PassContext(("subpixel",)))
    array = image((1, 3, 6, 5))
    wanted, found = keras_arrays(model, array), keras_arrays(lowered, array)
    assert set(wanted) - set(found) == {"up", "up~1"} == set(metadata.fused(lowered))
    for name in found:
        close(found[name], wanted[name])
    assert metadata.layer_of(next(n for n in lowered.graph if n.op_type == "Conv")) == "conv"


def refusals(model):
    _, verdicts = lower(model, PassContext(("subpixel",)))
    return [v.reason for v in verdicts if v.pass_name == "upsampling/subpixel" and not v.applied]


def test_subpixel_refuses_where_it_would_not_be_exact():
    net = Net()
    up = net.up(net.image(4))
    assert "output of the network" in refusals(net.model(net.conv(up, 2), up))[0]
    net = Net()
    up = net.up(net.image(4))
    two = net.conv(up, 2), net.conv(up, 2, name="other")
    assert "read by 2 nodes" in refusals(net.model(*two))[0]
    net = Net()
    assert "strides" in refusals(net.model(net.conv(net.up(net.image(4)), 2, strides=(2, 2))))[0]
    net = Net()
    dilated = net.conv(net.up(net.image(4)), 2, dilations=(2, 2))
    assert "dilations" in refusals(net.model(dilated))[0]
    net = Net()
    assert "grouped" in refusals(net.model(net.conv(net.up(net.image(4)), 4, group=2)))[0]
    net = Net()
    assert "Relu" in refusals(net.model(net.layer("Relu", [net.up(net.image(4))], "r")))[0]


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_subpixel_reads_automatic_padding(auto_pad):
    net = Net()
    up = net.up(net.image(3))
    kernel = net.constant("k", net.normal((2, 3, 4, 2)))
    model = net.model(net.layer("Conv", [up, kernel], "conv", auto_pad=auto_pad))
    lowered, verdicts = lower(model, PassContext(("subpixel",)))
    assert applied(verdicts, "subpixel")
    x = image((1, 3, 6, 5))
    close(run(lowered, x)["conv"], run(model, x)["conv"])


def test_a_wrong_rewrite_fails_its_certificate_and_is_not_applied(monkeypatch):
    def shifted(factor, kernel, before, after):
        right = real(factor, kernel, before, after)
        where = tuple(tuple(reversed(phase)) for phase in right.where)
        return subpixel.Axis(right.factor, right.before, right.after, right.taps, right.crop, where)

    real = subpixel.plan_axis
    net = Net()
    model = net.model(net.conv(net.up(net.image(3)), 2, (2, 2)))
    monkeypatch.setattr(subpixel, "plan_axis", shifted)
    lowered, verdicts = lower(model, PassContext(("subpixel", "resize")))
    assert ops(lowered) == ["Resize", "Conv"]
    assert "certificate" in verdicts[0].reason
    assert not verdicts[0].applied
    assert not any(name.endswith(":subpixel") for name in lowered.graph.initializers)


@pytest.mark.parametrize("planted", ["one weight", "bias order", "one pad"])
def test_small_mistakes_are_caught_too(monkeypatch, planted):
    real_merge, real_plan, repeat = subpixel.merge_kernel, subpixel.plan_axis, np.repeat

    def merge(kernel, rows, columns):
        merged = real_merge(kernel, rows, columns)
        merged[-1, -1, -1, -1] *= 1.01
        return merged

    def pads(*arguments):
        a = real_plan(*arguments)
        return subpixel.Axis(a.factor, a.before + 1, a.after - 1, a.taps, a.crop, a.where)

    if planted == "one weight":
        monkeypatch.setattr(subpixel, "merge_kernel", merge)
    elif planted == "one pad":
        monkeypatch.setattr(subpixel, "plan_axis", pads)
    else:
        monkeypatch.setattr(
            subpixel.np, "repeat", lambda a, n: np.tile(a, n) if a.ndim == 1 else repeat(a, n)
        )
    net = Net()
    model = net.model(net.conv(net.up(net.image(16)), 8, (3, 3)))
    _, verdicts = lower(model, PassContext(("subpixel", "resize")))
    assert not verdicts[0].applied
    assert "certificate" in verdicts[0].reason


def test_plan_lists_every_form_and_changes_nothing():
    net = Net()
    up = net.up(net.layer("Identity", [net.image(3)], "drop"))
    convolved = net.conv(net.layer("Identity", [up], "drop2"), 2)
    weight = net.constant("t", net.normal((2, 2, 2, 2)))
    model = net.model(net.layer("ConvTranspose", [convolved, weight], "deconv", strides=(2, 2)))
    before = ir.to_proto(model).SerializeToString()
    first, second = plan(model, PassContext(("subpixel", "resize")))
    assert ir.to_proto(model).SerializeToString() == before
    assert [o.form for o in first.options] == [
        "subpixel",
        "resize",
        "deconvolution",
        "expand",
        "plugin",
        "transposed",
    ]
    assert first.chosen == "subpixel"
    assert all(option.exact and option.certificate for option in first.options)
    assert (second.layer, second.kind, second.chosen) == ("deconv", "transposed convolution", "")
    assert [o.form for o in second.options if o.exact] == ["deconvolution"]
    forced = plan(model, PassContext(("subpixel", "resize"), forced_form="expand"))
    assert forced[0].chosen == "expand"
    assert "asked for" in forced[0].why


def test_an_unknown_form_is_named():
    net = Net()
    with pytest.raises(UsageError, match="no such form") as caught:
        lower(net.model(net.up(net.image(3))), PassContext(("magic",)))
    assert "subpixel" in (caught.value.wanted or "")


def test_relu_moves_to_the_convolution_only_if_no_layer_is_lost():
    net = Net()
    kernel = net.constant("k", net.normal((4, 3, 3, 3)))
    inner = net.op("Conv", [net.up(net.image(3)), kernel], name="c:conv", pads=(1, 1, 1, 1))
    model = net.model(net.layer("Relu", [inner], "c"))
    lowered, _ = lower(model, PassContext(("subpixel",)))
    assert ops(lowered) == ["Conv", "Relu", "DepthToSpace"]
    x = image((1, 3, 6, 5))
    close(run(lowered, x)["c"], run(model, x)["c"])
    net = Net()
    model = net.model(net.layer("Relu", [net.conv(net.up(net.image(3)), 4)], "relu"))
    lowered, verdicts = lower(model, PassContext(("subpixel",)))
    assert ops(lowered) == ["Conv", "DepthToSpace", "Relu"]
    assert "compared" in verdicts[-1].reason
