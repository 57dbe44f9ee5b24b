"""Convolutions of volumes that read slices where they lie, on the emulated GPU, beside ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from helpers.emulated_engine import Ran, run
from helpers.residual_nets import Net, ort_outputs
from helpers.volume_nets import volume_unet
from segrt.cuda.foresee import planned_jobs
from segrt.cuda.image_operations import VolumeConvolution
from segrt.cuda.kernels._base import REGISTRY
from segrt.graph.fix_shapes import fix_shapes
from segrt.types import Precision

pytest.importorskip("cuda.core", reason="cuda-core is not installed")
OWN, LIBRARY = {"volume_convolution": 1.0}, {"volume_convolution": 500.0, "cudnn": 1.0}
BOUNDS = {"fp16": 2e-3, "bf16": 1.6e-2}
_SAME = [1] * 6


def _net(
    shape: Sequence[int], kernel: Sequence[int], **attributes: Any
) -> tuple[Any, dict[str, np.ndarray]]:
    """Return a net of one convolution and a ReLU, and what it is fed."""
    net, random = Net(tuple(shape)), np.random.default_rng(2)
    weights = net.constant(random.normal(0, 1 / np.sqrt(np.prod(kernel[1:])), kernel))
    bias = net.constant(random.normal(size=kernel[0]))
    last = net.apply("Relu", net.apply("Conv", "x", weights, bias, **attributes))
    return net.model(last), {"x": random.normal(size=shape).astype(np.float32)}


def _agrees(monkeypatch, model, feeds, precision: str = "fp16", **settings) -> Ran:
    wanted = next(iter(ort_outputs(model, feeds).values()))
    ran = run(
        monkeypatch, ir.serde.deserialize_model(model), feeds, precision, memory=1 << 26, **settings
    )
    found = next(iter(ran.outputs.values()))
    assert np.linalg.norm(found - wanted) <= BOUNDS[precision] * np.linalg.norm(wanted)
    return ran


def _unet(batch: int = 2, **settings) -> tuple[Any, dict[str, np.ndarray]]:
    feeds = {"x": np.random.default_rng(1).normal(size=(batch, 2, 6, 12, 8)).astype(np.float32)}
    return volume_unet((16, 32), shape=feeds["x"].shape, **settings), feeds


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("up", ["nearest", "transposed"])
def test_slices_stay_where_they_lie(monkeypatch, up, precision):
    model, feeds = _unet(up=up)
    ran = _agrees(monkeypatch, model, feeds, precision, costs=OWN)
    assert ran.launched.count("volume_convolution") == 5
    # Those of the first layer, which has too few channels.
    assert ran.launched.count("slices") == 1


def test_what_is_faster_in_two_launches_is_put_side_by_side(monkeypatch):
    model, feeds = _unet(up="nearest")
    launched = _agrees(monkeypatch, model, feeds, costs=LIBRARY).launched
    assert "volume_convolution" not in launched
    assert launched.count("slices") == 6


def test_other_generations_keep_their_steps(monkeypatch):
    model, feeds = _unet(up="nearest")
    launched = _agrees(monkeypatch, model, feeds, costs=OWN, capability=(8, 6)).launched
    assert "volume_convolution" not in launched
    assert launched.count("slices") == 6


@pytest.mark.parametrize("roll", [0, 1, 2])
@pytest.mark.parametrize("parts", [False, True])
def test_a_wrong_kernel_is_not_used(monkeypatch, roll, parts):
    """Slices, rows or columns that belong elsewhere are seen, in large volumes too."""
    if parts:
        monkeypatch.setattr("segrt.cuda.volume_ways._CHOICE_BYTES", 1)
        monkeypatch.setattr("segrt.cuda.volume_ways._FEWEST_PIXELS", 0)
    found = REGISTRY.find("volume_convolution")
    right = type(found).reference
    monkeypatch.setattr(
        type(found), "reference", lambda *asked: np.roll(right(*asked), 1, axis=roll)
    )
    model, feeds = _net((2, 16, 5, 9, 8), (32, 16, 3, 3, 3), pads=_SAME)
    ran = _agrees(monkeypatch, model, feeds, costs=OWN, referee=True)
    assert "volume_convolution" not in ran.launched
    assert ran.launched.count("slices") == (10 if parts else 1)


def test_large_volumes_are_not_put_side_by_side_to_choose(monkeypatch):
    monkeypatch.setattr("segrt.cuda.volume_ways._CHOICE_BYTES", 1)
    monkeypatch.setattr("segrt.cuda.volume_ways._FEWEST_PIXELS", 0)
    model, feeds = _unet(up="nearest")
    launched = _agrees(monkeypatch, model, feeds, costs=LIBRARY).launched
    assert launched.count("volume_convolution") == 5


def test_large_volumes_of_small_slices_are_left_to_images(monkeypatch):
    monkeypatch.setattr("segrt.cuda.volume_ways._CHOICE_BYTES", 1)
    model, feeds = _unet(up="nearest")
    assert "volume_convolution" not in _agrees(monkeypatch, model, feeds, costs=OWN).launched


FITS = [
    ("valid", (2, 32, 5, 9, 7), (16, 32, 3, 3, 3), {}),
    ("one slice", (3, 16, 1, 9, 7), (32, 16, 3, 3, 3), {"pads": _SAME}),
    ("front", (1, 16, 4, 9, 7), (24, 16, 2, 3, 2), {"pads": [1, 0, 1, 0, 2, 0]}),
    ("deep", (2, 8, 4, 5, 7), (16, 8, 3, 1, 1), {"pads": [2, 0, 0, 2, 0, 0]}),
    ("a chunk and a half", (1, 72, 3, 9, 7), (32, 72, 3, 3, 3), {"pads": _SAME}),
]


@pytest.mark.parametrize(
    ("shape", "kernel", "attributes"), [case[1:] for case in FITS], ids=[case[0] for case in FITS]
)
def test_windows_of_stride_one(monkeypatch, shape, kernel, attributes):
    model, feeds = _net(shape, kernel, **attributes)
    ran = _agrees(monkeypatch, model, feeds, costs=OWN, referee=True)
    assert "volume_convolution" in ran.launched
    assert "slices" not in ran.launched


OTHERS = [
    ("strides", (1, 16, 6, 8, 8), (16, 16, 3, 3, 3), {"pads": _SAME, "strides": [2, 1, 1]}),
    ("plane strides", (1, 16, 6, 8, 8), (16, 16, 3, 3, 3), {"pads": _SAME, "strides": [1, 2, 2]}),
    ("dilations", (1, 16, 6, 8, 8), (16, 16, 3, 3, 3), {"dilations": [2, 1, 1]}),
    ("groups", (1, 16, 6, 8, 8), (16, 8, 3, 3, 3), {"pads": _SAME, "group": 2}),
    ("far away", (1, 16, 6, 8, 8), (16, 16, 3, 3, 3), {"pads": [3, 1, 1, 3, 1, 1]}),
    ("large", (1, 16, 6, 8, 8), (16, 16, 5, 3, 3), {}),
    ("few channels", (1, 4, 6, 8, 8), (16, 4, 3, 3, 3), {}),
]


@pytest.mark.parametrize(
    ("shape", "kernel", "attributes"), [case[1:] for case in OTHERS], ids=[c[0] for c in OTHERS]
)
def test_other_windows_keep_their_steps(monkeypatch, shape, kernel, attributes):
    model, feeds = _net(shape, kernel, **attributes)
    ran = _agrees(monkeypatch, model, feeds, costs=OWN)
    assert "volume_convolution" not in ran.launched
    assert "slices" in ran.launched


def test_what_adds_a_shortcut_keeps_its_steps(monkeypatch):
    model, feeds = _unet(up="nearest", shortcuts=True)
    launched = _agrees(monkeypatch, model, feeds, costs=OWN).launched
    assert {"volume_convolution", "slices"} <= set(launched)


def test_large_volumes_take_no_memory_between(monkeypatch):
    """Of a large volume some slices have a place, for the case that all else fails."""
    model = fix_shapes(
        ir.serde.deserialize_model(volume_unet((32, 64), (1, 2, 128, 128, 128), up="nearest")), {}
    )
    jobs = planned_jobs(model, Precision.FP16, (9, 0))
    found = [job for job in jobs if isinstance(job.operation, VolumeConvolution)]
    assert len(found) == 5
    for job in found:
        assert job.views[1].span_bytes <= 1 << 26
