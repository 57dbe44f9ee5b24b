"""Blocks with shortcuts through the CUDA engine: convolutions that add, against ONNX Runtime."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto

from helpers.cudnn_emulator import EmulatedLibrary
from helpers.emulated_engine import BOUNDS, compare, run
from helpers.residual_nets import NETS, SHAPE, Net, check, identity, ort_outputs
from segrt.cuda.fuse import fuse
from segrt.cuda.operations import Convolution, Program
from segrt.cuda.partition import partition
from segrt.cuda.recognise import recognise

pytest.importorskip("cuda.core", reason="cuda-core is not installed")
# Times of launches that make the tuner choose one way or another.
FUSED = {"cudnn": 1.0, "pointwise": 50.0}
OWN = {"cudnn": 500.0, "wide_convolution": 1.0, "resident_convolution": 1.0}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("build", NETS)
def test_agrees_whoever_adds(monkeypatch, build, precision):
    net = Net()
    outputs = build(net)
    fused = compare(monkeypatch, net, outputs, precision, costs=FUSED)
    with monkeypatch.context() as patch:
        patch.setattr(EmulatedLibrary, "adds_images", False)
        apart = compare(patch, net, outputs, precision, costs=FUSED)
    # What the library does not add, a pass does: one each, and no other.
    assert apart.launched.count("pointwise") - fused.launched.count("pointwise") == NETS[build]
    older = compare(monkeypatch, net, outputs, precision, capability=(8, 6))
    assert older.launched


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_own_kernels_have_the_addition_behind_them(monkeypatch, precision):
    net = Net((1, 64, 24, 24))
    inner = net.apply("Relu", net.convolve("x", (64, 64)))
    total = net.apply("Relu", net.apply("Add", net.convolve(inner, (64, 64)), inner))
    outputs = [net.apply("MaxPool", total, kernel_shape=[2, 2], strides=[2, 2])]
    ran = compare(monkeypatch, net, outputs, precision, costs=OWN)
    assert "cudnn" not in ran.launched
    index = ran.launched.index("pointwise")
    assert ran.launched[index - 1] in OWN
    assert ran.launched[index + 1] == "pooling"


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_pixels_are_prepared_as_ever(monkeypatch, precision):
    net = Net((2, 3, 9, 11))
    image = net.apply(
        "Add", net.apply("Mul", "x", net.constant(np.array(0.5))), net.constant(np.array(0.2))
    )
    both = net.apply("Add", net.convolve("x", (3, 16), 1), net.convolve(image, (3, 16)))
    for outputs in ([both], [net.apply("Relu", both)]):
        ran = compare(monkeypatch, net, outputs, precision, costs=FUSED)
        assert "cudnn" in ran.launched


def test_what_is_added_may_be_bytes(monkeypatch):
    net = Net(kind=TensorProto.UINT8)
    image = net.apply("Cast", "x", to=TensorProto.FLOAT)
    inner = net.apply("Relu", net.convolve(image, (16, 16)))
    first = net.apply("Add", net.convolve(image, (16, 16)), inner)
    model = net.model(net.apply("Add", image, net.convolve(first, (16, 16))))
    feeds = {"x": np.random.default_rng(5).integers(0, 256, SHAPE, np.uint8)}
    for precision in ("fp32", "fp16"):
        ran = run(monkeypatch, ir.serde.deserialize_model(model), feeds, precision, memory=1 << 25)
        check(ran.outputs, ort_outputs(model, feeds), BOUNDS[precision])


def test_graphs_in_integers_stay_as_they_are():
    net = Net()
    model = ir.serde.deserialize_model(net.model(*identity(net)))
    program = partition(recognise(model))
    assert [op.residual for op in _convolutions(fuse(program))] == [False, False, True]
    scaled = replace(program, scales={_convolutions(program)[0].output: 0.1})
    assert not any(op.residual for op in _convolutions(fuse(scaled)))


def _convolutions(program: Program) -> list[Convolution]:
    return [op for op in program.operations if isinstance(op, Convolution)]
