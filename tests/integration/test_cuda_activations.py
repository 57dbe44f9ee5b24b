"""What follows convolutions element by element, on the emulated GPU, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from helpers.emulated_engine import Ran, run
from helpers.residual_nets import Net, check, feeds_for, ort_outputs

pytest.importorskip("cuda.core", reason="cuda-core is not installed")
BOUNDS = {"fp32": 2e-6, "fp16": 2e-3, "bf16": 1.5e-2}


def _compare(
    monkeypatch: pytest.MonkeyPatch, net: Net, outputs: list[str], precision: str, **options: Any
) -> Ran:
    model, feeds = net.model(*outputs), feeds_for(net.shape)
    ran = run(
        monkeypatch, ir.serde.deserialize_model(model), feeds, precision, memory=1 << 25, **options
    )
    check(ran.outputs, ort_outputs(model, feeds), BOUNDS[precision])
    return ran


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
    inner = form(net, net.convolve("x", (16, 24)))
    ran = _compare(monkeypatch, net, [net.convolve(inner, (24, 16))], precision)
    assert ran.launched.count("pointwise") == FORMS[form]


def test_a_normalization_in_front_belongs_to_the_same_pass(monkeypatch):
    net = Net()
    vector = np.linspace(0.5, 1.5, 24).reshape(1, 24, 1, 1)
    pooled = net.apply("MaxPool", net.convolve("x", (16, 24)), kernel_shape=[2, 2])
    scaled = net.apply("Mul", pooled, net.constant(vector))
    normal = net.apply("Add", scaled, net.constant(vector - 1))
    ran = _compare(monkeypatch, net, [net.convolve(_swish(net, normal), (24, 16))], "fp32")
    assert ran.launched.count("pointwise") == 1


def test_what_is_read_elsewhere_too_is_made(monkeypatch):
    net = Net()
    inner = net.convolve("x", (16, 24))
    gate = net.apply("Sigmoid", inner)
    outputs = [net.convolve(net.apply("Mul", inner, gate), (24, 16)), net.convolve(gate, (24, 8))]
    ran = _compare(monkeypatch, net, outputs, "fp32")
    assert ran.launched.count("pointwise") == 2


@pytest.mark.parametrize("capability", [(7, 5), (9, 0), (12, 0)])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_phases_of_an_upsampled_image_cut_off_at_zero(monkeypatch, precision, capability):
    net = Net()
    phases = net.convolve("x", (16, 32))
    large = net.apply("DepthToSpace", phases, blocksize=2, mode="CRD")
    inner = net.apply("Relu", large)
    outputs = [net.convolve(inner, (8, 16))]
    ran = _compare(monkeypatch, net, outputs, precision, capability=capability)
    assert "pointwise" not in ran.launched
