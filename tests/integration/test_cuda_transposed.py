"""Transposed convolutions as phases, in the CUDA engine: against ONNX Runtime, without a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx import ModelProto

from helpers.emulated_engine import Ran, run
from helpers.quantised import ort_run, quantise
from helpers.residual_nets import Net, check, ort_outputs
from segrt.cuda import library_choices, transposed_phases
from segrt.cuda.foresee import planned_jobs
from segrt.cuda.graph_specs import GraphSpec
from segrt.cuda.jobs import signature
from segrt.cuda.kernels._base import REGISTRY
from segrt.cuda.operations import MergedUpsampling
from segrt.graph.fix_shapes import fix_shapes
from segrt.targets._base import REGISTRY as TARGETS
from segrt.types import BuildOptions, Precision

pytest.importorskip("cuda.core", reason="cuda-core is not installed")
BOUNDS = {"fp32": 2e-6, "fp16": 2e-3, "bf16": 1.6e-2}
GENERATIONS = [(9, 0), (8, 0)]
# What is as fast as one likes is chosen.
OWN = {"phase_wide": 1.0, "phase_convolution": 1.0}
LIBRARY = {"cudnn": 1.0, "phase_wide": 500.0, "phase_convolution": 500.0}


def _turned(
    net: Net, value: str, kernel: Sequence[int], *, follow: str = "Relu", **attributes: Any
) -> str:
    """Add a transposed convolution I O y x of stride 2 with bias, and what follows it."""
    random = np.random.default_rng(4)
    weights = net.constant(random.normal(0, 2 / np.sqrt(kernel[0] * kernel[2]), kernel))
    outputs = kernel[1] * attributes.get("group", 1)
    bias = net.constant(random.normal(size=outputs))
    attributes.setdefault("strides", [2, 2])
    value = net.apply("ConvTranspose", value, weights, bias, **attributes)
    return net.apply(follow, value) if follow else value


def _alone(
    shape: Sequence[int], kernel: Sequence[int], **settings: Any
) -> tuple[ModelProto, dict[str, np.ndarray]]:
    net = Net(tuple(shape))
    model = net.model(_turned(net, "x", kernel, **settings))
    return model, {"x": np.random.default_rng(5).normal(size=shape).astype(np.float32)}


def _agrees(monkeypatch, model, feeds, precision: str = "fp32", **settings: Any) -> Ran:
    ran = run(monkeypatch, ir.serde.deserialize_model(model), feeds, precision, **settings)
    check(ran.outputs, ort_outputs(model, feeds), BOUNDS[precision])
    return ran


# Kernel and what is cut off, such that the result is twice as large.
WINDOWS: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {
    "2x2": ((2, 2), {}),
    "3x3 upper": ((3, 3), {"auto_pad": "SAME_UPPER"}),
    "3x3 lower": ((3, 3), {"auto_pad": "SAME_LOWER"}),
    "3x3 more": ((3, 3), {"pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
    "4x4": ((4, 4), {"pads": [1, 1, 1, 1]}),
    "4x4 aside": ((4, 4), {"pads": [0, 2, 2, 0]}),
    "5x5": ((5, 5), {"auto_pad": "SAME_UPPER"}),
    "5x5 more": ((5, 5), {"pads": [2, 2, 2, 2], "output_padding": [1, 1]}),
    "6x6": ((6, 6), {"pads": [2, 2, 2, 2]}),
    "2x5": ((2, 5), {"pads": [0, 1, 0, 2]}),
    "2x2 shifted": ((2, 2), {"pads": [1, 0, 0, 1], "output_padding": [1, 1]}),
    "sized": ((3, 3), {"output_shape": [10, 14]}),
}


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("capability", GENERATIONS, ids=["own", "library"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_phases(monkeypatch, window, capability, precision):
    size, cut = WINDOWS[window]
    model, feeds = _alone((2, 64, 5, 7), (64, 64, *size), **cut)
    (job,) = (
        job
        for job in planned_jobs(_fixed(model), Precision(precision), capability)
        if isinstance(job.operation, MergedUpsampling)
    )
    assert "transposed" in signature(job)
    own = capability == (9, 0) and precision != "fp32"
    _library_with(monkeypatch, lambda spec: not spec.transposed)
    settings = {"capability": capability, "costs": OWN, "referee": True}
    launched = _agrees(monkeypatch, model, feeds, precision, **settings).launched
    kernel = "phase_convolution" if launched[1] == "phase_convolution" else "phase_wide"
    # The ReLU costs nothing.
    wanted = ["layout", kernel, "layout"] if own else ["layout", "cudnn", "pixel_shuffle", "layout"]
    assert launched == wanted


def _library_with(monkeypatch, has: Callable[[GraphSpec], bool]) -> None:
    made = library_choices.convolution_graph
    monkeypatch.setattr(
        library_choices,
        "convolution_graph",
        lambda library, spec: made(library, spec) if has(spec) else None,
    )


def _fixed(model: ModelProto) -> ir.Model:
    return fix_shapes(ir.serde.deserialize_model(model), {})


@pytest.mark.parametrize("capability", GENERATIONS, ids=["own", "library"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_what_is_faster_turned_round_stays_so(monkeypatch, capability, precision):
    """The library's own transposed convolution, with one pass for bias and ReLU behind it."""
    model, feeds = _alone((2, 64, 5, 7), (64, 64, 3, 3), auto_pad="SAME_UPPER")
    _library_with(monkeypatch, lambda spec: not spec.transposed or not spec.bias)
    costs = {**LIBRARY, "pixel_shuffle": 500.0}
    settings = {"capability": capability, "costs": costs, "referee": True}
    ran = _agrees(monkeypatch, model, feeds, precision, **settings)
    assert ran.launched == ["layout", "cudnn", "pointwise", "layout"]


@pytest.mark.parametrize("capability", GENERATIONS, ids=["own", "library"])
def test_without_a_library(monkeypatch, capability):
    """Few channels, which no own kernel takes: every sum is written out, none of zeros."""
    model, feeds = _alone((2, 8, 5, 7), (8, 4, 3, 3), auto_pad="SAME_UPPER")
    _library_with(monkeypatch, lambda spec: False)
    settings = {"capability": capability, "referee": True}
    ran = _agrees(monkeypatch, model, feeds, "fp16", **settings)
    assert ran.launched == ["layout", "direct_convolution", "layout"]


OTHERS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "one more": ((64, 16, 3, 3), {}),
    "strides": ((64, 16, 2, 2), {"strides": [1, 2]}),
    "three": ((64, 16, 3, 3), {"strides": [3, 3]}),
    "dilated": ((64, 16, 2, 2), {"dilations": [3, 3], "pads": [1, 1, 1, 1]}),
    "groups": ((64, 16, 2, 2), {"group": 2}),
    "one tap": ((64, 16, 1, 2), {"output_padding": [1, 0]}),
    "seven": ((64, 16, 7, 7), {"auto_pad": "SAME_UPPER"}),
    "ten": ((64, 16, 2, 10), {"auto_pad": "SAME_LOWER"}),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_others_stay_as_they_are(monkeypatch, other, precision):
    kernel, attributes = OTHERS[other]
    model, feeds = _alone((2, 64, 5, 7), kernel, **attributes)
    jobs = planned_jobs(_fixed(model), Precision(precision), (9, 0))
    assert not any(isinstance(job.operation, MergedUpsampling) for job in jobs)
    launched = _agrees(monkeypatch, model, feeds, precision, referee=True).launched
    # Their ReLU is part of them all the same.
    assert set(launched) <= {"layout", "cudnn", "direct_convolution"}


@pytest.mark.parametrize("follow", ["Sigmoid", "LeakyRelu", "Tanh", ""])
def test_other_activations_come_behind(monkeypatch, follow):
    model, feeds = _alone((2, 64, 5, 7), (64, 64, 2, 2), follow=follow)
    launched = _agrees(monkeypatch, model, feeds, "fp16", costs=OWN, referee=True).launched
    assert launched.count("pointwise") == bool(follow)
    assert set(OWN) & set(launched)


@pytest.mark.parametrize("capability", GENERATIONS, ids=["own", "library"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("window", [2, 3, 4])
def test_in_slices_of_a_concatenation(monkeypatch, window, precision, capability):
    net = Net((2, 64, 12, 10))
    down = net.convolve("x", (64, 64), strides=[2, 2])
    kernel = (64, 64, window, window)
    up = _turned(net, down, kernel, auto_pad="SAME_UPPER")
    joined = net.apply("Concat", "x", up, axis=1)
    again = _turned(net, joined, (128, 64, window, window), auto_pad="SAME_UPPER", follow="")
    model = net.model(net.convolve(net.apply("Relu", again), (64, 3), 1))
    feeds = {"x": np.random.default_rng(6).normal(size=net.shape).astype(np.float32)}
    settings = {"capability": capability, "costs": OWN, "referee": True}
    launched = _agrees(monkeypatch, model, feeds, precision, **settings).launched
    if capability == (9, 0) and precision != "fp32":
        assert sum(launched.count(name) for name in OWN) == 2


def test_a_tap_that_goes_astray_is_seen(monkeypatch):
    """The referee goes by what the phases were made from."""
    right = transposed_phases._axis

    def wrong(taps: int, cut: int) -> Any:
        found = right(taps, cut)
        return found and replace(found, places=tuple((p, 0, t) for p, _, t in found.places))

    monkeypatch.setattr(transposed_phases, "_axis", wrong)
    model, feeds = _alone((2, 64, 5, 7), (64, 64, 3, 3), auto_pad="SAME_UPPER")
    ran = _agrees(monkeypatch, model, feeds, "fp16", costs=OWN, referee=True)
    assert not set(OWN) & set(ran.launched)


@pytest.mark.parametrize("roll", [1, 2, 3])
def test_a_wrong_kernel_is_not_used(monkeypatch, roll):
    kernel = REGISTRY.find("phase_convolution")
    assert kernel is not None
    kind = type(kernel)
    right = kind.reference
    monkeypatch.setattr(kind, "reference", lambda *asked: np.roll(right(*asked), 1, axis=roll))
    model, feeds = _alone((2, 64, 5, 7), (64, 64, 2, 2))
    ran = _agrees(monkeypatch, model, feeds, "fp16", costs=OWN, referee=True)
    assert not set(OWN) & set(ran.launched)


@pytest.mark.parametrize("capability", GENERATIONS, ids=["own", "library"])
@pytest.mark.parametrize("window", [2, 3, 4])
def test_in_eight_bits(monkeypatch, tmp_path, window, capability):
    pytest.importorskip("onnxruntime.quantization", reason="onnxruntime is not installed")
    net = Net((2, 1, 14, 18))
    first = net.apply("Relu", net.convolve("x", (1, 32)))
    up = _turned(net, first, (32, 64, window, window), auto_pad="SAME_UPPER")
    model = ir.serde.deserialize_model(net.model(net.convolve(up, (64, 2))))
    random = np.random.default_rng(7)
    feeds = [{"x": random.normal(size=net.shape).astype(np.float32)} for _ in range(3)]
    quantised = quantise(model, feeds, tmp_path)
    settings = {"capability": capability, "referee": True, "costs": {"phase_int8": 1.0}}
    ran = run(monkeypatch, quantised, feeds[0], "int8", **settings)
    found = next(iter(ran.outputs.values()))
    wanted, rounded = (ort_run(each, feeds[0])[0] for each in (model, quantised))
    # The engine rounds less often than the graph says, never more.
    size = np.linalg.norm(rounded - wanted)
    assert np.linalg.norm(found - wanted) <= 1.05 * size
    assert np.linalg.norm(found - rounded) <= 1.5 * size
    assert ("phase_int8" in ran.launched) == (capability == (9, 0) and window < 4)
    # Between own kernels nothing is converted.
    if "phase_int8" in ran.launched:
        assert "pointwise" not in ran.launched


def _volumes(
    channels: tuple[int, int], shape: Sequence[int] = (2, 3, 5, 7), **attributes: Any
) -> tuple[ModelProto, dict[str, np.ndarray]]:
    """Return a net that makes volumes twice as large along all axes, beside what it is fed."""
    inputs, outputs = channels
    batch, *sizes = shape
    attributes.setdefault("strides", [2, 2, 2])
    return _alone((batch, inputs, *sizes), (inputs, outputs, 2, 2, 2), **attributes)


@pytest.mark.parametrize("capability", GENERATIONS, ids=["own", "library"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("follow", ["Relu", "Tanh"])
@pytest.mark.parametrize("channels", [(64, 64), (128, 128), (8, 4)], ids=str)
def test_volumes(monkeypatch, channels, follow, precision, capability):
    """In one launch from slice to slices, or as phases of both slices and their shuffle."""
    model, feeds = _volumes(channels, follow=follow)
    settings = {"capability": capability, "costs": LIBRARY, "referee": True}
    ran = _agrees(monkeypatch, model, feeds, precision, **settings)
    found = [name for name in ran.launched if name not in ("layout", "pointwise")]
    own = capability == (9, 0) and precision != "fp32" and channels != (8, 4)
    # Where an own kernel works the phases are no choice, however fast.
    assert set(found) <= set(OWN) if own else found == ["cudnn", "pixel_shuffle"]
    assert ran.launched.count("pointwise") == (follow != "Relu")


@pytest.mark.parametrize("roll", [0, 1, 2])
def test_slices_that_lie_elsewhere_are_seen(monkeypatch, roll):
    kernel = REGISTRY.find("phase_convolution")
    assert kernel is not None
    kind = type(kernel)
    right = kind.reference
    monkeypatch.setattr(kind, "reference", lambda *asked: np.roll(right(*asked), 1, axis=roll))
    model, feeds = _volumes((64, 64))
    ran = _agrees(monkeypatch, model, feeds, "fp16", referee=True)
    assert ran.launched == ["layout", "cudnn", "pixel_shuffle", "layout"]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("channels", [(64, 64), (24, 8)], ids=str)
def test_large_volumes_in_parts(monkeypatch, channels, precision):
    monkeypatch.setattr("segrt.cuda.volume_parts._PART_BYTES", 1)
    model, feeds = _volumes(channels, (3, 3, 6, 4))
    ran = _agrees(monkeypatch, model, feeds, precision, referee=True)
    own = precision == "fp16" and channels == (64, 64)
    # Nine slices in five parts, the last one smaller.
    assert ran.launched.count("pixel_shuffle") == (0 if own else 5)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_volumes_in_slices_of_a_concatenation(monkeypatch, precision):
    net = Net((2, 64, 4, 6, 10))
    random = np.random.default_rng(9)
    kernel = net.constant(random.normal(0, 0.1, (64, 64, 2, 2, 2)))
    down = net.apply("Conv", "x", kernel, strides=[2] * 3)
    up = _turned(net, down, (64, 64, 2, 2, 2), strides=[2] * 3)
    model = net.model(net.apply("Tanh", net.apply("Concat", "x", up, "x", axis=1)))
    feeds = {"x": random.normal(size=net.shape).astype(np.float32)}
    _agrees(monkeypatch, model, feeds, precision, referee=True)


VOLUMES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "plane": ((64, 64, 1, 2, 2), {"strides": [1, 2, 2]}),
    "same": ((64, 64, 3, 3, 3), {"strides": [2, 2, 2], "auto_pad": "SAME_UPPER"}),
    "deep": ((64, 64, 2, 1, 1), {"strides": [2, 1, 1]}),
    "groups": ((64, 32, 2, 2, 2), {"strides": [2, 2, 2], "group": 2}),
    "more": ((64, 64, 2, 2, 2), {"strides": [2, 2, 2], "output_padding": [1, 0, 1]}),
    "cut": ((64, 64, 2, 2, 2), {"strides": [2, 2, 2], "pads": [1, 0, 0, 1, 0, 0]}),
}


@pytest.mark.parametrize("kind", VOLUMES)
@pytest.mark.parametrize("parts", [False, True])
def test_other_volumes(monkeypatch, kind, parts):
    if parts:
        monkeypatch.setattr("segrt.cuda.volume_parts._PART_BYTES", 1)
    kernel, attributes = VOLUMES[kind]
    model, feeds = _alone((2, 64, 3, 4, 6), kernel, **attributes)
    jobs = planned_jobs(_fixed(model), Precision.FP16, (9, 0))
    merged = [job for job in jobs if isinstance(job.operation, MergedUpsampling)]
    assert bool(merged) == (kind in ("plane", "same", "cut"))
    assert not any(job.operation.depth > 1 for job in merged)
    _agrees(monkeypatch, model, feeds, "fp16", costs=OWN, referee=True)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("channels", [(64, 128), (128, 64), (24, 8)], ids=str)
@pytest.mark.parametrize("parts", [False, True])
def test_volumes_on_a_gpu(monkeypatch, tmp_path, parts, channels, precision):
    monkeypatch.setenv("SEGRT_CACHE", str(tmp_path))
    if parts:
        monkeypatch.setattr("segrt.cuda.volume_parts._PART_BYTES", 1)
    _on_gpu(*_volumes(channels, (2, 5, 18, 12)), precision)


@pytest.mark.gpu
@pytest.mark.parametrize("window", [name for name in WINDOWS if name != "sized"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_every_way_on_a_gpu(precision, window):
    """Each is checked by the referee before it is timed; a wrong one would only be warned of."""
    size, cut = WINDOWS[window]
    net = Net((3, 64, 20, 28))
    up = _turned(net, "x", (64, 128, *size), **cut)
    model = net.model(_turned(net, up, (128, 64, *size), **cut))
    feeds = {"x": np.random.default_rng(8).normal(size=net.shape).astype(np.float32)}
    _on_gpu(model, feeds, precision)


def _on_gpu(model: ModelProto, feeds: dict[str, np.ndarray], precision: str) -> None:
    target = TARGETS.find("cuda")
    assert target is not None
    options = BuildOptions(precision=Precision(precision))
    with target.open_model(ir.serde.deserialize_model(model), options) as session:
        check(session.run(feeds), ort_outputs(model, feeds), 5 * BOUNDS[precision])
