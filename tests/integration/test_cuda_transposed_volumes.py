"""Transposed convolutions of volumes as phases, in the CUDA engine, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from helpers.residual_nets import Net
from helpers.transposed_nets import (
    GENERATIONS,
    LIBRARY,
    OWN,
    agrees,
    alone,
    fixed,
    on_gpu,
    turned,
)
from segrt.cuda.foresee import planned_jobs
from segrt.cuda.kernels._base import REGISTRY
from segrt.cuda.operations import MergedUpsampling
from segrt.types import Precision

pytest.importorskip("cuda.core", reason="cuda-core is not installed")


def _volumes(
    channels: tuple[int, int], shape: Sequence[int] = (2, 3, 5, 7), **attributes: Any
) -> tuple[ModelProto, dict[str, np.ndarray]]:
    """Return a net that makes volumes twice as large along all axes, beside what it is fed."""
    inputs, outputs = channels
    batch, *sizes = shape
    attributes.setdefault("strides", [2, 2, 2])
    return alone((batch, inputs, *sizes), (inputs, outputs, 2, 2, 2), **attributes)


@pytest.mark.parametrize("capability", GENERATIONS, ids=["own", "library"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("follow", ["Relu", "Tanh"])
@pytest.mark.parametrize("channels", [(64, 64), (128, 128), (8, 4)], ids=str)
def test_volumes(monkeypatch, channels, follow, precision, capability):
    """In one launch from slice to slices, or as phases of both slices and their shuffle."""
    model, feeds = _volumes(channels, follow=follow)
    settings = {"capability": capability, "costs": LIBRARY, "referee": True}
    ran = agrees(monkeypatch, model, feeds, precision, **settings)
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
    ran = agrees(monkeypatch, model, feeds, "fp16", referee=True)
    assert ran.launched == ["layout", "cudnn", "pixel_shuffle", "layout"]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("channels", [(64, 64), (24, 8)], ids=str)
def test_large_volumes_in_parts(monkeypatch, channels, precision):
    monkeypatch.setattr("segrt.cuda.volume_parts._PART_BYTES", 1)
    model, feeds = _volumes(channels, (3, 3, 6, 4))
    ran = agrees(monkeypatch, model, feeds, precision, referee=True)
    own = precision == "fp16" and channels == (64, 64)
    # Nine slices in five parts, the last one smaller.
    assert ran.launched.count("pixel_shuffle") == (0 if own else 5)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_volumes_in_slices_of_a_concatenation(monkeypatch, precision):
    net = Net((2, 64, 4, 6, 10))
    random = np.random.default_rng(9)
    kernel = net.constant(random.normal(0, 0.1, (64, 64, 2, 2, 2)))
    down = net.apply("Conv", "x", kernel, strides=[2] * 3)
    up = turned(net, down, (64, 64, 2, 2, 2), strides=[2] * 3)
    model = net.model(net.apply("Tanh", net.apply("Concat", "x", up, "x", axis=1)))
    feeds = {"x": random.normal(size=net.shape).astype(np.float32)}
    agrees(monkeypatch, model, feeds, precision, referee=True)


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
    model, feeds = alone((2, 64, 3, 4, 6), kernel, **attributes)
    jobs = planned_jobs(fixed(model), Precision.FP16, (9, 0))
    merged = [job for job in jobs if isinstance(job.operation, MergedUpsampling)]
    assert bool(merged) == (kind in ("plane", "same", "cut"))
    assert not any(job.operation.depth > 1 for job in merged)
    agrees(monkeypatch, model, feeds, "fp16", costs=OWN, referee=True)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("channels", [(64, 128), (128, 64), (24, 8)], ids=str)
@pytest.mark.parametrize("parts", [False, True])
def test_volumes_on_a_gpu(monkeypatch, tmp_path, parts, channels, precision):
    monkeypatch.setenv("SEGRT_CACHE", str(tmp_path))
    if parts:
        monkeypatch.setattr("segrt.cuda.volume_parts._PART_BYTES", 1)
    on_gpu(*_volumes(channels, (2, 5, 18, 12)), precision)
