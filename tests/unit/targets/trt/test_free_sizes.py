"""Engines for ranges of sizes: built for real, read back at any size, their layers traced."""

import json

import numpy as np
import pytest

import segrt
from helpers.closeness import relative_l2
from helpers.tensorrt_graphs import run, unet
from segrt.errors import ShapeError, UsageError
from segrt.targets.trt._flavour import RTX
from segrt.targets.trt.decompile import decompile
from segrt.targets.trt.network import write_network
from segrt.targets.trt.parser import parse_network
from segrt.types import Precision, ShapeProfile

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install .[rtx]")

BATCH = ShapeProfile(1, 4, 8)
HEIGHT, WIDTH = ShapeProfile(16, 32, 64), ShapeProfile(32, 32, 96)
KINDS = pytest.mark.parametrize("kind", ["nearest", "linear", "transposed"])


@KINDS
@pytest.mark.parametrize("via", ["network", "onnx-parser"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_one_engine_for_a_range_of_sizes(kind, via, precision, tmp_path):
    model = unet((4, 8, 8), side=None, batch=None, kind=kind)
    package = segrt.build(
        model, target="tensorrt-rtx", output=tmp_path / "p.segrt", precision=precision, via=via,
        batch=BATCH, size=(HEIGHT, WIDTH),
    )  # fmt: skip
    assert package.manifest.inputs[0].ranges == (BATCH, HEIGHT, WIDTH, None)
    report = segrt.verify(package, network=True)
    assert report.ok
    assert {row.name for row in report.rows} >= {"down0a", "up0", "join0", "mask"}
    image = np.random.default_rng(0).random((3, 48, 64, 1), dtype=np.float32)
    assert segrt.verify(package, network=True, inputs={"image": image}).ok
    kernels = json.loads((package.path / "engines/model.layers.json").read_text("utf-8"))
    rows = json.loads((package.path / "layers.json").read_text("utf-8"))
    traced = {row["keras"]: row["engine"] for row in rows if row["engine"]}
    assert set(traced) >= {"down0a", "down1b", "up0conv", "up0a"}
    known = {kernel["name"] for kernel in kernels}
    assert {name for names in traced.values() for name in names} <= known
    # The pool reads the skip where it lies in the concatenation, whatever the size.
    assert not [name for name in known if "Move" in name]


@pytest.mark.parametrize("route", [write_network, parse_network])
@KINDS
def test_what_is_read_back_runs_at_every_size(route, kind):
    model = unet((4, 8, 8), side=None, batch=None, kind=kind)
    read_back = decompile(route(RTX, model, Precision.FP32), model)
    for shape in ((1, 16, 32, 1), (2, 64, 20, 1)):
        feeds = {"image": np.random.default_rng(1).random(shape, dtype=np.float32)}
        assert relative_l2(run(read_back, feeds)["mask"], run(model, feeds)["mask"]) <= 2e-6


def test_a_free_batch_alone(tmp_path):
    package = segrt.build(
        unet((4, 8), side=16, batch=None), target="tensorrt-rtx", output=tmp_path / "p.segrt",
        batch=BATCH,
    )  # fmt: skip
    assert package.manifest.inputs[0].shape == (None, 16, 16, 1)
    assert segrt.verify(package, network=True).ok


def test_a_free_size_with_a_fixed_batch(tmp_path):
    package = segrt.build(
        unet((4, 8), side=None, batch=None), target="tensorrt-rtx", output=tmp_path / "p.segrt",
        size=(HEIGHT, 48),
    )  # fmt: skip
    assert package.manifest.options.batch == 1
    assert package.manifest.inputs[0].shape == (1, None, 48, 1)
    assert segrt.verify(package, network=True).ok


def test_sizes_that_do_not_meet_are_refused_before_tensorrt_sees_them():
    model = unet((4, 8, 8), side=None, batch=None)
    with pytest.raises(ShapeError, match="multiples of 4"):
        segrt.build(model, target="tensorrt-rtx", size=(ShapeProfile(16, 32, 66), 32))


def test_free_sizes_without_a_range_are_refused():
    model = unet((4, 8, 8), side=None, batch=None)
    with pytest.raises(UsageError, match="or a range of sizes") as caught:
        segrt.build(model, target="tensorrt-rtx", batch=BATCH)
    assert "multiples of 4" in str(caught.value)
