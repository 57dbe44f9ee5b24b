"""Normalizations behind activations, on the emulated GPU, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from helpers.emulated_engine import compare
from helpers.residual_nets import Net, check, feeds_for, ort_outputs
from segrt.cuda.affine import numbers_of
from segrt.cuda.operations import Operation
from segrt.errors import EngineError
from segrt.targets._base import REGISTRY
from segrt.types import BuildOptions, Precision

pytest.importorskip("cuda.core", reason="cuda-core is not installed")

# Times of launches that make the tuner choose one way or another.
LIBRARY = {"cudnn": 1.0, "pointwise": 50.0, "direct_convolution": 500.0}
OWN = {"cudnn": 500.0, "pointwise": 50.0, "direct_convolution": 1.0}
WAYS = [("fp32", (8, 0)), ("fp16", (8, 0)), ("bf16", (9, 0)), ("fp16", (9, 0))]


def normal(net: Net, value: str, channels: int) -> str:
    """Add a normalization by statistics, some of its factors negative."""
    random = np.random.default_rng(channels)
    scale = random.normal(1, 0.7, channels)
    arrays = (scale, random.normal(0, 0.5, channels), random.normal(0.5, 0.2, channels))
    variance = random.uniform(0.5, 2, channels)
    constants = [net.constant(array) for array in (*arrays, variance)]
    return net.apply("BatchNormalization", value, *constants, epsilon=1e-3)


def block(net: Net, value: str, sizes: tuple[int, int], **settings) -> str:
    inner = net.apply("Relu", net.convolve(value, sizes, **settings))
    return normal(net, inner, sizes[1])


@pytest.mark.parametrize(("precision", "capability"), WAYS)
def test_normalizations_behind_relu_belong_to_convolutions(monkeypatch, precision, capability):
    net = Net()
    strided = block(net, "x", (16, 24), strides=[2, 2])
    depthwise = block(net, strided, (24, 24), group=24)
    outputs = [net.convolve(depthwise, (24, 16))]
    for costs in (LIBRARY, OWN):
        ran = compare(
            monkeypatch, net, outputs, precision, costs=costs, capability=capability, referee=True
        )
        assert "pointwise" not in ran.launched
        assert ("direct_convolution" in ran.launched) == (costs is OWN)


@pytest.mark.parametrize("op", ["Mul", "Add"])
@pytest.mark.parametrize("activation", ["Relu", "LeakyRelu", "Sigmoid", "Tanh", "Elu"])
def test_factors_or_shifts_alone_behind_other_activations(monkeypatch, activation, op):
    net = Net()
    inner = net.apply(activation, net.convolve("x", (16, 24), strides=[2, 2]))
    vector = net.constant(np.linspace(-1, 1, 24).reshape(1, 24, 1, 1))
    outputs = [net.convolve(net.apply(op, inner, vector), (24, 16))]
    ran = compare(monkeypatch, net, outputs, "fp16", costs=LIBRARY, referee=True)
    assert "pointwise" not in ran.launched


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("last", ["Clip", "Relu"])
def test_a_pass_behind_works_in_place(monkeypatch, last, precision):
    """Where the library knows no such plan."""
    net = Net()
    inner = net.convolve("x", (16, 24), strides=[2, 2])
    limits = [net.constant(np.array(limit)) for limit in (-1.0, 0.5)] * (last == "Clip")
    inner = normal(net, net.apply(last, inner, *limits), 24)
    costs = {"cudnn": 1.0, "pointwise": 0.0, "direct_convolution": 500.0}
    outputs = [net.convolve(inner, (24, 16))]
    with monkeypatch.context() as patch:
        patch.setattr("segrt.cuda.activated_ways.is_plain", lambda *_: False)
        ran = compare(patch, net, outputs, precision, costs=costs, referee=True)
    assert ran.launched.count("pointwise") == 1


def test_transposed_convolutions_too_and_into_slices(monkeypatch):
    net = Net()
    kernel = net.constant(np.random.default_rng(3).normal(0, 0.2, (16, 24, 3, 3)))
    # With a stride of two it would be phases.
    large = net.apply("ConvTranspose", "x", kernel, strides=[3, 3])
    inner = normal(net, net.apply("Relu", large), 24)
    both = net.apply("Concat", inner, net.convolve(inner, (24, 8)), axis=1)
    outputs = [net.convolve(both, (32, 16))]
    ran = compare(monkeypatch, net, outputs, "fp16", costs=LIBRARY, referee=True)
    assert "pointwise" not in ran.launched


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_sum_with_a_shortcut_is_normalized(monkeypatch, precision):
    net = Net()
    stem = net.apply("Relu", net.convolve("x", (16, 24)))
    total = net.apply("Relu", net.apply("Add", net.convolve(stem, (24, 24)), stem))
    outputs = [net.convolve(normal(net, total, 24), (24, 16))]
    ran = compare(monkeypatch, net, outputs, precision, costs=LIBRARY, referee=True)
    assert "pointwise" not in ran.launched


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("fault", ["", "mul", "add"])
def test_a_wrong_epilogue_is_not_used(monkeypatch, fault, precision):
    """Both are asked for; one is left out of the plan."""
    net = Net()
    outputs = [net.convolve(block(net, "x", (16, 24), strides=[2, 2]), (24, 16))]
    monkeypatch.setattr("segrt.cuda.affine.Affine.words", fault)
    ran = compare(monkeypatch, net, outputs, precision, costs=LIBRARY, referee=True)
    assert ran.launched.count("pointwise") == 1


def test_a_layer_that_prepares_pixels_keeps_its_place_in_a_concatenation(monkeypatch):
    net = Net((2, 3, 9, 11))
    scaled = net.apply("Mul", "x", net.constant(np.array(0.5)))
    inner = block(net, scaled, (3, 8))
    other = net.convolve(inner, (8, 4))
    both = net.apply("Concat", other, inner, axis=1)
    compare(monkeypatch, net, [net.convolve(both, (12, 16))], "fp32", referee=True)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.filterwarnings("ignore:All-NaN slice")
def test_the_first_two_layers_stay_one_launch(monkeypatch, precision, pooled):
    net = Net((2, 1, 40, 24))
    inner = block(net, net.apply("Relu", net.convolve("x", (1, 64))), (64, 64))
    outputs = [net.convolve(inner, (64, 16))]
    if pooled:
        small = net.apply("MaxPool", inner, kernel_shape=[2, 2], strides=[2, 2])
        outputs.append(net.convolve(small, (64, 16)))
    ran = compare(monkeypatch, net, outputs, precision, referee=True)
    assert ran.launched[0] == "opening"
    assert not {"pointwise", "pooling"} & set(ran.launched)


@pytest.mark.filterwarnings("ignore:All-NaN slice")
@pytest.mark.parametrize(("inputs", "pooled", "row"), [(1, True, 1), (64, True, 2), (64, False, 1)])
def test_a_wrong_epilogue_of_an_own_kernel_is_not_used(monkeypatch, inputs, pooled, row):
    net = Net((2, inputs, 40, 24))
    first = net.apply("Relu", net.convolve("x", (1, 64))) if inputs == 1 else "x"
    inner = block(net, first, (64, 64))
    outputs = [net.convolve(inner, (64, 16))]
    if pooled:
        small = net.apply("MaxPool", inner, kernel_shape=[2, 2], strides=[2, 2])
        outputs.append(net.convolve(small, (64, 16)))
    name = "opening" if inputs == 1 else "wide_convolution"
    ran = compare(monkeypatch, net, outputs, "fp16", referee=True)
    assert name in ran.launched
    assert "pointwise" not in ran.launched

    def spoilt(operation: Operation) -> np.ndarray:
        numbers = numbers_of(operation)
        if numbers.ndim == 2:
            numbers[row] = 2 - row
        return numbers

    monkeypatch.setattr("segrt.cuda.hopper_choices.numbers_of", spoilt)
    if inputs == 1:
        with pytest.raises(EngineError, match="wrongly"):
            compare(monkeypatch, net, outputs, "fp16", referee=True)
        return
    ran = compare(monkeypatch, net, outputs, "fp16", referee=True)
    assert name not in ran.launched


def unet(net: Net, inputs: int, widths: tuple[int, int]) -> list[str]:
    """Add two levels, of which the upper one is upsampled to, and a head."""
    upper, lower = widths
    skip = block(net, block(net, "x", (inputs, upper)), (upper, upper))
    small = net.apply("MaxPool", skip, kernel_shape=[2, 2], strides=[2, 2])
    small = block(net, block(net, small, (upper, lower)), (lower, lower))
    height, width = net.shape[2] // 2 * 2, net.shape[3] // 2 * 2
    large = net.apply("Resize", small, "", net.constant(np.array([1, 1, 2, 2])), mode="nearest")
    large = block(net, large, (lower, upper))
    if net.shape[2:] != (height, width):
        edges = (0, 0, 0, 0, 0, 0, net.shape[2] - height, net.shape[3] - width)
        large = net.apply("Pad", large, net.integers(edges))
    both = net.apply("Concat", skip, large, axis=1)
    last = block(net, block(net, both, (2 * upper, upper)), (upper, upper))
    return [net.apply("Sigmoid", net.convolve(last, (upper, 1), 1))]


# Sizes, channels, capability, precision.
UNETS = [
    ((2, 3, 18, 22), (16, 24), (8, 0), "fp16"),
    ((1, 3, 13, 17), (16, 24), (8, 0), "fp32"),
    ((1, 3, 13, 17), (16, 24), (8, 0), "bf16"),
    ((1, 3, 13, 17), (64, 64), (9, 0), "fp32"),
    ((1, 3, 13, 17), (64, 64), (9, 0), "bf16"),
    ((2, 3, 18, 22), (64, 128), (9, 0), "fp16"),
    ((1, 1, 18, 22), (64, 64), (9, 0), "fp16"),
]


# A pass that is timed before anything was computed reads what stands for no numbers here.
@pytest.mark.filterwarnings("ignore:All-NaN slice")
@pytest.mark.parametrize(("shape", "widths", "capability", "precision"), UNETS)
def test_a_unet(monkeypatch, shape, widths, capability, precision):
    net = Net(shape)
    outputs = unet(net, shape[1], widths)
    costs = {"cudnn": 5.0, "pointwise": 10.0, "direct_convolution": 500.0}
    options = {"capability": capability, "costs": costs, "referee": True}
    ran = compare(monkeypatch, net, outputs, precision, **options)
    with monkeypatch.context() as patch:
        patch.setattr("segrt.cuda.fuse.fuse_activations", lambda program: program)
        old = compare(patch, net, outputs, precision, **options)
    assert old.launched.count("pointwise") == 7
    assert "pointwise" not in ran.launched
    assert len(ran.launched) <= len(old.launched) - 7


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize(
    ("shape", "widths"), [((2, 1, 70, 50), (64, 128)), ((3, 3, 41, 57), (16, 24))]
)
def test_on_a_gpu(monkeypatch, tmp_path, shape, widths, precision):
    monkeypatch.setenv("SEGRT_CACHE", str(tmp_path))
    net = Net(shape)
    model, feeds = net.model(*unet(net, shape[1], widths)), feeds_for(shape)
    target = REGISTRY.find("cuda")
    assert target is not None
    options = BuildOptions(precision=Precision(precision))
    with target.open_model(ir.serde.deserialize_model(model), options) as session:
        found = session.run(feeds)
        ways = [(row.layer, row.choice) for row in session.profile([shape])]
    print(precision, *ways, sep="\n")  # noqa: T201
    check(found, ort_outputs(model, feeds), {"fp32": 1e-5, "fp16": 3e-3, "bf16": 2e-2}[precision])
