"""What follows convolutions element by element, on the emulated GPU, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from helpers.emulated_engine import compare
from helpers.residual_nets import Net, check, feeds_for, ort_outputs
from segrt.cuda.epilogues import NONE, word_of
from segrt.cuda.kernels.pointwise import Step
from segrt.targets._base import REGISTRY
from segrt.types import BuildOptions, Precision

pytest.importorskip("cuda.core", reason="cuda-core is not installed")


def _swish(net: Net, value: str) -> str:
    return net.apply("Mul", value, net.apply("Sigmoid", value))


def _swish_turned(net: Net, value: str) -> str:
    return net.apply("Mul", net.apply("Sigmoid", value), value)


def _gelu(net: Net, value: str) -> str:
    erf = net.apply("Erf", net.apply("Div", value, net.constant(np.array(np.sqrt(2)))))
    half = net.apply("Mul", value, net.constant(np.array(0.5)))
    return net.apply("Mul", half, net.apply("Add", erf, net.constant(np.array(1.0))))


def _mish(net: Net, value: str) -> str:
    return net.apply("Mul", value, net.apply("Tanh", net.apply("Softplus", value)))


def _less_itself(net: Net, value: str) -> str:
    """A difference, whose operands must not change places."""
    return net.apply("Sub", value, net.apply("Relu", value))


def _itself_less(net: Net, value: str) -> str:
    return net.apply("Sub", net.apply("Relu", value), value)


def _over_itself(net: Net, value: str) -> str:
    return net.apply("Div", value, net.apply("Exp", value))


def _halved_and_less(net: Net, value: str) -> str:
    """What is done to the image first is no factor of the difference."""
    half = net.apply("Mul", value, net.constant(np.array(0.5)))
    return net.apply("Sub", half, net.apply("Sigmoid", value))


FORMS = {
    _swish: 1, _swish_turned: 1, _gelu: 1, _mish: 1, _less_itself: 1, _itself_less: 1,
    _over_itself: 1, _halved_and_less: 2,
}  # fmt: skip


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("form", FORMS)
def test_an_image_combined_with_what_is_made_of_it_is_one_pass(
    monkeypatch, form: Callable[[Net, str], str], precision: str
):
    net = Net()
    pooled = net.apply("MaxPool", net.convolve("x", (16, 24)), kernel_shape=[2, 2])
    outputs = [net.convolve(form(net, pooled), (24, 16))]
    ran = compare(monkeypatch, net, outputs, precision)
    assert ran.launched.count("pointwise") == FORMS[form]


def test_a_normalization_in_front_belongs_to_the_same_pass(monkeypatch):
    net = Net()
    vector = np.linspace(0.5, 1.5, 24).reshape(1, 24, 1, 1)
    pooled = net.apply("MaxPool", net.convolve("x", (16, 24)), kernel_shape=[2, 2])
    scaled = net.apply("Mul", pooled, net.constant(vector))
    normal = net.apply("Add", scaled, net.constant(vector - 1))
    ran = compare(monkeypatch, net, [net.convolve(_swish(net, normal), (24, 16))], "fp32")
    assert ran.launched.count("pointwise") == 1


def test_what_is_read_elsewhere_too_is_made(monkeypatch):
    net = Net()
    inner = net.convolve("x", (16, 24))
    gate = net.apply("Sigmoid", inner)
    outputs = [net.convolve(net.apply("Mul", inner, gate), (24, 16)), net.convolve(gate, (24, 8))]
    ran = compare(monkeypatch, net, outputs, "fp32")
    assert ran.launched.count("pointwise") == 2


@pytest.mark.parametrize("capability", [(7, 5), (9, 0), (12, 0)])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_phases_of_an_upsampled_image_cut_off_at_zero(monkeypatch, precision, capability):
    net = Net()
    phases = net.convolve("x", (16, 32))
    large = net.apply("DepthToSpace", phases, blocksize=2, mode="CRD")
    inner = net.apply("Relu", large)
    outputs = [net.convolve(inner, (8, 16))]
    ran = compare(monkeypatch, net, outputs, precision, capability=capability)
    assert "pointwise" not in ran.launched


def _relu6(net: Net, value: str) -> str:
    return net.apply("Clip", value, net.constant(np.array(0.0)), net.constant(np.array(6.0)))


def _clip(net: Net, value: str) -> str:
    """One that the library has no word for."""
    return net.apply("Clip", value, net.constant(np.array(-1.0)), net.constant(np.array(0.5)))


def _leaky(net: Net, value: str) -> str:
    return net.apply("LeakyRelu", value, alpha=0.2)


def _elu(net: Net, value: str) -> str:
    return net.apply("Elu", value)


def _sigmoid(net: Net, value: str) -> str:
    return net.apply("Sigmoid", value)


def _tanh(net: Net, value: str) -> str:
    return net.apply("Tanh", value)


WORDS = (_relu6, _leaky, _elu, _sigmoid, _tanh, _swish, _swish_turned)
# Times of launches that make the tuner choose one way or another.
LIBRARY = {"cudnn": 1.0, "pointwise": 50.0, "direct_convolution": 500.0}
OWN = {"cudnn": 500.0, "pointwise": 50.0, "direct_convolution": 1.0}
ALONE = {"cudnn": 1.0, "pointwise": 0.0, "direct_convolution": 500.0}


@pytest.mark.parametrize(
    ("precision", "capability"), [("fp32", (7, 5)), ("fp16", (9, 0)), ("bf16", (12, 0))]
)
@pytest.mark.parametrize("form", [*WORDS, _clip, _gelu])
def test_activations_belong_to_their_convolutions(monkeypatch, form, precision, capability):
    net = Net()
    strided = form(net, net.convolve("x", (16, 24), strides=[2, 2]))
    depthwise = form(net, net.convolve(strided, (24, 24), group=24))
    outputs = [net.convolve(depthwise, (24, 16))]
    options = {"capability": capability, "referee": True}
    ran = compare(monkeypatch, net, outputs, precision, costs=LIBRARY, **options)
    assert ran.launched.count("pointwise") == (0 if form in WORDS else 2)
    ran = compare(monkeypatch, net, outputs, precision, costs=OWN, **options)
    assert "direct_convolution" in ran.launched
    assert ran.launched.count("pointwise") == (0 if form in WORDS else 1)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("form", [_relu6, _leaky, _swish, _clip])
def test_a_pass_behind_works_in_place(monkeypatch, form, precision):
    net = Net()
    inner = form(net, net.convolve("x", (16, 24), strides=[2, 2]))
    with monkeypatch.context() as patch:
        # Whatever has a word for it is refused.
        patch.setattr("segrt.cuda.activated_ways.word_of", lambda steps: NONE)
        outputs = [net.convolve(inner, (24, 16))]
        ran = compare(patch, net, outputs, precision, costs=ALONE, referee=True)
    assert ran.launched.count("pointwise") == 1


@pytest.mark.parametrize("form", WORDS)
def test_transposed_convolutions_activate_too(monkeypatch, form):
    net = Net()
    # With a stride of two it would be phases, whose activation is a pass.
    kernel = net.constant(np.random.default_rng(3).normal(0, 0.2, (16, 24, 3, 3)))
    large = net.apply("ConvTranspose", "x", kernel, strides=[3, 3])
    inner = form(net, large)
    both = net.apply("Concat", inner, net.convolve(inner, (24, 8)), axis=1)
    ran = compare(
        monkeypatch, net, [net.convolve(both, (32, 16))], "fp16", costs=LIBRARY, referee=True
    )
    assert "pointwise" not in ran.launched


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_sum_with_a_shortcut_is_activated(monkeypatch, precision):
    net = Net()
    stem = net.apply("Relu", net.convolve("x", (16, 24)))
    total = net.apply("Add", net.convolve(stem, (24, 24)), stem)
    inner = _swish(net, total)
    ran = compare(
        monkeypatch, net, [net.convolve(inner, (24, 16))], precision, costs=LIBRARY, referee=True
    )
    assert "pointwise" not in ran.launched


def test_a_wrong_activation_is_not_used(monkeypatch):
    net = Net()
    inner = _leaky(net, net.convolve("x", (16, 24), strides=[2, 2]))
    right = word_of((Step("leaky_relu", "", (0.2,)),))
    assert right == ("leaky", 0.2)
    monkeypatch.setattr("segrt.cuda.activated_ways.word_of", lambda steps: ("tanh", 0.0))
    outputs = [net.convolve(inner, (24, 16))]
    ran = compare(monkeypatch, net, outputs, "fp16", costs=LIBRARY, referee=True)
    assert ran.launched.count("pointwise") == 1


def test_what_leaves_the_network_is_activated_in_full_precision(monkeypatch):
    net = Net()
    ran = compare(monkeypatch, net, [_tanh(net, net.convolve("x", (16, 24)))], "fp16")
    assert ran.launched.count("pointwise") == 1


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_first_layer_reads_what_comes(monkeypatch, precision):
    net = Net((2, 3, 9, 11))
    scaled = net.apply("Mul", "x", net.constant(np.array(0.5)))
    inner = _swish(net, net.convolve(scaled, (3, 16)))
    ran = compare(monkeypatch, net, [net.convolve(inner, (16, 16))], precision, referee=True)
    assert ran.launched[:3] == ["layout", "first_convolution", "pointwise"]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("form", [_swish, _swish_turned, _gelu, _leaky])
def test_group_normalizations_activate_too(monkeypatch, form, precision):
    net = Net()
    grouped = net.shaped(net.convolve("x", (16, 24)), (2, 6, -1))
    ones, zeros = (net.constant(np.full(6, number)) for number in (1.0, 0.0))
    normal = net.apply("InstanceNormalization", grouped, ones, zeros, epsilon=1e-3)
    vector = np.linspace(0.5, 1.5, 24).reshape(1, 24, 1, 1)
    scaled = net.apply("Mul", net.shaped(normal, (2, 24, 9, 11)), net.constant(vector))
    outputs = [net.convolve(form(net, scaled), (24, 16))]
    ran = compare(monkeypatch, net, outputs, precision)
    assert "group_normalization" in ran.launched
    assert "pointwise" not in ran.launched


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize("form", [_sigmoid, _swish, _relu6])
def test_activations_between_a_convolution_and_its_shuffle_stay(monkeypatch, form, mode):
    net = Net()
    for inputs, window in (((16, 8), 1), ((16, 32), 3)):
        inner = form(net, net.convolve("x", inputs, window))
        large = net.apply("DepthToSpace", inner, blocksize=2, mode=mode)
        compare(monkeypatch, net, [net.convolve(large, (inputs[1] // 4, 16))], "fp32")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_on_a_gpu(monkeypatch, tmp_path, precision):
    monkeypatch.setenv("SEGRT_CACHE", str(tmp_path))
    net = Net((2, 16, 41, 56))
    outputs = []
    for form in (*WORDS, _clip, _gelu):
        inner = form(net, net.convolve("x", (16, 24), strides=[2, 2]))
        inner = form(net, net.convolve(inner, (24, 24), group=24))
        kernel = net.constant(np.random.default_rng(3).normal(0, 0.2, (24, 16, 2, 2)))
        large = form(net, net.apply("ConvTranspose", inner, kernel, strides=[2, 2]))
        outputs.append(net.convolve(large, (16, 8)))
    model, feeds = net.model(*outputs), feeds_for(net.shape)
    target = REGISTRY.find("cuda")
    assert target is not None
    options = BuildOptions(precision=Precision(precision))
    with target.open_model(ir.serde.deserialize_model(model), options) as session:
        found = session.run(feeds)
        ways = [row.choice for row in session.profile([feeds["x"].shape])]
    print(precision, sorted(set(ways)))  # noqa: T201
    check(found, ort_outputs(model, feeds), {"fp32": 1e-5, "fp16": 3e-3, "bf16": 2e-2}[precision])
