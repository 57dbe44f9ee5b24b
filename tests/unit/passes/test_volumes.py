"""The passes on sequences and volumes: what they rewrite there, and what they refuse."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from _graphs import Net, keras_arrays, ops, run
from hypothesis import given, settings
from hypothesis import strategies as st

from segrt.passes._base import PassContext
from segrt.passes._evaluate import evaluate
from segrt.passes._pipeline import lower, plan
from segrt.targets._measure import sample_feeds

SIZES = {1: (7,), 3: (4, 3, 5)}
FORMS = ("resize", "deconvolution", "expand", "transposed")


def image(rank: int, channels: int) -> np.ndarray:
    random = np.random.default_rng(rank)
    return random.standard_normal((2, channels, *SIZES[rank])).astype(np.float32)


def source(net: Net, rank: int, channels: int, *, known: bool = True) -> ir.Value:
    sizes = SIZES[rank] if known else (None,) * rank
    return net.input("x", (None, channels, *sizes), ir.DataType.FLOAT)


def up(net: Net, x: ir.Value, factors: tuple[int, ...], mode: str = "nearest") -> ir.Value:
    scales = net.constant("scales", np.float32([1, 1, *factors]))
    usual = {"nearest": {"nearest_mode": "floor", "mode": mode}}.get(mode, {"mode": mode})
    coordinates = "asymmetric" if mode == "nearest" else "half_pixel"
    value = net.op(
        "Resize",
        [x, None, scales],
        name="up:r",
        coordinate_transformation_mode=coordinates,
        **usual,
    )
    return net.keras(value, "up", "UpSampling")


def close(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray], bound: float = 1e-5) -> None:
    assert set(found) <= set(wanted)
    for name, array in found.items():
        assert array.shape == wanted[name].shape, name
        assert np.linalg.norm(array - wanted[name]) <= bound * np.linalg.norm(wanted[name]), name


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("factors", [(3,), (2, 1, 3), (2, 2, 2)])
@pytest.mark.parametrize("form", FORMS[:3])
def test_nearest_in_every_form_is_bit_equal(form, factors, known):
    rank = len(factors)
    net = Net()
    model = net.model(up(net, source(net, rank, 3, known=known), factors))
    lowered, verdicts = lower(model, PassContext((form,)))
    (verdict,) = [v for v in verdicts if v.pass_name == f"upsampling/{form}"]
    assert verdict.certificate is not None
    assert (verdict.certificate.claim, verdict.certificate.error) == ("bit-equal", 0.0)
    assert verdict.applied == (form != "resize")
    x = image(rank, 3)
    wanted = x
    for axis, factor in enumerate(factors, start=2):
        wanted = wanted.repeat(factor, axis=axis)
    assert np.array_equal(run(lowered, x)["up"], wanted)


@settings(max_examples=30, deadline=None)
@given(
    rank=st.sampled_from([1, 3]),
    data=st.data(),
    bias=st.booleans(),
    known=st.booleans(),
)
def test_upsampling_merges_with_the_convolution_behind_it(rank, data, bias, known):
    axis = st.integers(1, 3)
    factors = data.draw(st.tuples(*[axis] * rank).filter(lambda f: max(f) > 1))
    kernel = data.draw(st.tuples(*[axis] * rank))
    pads = tuple(data.draw(st.integers(0, size - 1)) for size in kernel * 2)
    net = Net()
    x = up(net, source(net, rank, 2, known=known), factors)
    model = net.model(net.conv(x, 3, kernel, pads, bias=bias))
    lowered, _ = lower(model, PassContext(("transposed",)))
    assert "Conv" not in ops(lowered)
    array = image(rank, 2)
    close(run(lowered, array), run(model, array))


def test_forms_of_images_only_say_so():
    net = Net()
    model = net.model(net.conv(up(net, source(net, 3, 2), (2, 2, 2)), 3, (3, 3, 3)))
    (site,) = plan(model, PassContext(("subpixel", "transposed")))
    found = {option.form: option for option in site.options}
    assert (site.factors, site.chosen) == ((2, 2, 2), "transposed")
    assert "images only" in found["subpixel"].reason
    net = Net()
    (site,) = plan(net.model(up(net, source(net, 1, 2), (2,), "linear")), PassContext())
    assert {option.form for option in site.options if option.exact} == {"resize"}


@pytest.mark.parametrize("rank", [1, 3])
def test_batch_norm_padding_and_noops_fold(rank):
    net = Net()
    pads = net.constant("pads", np.int64([0, 0] + [1] * rank + [0, 0] + [2] * rank))
    padded = net.layer("Pad", [source(net, rank, 3), pads], "padded", mode="constant")
    x = net.batch_norm(net.conv(padded, 4, (3,) * rank, (0,) * (2 * rank)))
    x = net.layer("Relu", [x], "relu")
    grown = net.constant("grown/kernel", net.normal((4, 2, *[2] * rank)))
    x = net.layer("ConvTranspose", [x, grown], "grown", strides=[2] * rank)
    model = net.model(net.batch_norm(x, "bn_1"))
    lowered, _ = lower(model, PassContext(extra_passes=("winograd", "split_concat", "fold_pixels")))
    assert ops(lowered) == ["Conv", "Relu", "ConvTranspose"]
    array = image(rank, 3)
    close(run(lowered, array), run(model, array))
    close(keras_arrays(lowered, array), keras_arrays(model, array))


@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("rank", [1, 3])
def test_padding_with_zeros_stays_before_a_pool_of_negative_values(rank, op_type):
    net = Net()
    pads = net.constant("pads", np.int64([0, 0] + [1] * rank + [0, 0] + [1] * rank))
    x = net.layer("Pad", [source(net, rank, 3), pads], "padded", mode="constant")
    size = {"kernel_shape": [2] * rank, "strides": [2] * rank}
    model = net.model(net.layer(op_type, [x], "pooled", **size))
    lowered, _ = lower(model, PassContext())
    assert "Pad" in ops(lowered)
    array = image(rank, 3) - 3
    assert np.array_equal(run(lowered, array)["pooled"], run(model, array)["pooled"])


def sequence_net() -> ir.Model:
    net = Net()
    x = net.conv(source(net, 1, 3, known=False), 4, (3,), (2, 0), dilations=[1])
    pool = {"kernel_shape": [2], "strides": [1], "auto_pad": "SAME_UPPER"}
    pooled = net.layer("MaxPool", [x], "pooled", **pool)
    averaged = net.layer("AveragePool", [pooled], "averaged", kernel_shape=[3], pads=[1, 1])
    large = up(net, averaged, (2,))
    kernel = net.constant("grown/kernel", net.normal((4, 2, 3)))
    wide = {"strides": [2], "output_padding": [1], "pads": [1, 0]}
    grown = net.layer("ConvTranspose", [large, kernel], "grown", **wide)
    return net.model(grown, net.layer("GlobalAveragePool", [grown], "mean"))


def test_sequences_become_images_one_pixel_wide():
    model = sequence_net()
    lowered, verdicts = lower(model, PassContext(extra_passes=("widen_sequences",)))
    widened = [v for v in verdicts if v.pass_name == "widen_sequences"]
    assert [v.applied for v in widened] == [True] * 6
    sliding = {"Conv", "ConvTranspose", "MaxPool", "AveragePool", "Resize", "GlobalAveragePool"}
    ranks = [len(node.inputs[0].shape) for node in lowered.graph if node.op_type in sliding]
    assert ranks == [4] * 6
    array = image(1, 3)
    close(run(lowered, array), run(model, array), 1e-6)
    close(keras_arrays(lowered, array), keras_arrays(model, array), 1e-6)


@pytest.mark.parametrize("op_type", ["Conv", "ConvTranspose", "MaxPool", "AveragePool", "Resize"])
@settings(max_examples=15, deadline=None)
@given(rank=st.sampled_from([1, 3]), data=st.data())
def test_what_proofs_compute_agrees_with_onnx_runtime(op_type, rank, data):
    def each(low: int, high: int) -> list[int]:
        return [data.draw(st.integers(low, high)) for _ in range(rank)]

    net = Net()
    x = source(net, rank, 4)
    if op_type == "Resize":
        y = up(net, x, tuple(each(1, 3)), data.draw(st.sampled_from(["nearest", "linear"])))
    else:
        kernel, strides = each(1, 3), each(1, 3)
        attributes = {"kernel_shape": kernel, "strides": strides}
        attributes["pads"] = [data.draw(st.integers(0, size - 1)) for size in kernel * 2]
        if op_type.endswith("Pool"):
            inputs = [x]
            if data.draw(st.booleans()):
                attributes |= {"strides": [1] * rank, "auto_pad": "SAME_UPPER"}
                del attributes["pads"]
            if op_type == "AveragePool":
                attributes["count_include_pad"] = int(data.draw(st.booleans()))
        else:
            weight = net.normal((4, 2, *kernel))
            inputs = [x, net.constant("w", weight), net.constant("b", net.normal(4))]
            attributes["group"] = 2
        y = net.layer(op_type, inputs, "y", **attributes)
    array = image(rank, 4)
    wanted = run(net.model(y), array)[y.name]
    found = evaluate(y, {x: array}, wide=False)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((None, 2, None), (1, 2, 64)), ((None, 2, None, None, None), (1, 2, 16, 16, 16))],
)
def test_sample_inputs_of_free_sequences_and_volumes(shape, wanted):
    net = Net()
    x = net.input("x", shape, ir.DataType.FLOAT)
    rank = len(shape) - 2
    pooled = net.layer("MaxPool", [x], "p", kernel_shape=[4] * rank, strides=[4] * rank)
    y = net.layer("Add", [up(net, pooled, (4,) * rank), x], "y")
    assert sample_feeds(net.model(y), side=66)["x"].shape == wanted


def test_images_are_not_widened_and_what_is_not_constant_is_refused():
    net = Net()
    model = net.model(net.conv(net.image(3), 2))
    _, verdicts = lower(model, PassContext(extra_passes=("widen_sequences",)))
    assert not [v for v in verdicts if v.pass_name == "widen_sequences"]
    net = Net()
    x = source(net, 1, 3)
    kernel = net.layer(
        "Reshape",
        [net.op("Shape", [x], name="s"), net.constant("shape", np.int64([1, 3, 1]))],
        "kernel",
    )
    kernel = net.layer("Cast", [kernel], "cast", to=int(ir.DataType.FLOAT))
    model = net.model(net.layer("Conv", [x, kernel], "conv"))
    _, verdicts = lower(model, PassContext(extra_passes=("widen_sequences",)))
    (verdict,) = [v for v in verdicts if v.pass_name == "widen_sequences"]
    assert not verdict.applied
    assert "not constant" in verdict.reason
