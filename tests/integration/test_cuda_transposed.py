"""Transposed convolutions as phases, in the CUDA engine: against ONNX Runtime, without a GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from helpers.emulated_engine import run
from helpers.quantised import ort_run, quantise
from helpers.residual_nets import Net
from helpers.transposed_nets import GENERATIONS, LIBRARY, OWN, agrees, alone, fixed, on_gpu, turned
from segrt.cuda import library_choices, transposed_phases
from segrt.cuda.foresee import planned_jobs
from segrt.cuda.graph_specs import GraphSpec
from segrt.cuda.jobs import signature
from segrt.cuda.kernels._base import REGISTRY
from segrt.cuda.operations import MergedUpsampling
from segrt.types import Precision

pytest.importorskip("cuda.core", reason="cuda-core is not installed")

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
    model, feeds = alone((2, 64, 5, 7), (64, 64, *size), **cut)
    (job,) = (
        job
        for job in planned_jobs(fixed(model), Precision(precision), capability)
        if isinstance(job.operation, MergedUpsampling)
    )
    assert "transposed" in signature(job)
    own = capability == (9, 0) and precision != "fp32"
    _library_with(monkeypatch, lambda spec: not spec.transposed)
    settings = {"capability": capability, "costs": OWN, "referee": True}
    launched = agrees(monkeypatch, model, feeds, precision, **settings).launched
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


@pytest.mark.parametrize("capability", GENERATIONS, ids=["own", "library"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_what_is_faster_turned_round_stays_so(monkeypatch, capability, precision):
    """The library's own transposed convolution, with one pass for bias and ReLU behind it."""
    model, feeds = alone((2, 64, 5, 7), (64, 64, 3, 3), auto_pad="SAME_UPPER")
    _library_with(monkeypatch, lambda spec: not spec.transposed or not spec.bias)
    costs = {**LIBRARY, "pixel_shuffle": 500.0}
    settings = {"capability": capability, "costs": costs, "referee": True}
    ran = agrees(monkeypatch, model, feeds, precision, **settings)
    assert ran.launched == ["layout", "cudnn", "pointwise", "layout"]


@pytest.mark.parametrize("capability", GENERATIONS, ids=["own", "library"])
def test_without_a_library(monkeypatch, capability):
    """Few channels, which no own kernel takes: every sum is written out, none of zeros."""
    model, feeds = alone((2, 8, 5, 7), (8, 4, 3, 3), auto_pad="SAME_UPPER")
    _library_with(monkeypatch, lambda spec: False)
    settings = {"capability": capability, "referee": True}
    ran = agrees(monkeypatch, model, feeds, "fp16", **settings)
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
    model, feeds = alone((2, 64, 5, 7), kernel, **attributes)
    jobs = planned_jobs(fixed(model), Precision(precision), (9, 0))
    assert not any(isinstance(job.operation, MergedUpsampling) for job in jobs)
    launched = agrees(monkeypatch, model, feeds, precision, referee=True).launched
    assert set(launched) <= {"layout", "cudnn", "direct_convolution", "pointwise"}


@pytest.mark.parametrize("follow", ["Sigmoid", "LeakyRelu", "Tanh", ""])
def test_other_activations_come_behind(monkeypatch, follow):
    model, feeds = alone((2, 64, 5, 7), (64, 64, 2, 2), follow=follow)
    launched = agrees(monkeypatch, model, feeds, "fp16", costs=OWN, referee=True).launched
    assert launched.count("pointwise") == bool(follow)
    assert set(OWN) & set(launched)


@pytest.mark.parametrize("capability", GENERATIONS, ids=["own", "library"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("window", [2, 3, 4])
def test_in_slices_of_a_concatenation(monkeypatch, window, precision, capability):
    net = Net((2, 64, 12, 10))
    down = net.convolve("x", (64, 64), strides=[2, 2])
    kernel = (64, 64, window, window)
    up = turned(net, down, kernel, auto_pad="SAME_UPPER")
    joined = net.apply("Concat", "x", up, axis=1)
    again = turned(net, joined, (128, 64, window, window), auto_pad="SAME_UPPER", follow="")
    model = net.model(net.convolve(net.apply("Relu", again), (64, 3), 1))
    feeds = {"x": np.random.default_rng(6).normal(size=net.shape).astype(np.float32)}
    settings = {"capability": capability, "costs": OWN, "referee": True}
    launched = agrees(monkeypatch, model, feeds, precision, **settings).launched
    if capability == (9, 0) and precision != "fp32":
        assert sum(launched.count(name) for name in OWN) == 2


def test_a_tap_that_goes_astray_is_seen(monkeypatch):
    """The referee goes by what the phases were made from."""
    right = transposed_phases._axis

    def wrong(taps: int, cut: int) -> Any:
        found = right(taps, cut)
        return found and replace(found, places=tuple((p, 0, t) for p, _, t in found.places))

    monkeypatch.setattr(transposed_phases, "_axis", wrong)
    model, feeds = alone((2, 64, 5, 7), (64, 64, 3, 3), auto_pad="SAME_UPPER")
    ran = agrees(monkeypatch, model, feeds, "fp16", costs=OWN, referee=True)
    assert not set(OWN) & set(ran.launched)


@pytest.mark.parametrize("roll", [1, 2, 3])
def test_a_wrong_kernel_is_not_used(monkeypatch, roll):
    kernel = REGISTRY.find("phase_convolution")
    assert kernel is not None
    kind = type(kernel)
    right = kind.reference
    monkeypatch.setattr(kind, "reference", lambda *asked: np.roll(right(*asked), 1, axis=roll))
    model, feeds = alone((2, 64, 5, 7), (64, 64, 2, 2))
    ran = agrees(monkeypatch, model, feeds, "fp16", costs=OWN, referee=True)
    assert not set(OWN) & set(ran.launched)


@pytest.mark.parametrize("capability", GENERATIONS, ids=["own", "library"])
@pytest.mark.parametrize("window", [2, 3, 4])
def test_in_eight_bits(monkeypatch, tmp_path, window, capability):
    pytest.importorskip("onnxruntime.quantization", reason="onnxruntime is not installed")
    net = Net((2, 1, 14, 18))
    first = net.apply("Relu", net.convolve("x", (1, 32)))
    up = turned(net, first, (32, 64, window, window), auto_pad="SAME_UPPER")
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


@pytest.mark.gpu
@pytest.mark.parametrize("window", [name for name in WINDOWS if name != "sized"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_every_way_on_a_gpu(precision, window):
    """Each is checked by the referee before it is timed; a wrong one would only be warned of."""
    size, cut = WINDOWS[window]
    net = Net((3, 64, 20, 28))
    up = turned(net, "x", (64, 128, *size), **cut)
    model = net.model(turned(net, up, (128, 64, *size), **cut))
    feeds = {"x": np.random.default_rng(8).normal(size=net.shape).astype(np.float32)}
    on_gpu(model, feeds, precision)
