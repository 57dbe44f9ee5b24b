"""Engines for ranges of sizes: built for real, read back at any size, their layers traced."""

import json

import numpy as np
import pytest

import segrt
from helpers.closeness import relative_l2
from helpers.tensorrt_graphs import one_node, run, unet, weights
from segrt.errors import ShapeError, UsageError
from segrt.graph import metadata
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


@pytest.mark.parametrize("via", ["network", "onnx-parser"])
def test_volumes_and_sequences_of_free_sizes(via, tmp_path):
    for count in (1, 3):
        shape = (None, 2, *[None] * count)
        kernel = weights(4, 2, *[3] * count)

        def fill(b, x, count=count, kernel=kernel):
            y = b.op("Conv", [x, b.constant("k", kernel)], name="conv", pads=[1] * 2 * count)
            low = b.op("MaxPool", [y], name="low", kernel_shape=[2] * count, strides=[2] * count)
            scales = np.array([1, 1, *[2] * count], np.float32)
            up = b.op("Resize", [low, None, b.constant("s", scales)], name="up", mode="linear")
            return b.op("Concat", [y, up], name="y", axis=1)

        model = one_node(fill, shape)
        for node in model.graph:
            metadata.tag_value(node.outputs[0], str(node.name), None)
        package = segrt.build(
            model, target="tensorrt-rtx", output=tmp_path / f"{count}.segrt", via=via,
            batch=BATCH, size=(ShapeProfile(4, 8, 16),) * count,
        )  # fmt: skip
        report = segrt.verify(package, network=True)
        assert report.ok, report.verdict
        sizes = [6, 8, 14][:count]
        x = np.random.default_rng(0).standard_normal((3, 2, *sizes)).astype("f4")
        assert segrt.verify(package, network=True, inputs={"x": x}).ok


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
