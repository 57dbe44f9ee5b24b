"""TensorRT for RTX with another engine for what it refuses: built for real, verified by network."""

from __future__ import annotations

import json

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

import segrt
from helpers.mixed_nets import (
    REFUSED_BY_OPENVINO,
    REFUSED_BY_TENSORRT,
    refused_by_openvino,
    refused_by_tensorrt,
    too_large_for_half,
)
from helpers.tensorrt_graphs import one_node, unet, weights
from segrt.errors import PackageError, UnavailableError, UnsupportedLayerError
from segrt.graph import metadata
from segrt.graph.specs import input_specs
from segrt.targets._build import find_target
from segrt.types import BuildOptions, Precision, ShapeProfile

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install .[rtx]")


def refused(model, **options):
    table = find_target("tensorrt-rtx").takes(model, BuildOptions(**options))
    assert list(table) == list(model.graph)
    return {node.name: why for node, why in table.items() if why is not None}


def several():
    """Refused for three reasons: no such layer, no such setting, no such number in fp16."""

    def fill(b, x):
        y = b.op("Conv", [x, b.constant("k", weights(4, 4, 3, 3))], name="first", pads=[1] * 4)
        y = b.op("LRN", [y], name="norm", size=3)
        y = b.op("Mul", [y, b.constant("huge", np.float32(1e6))], name="grow")
        half = b.constant("half", np.array([1, 1, 0.5, 0.5], "f4"))
        y = b.op("Resize", [y, None, half], name="small", mode="linear", antialias=1)
        return b.op("Conv", [y, b.constant("l", weights(4, 4, 3, 3))], name="y", pads=[1] * 4)

    return one_node(fill)


def test_the_survey_finds_all_that_is_refused_and_why():
    found = refused(several())
    assert set(found) == {"norm", "small"}
    assert "LRN" in found["norm"]
    assert "antialias" in found["small"]
    assert set(refused(several(), precision=Precision.FP16)) == {"norm", "small", "grow"}
    assert refused(unet((4, 8), side=16), precision=Precision.BF16) == {}


def test_a_sound_layer_is_not_blamed_for_the_one_before():
    def fill(b, x):
        b.op("Conv", [x, b.constant("k", weights(4, 4, 3, 3))], name="bad")
        b.op("Relu", [x], name="sound")
        return b.op("Sigmoid", [x], name="y")

    model = one_node(fill)
    model.graph.initializers["k"].const_value = ir.Tensor(weights(4, 5, 3, 3), name="k")
    found = refused(model)
    assert list(found) == ["bad"]
    assert "weights" in found["bad"]


def test_the_parser_answers_for_itself():
    found = refused(several(), via="onnx-parser")
    # It has a layer for LRN; ours has not.
    assert set(found) == {"small"}
    assert "ntialias" in found["small"]
    assert set(refused(several(), via="onnx-parser", precision=Precision.FP32)) == {"small"}


@pytest.mark.parametrize("via", ["network", "onnx-parser"])
def test_operators_that_could_end_the_process_never_reach_the_parser(via):
    model = one_node(lambda b, x: b.op("Relu", [x], name="y"))
    bad = ir.Node("", "MyelinWeightsTransformPlugin", [model.graph.inputs[0]], name="bad")
    bad.outputs[0].name, bad.outputs[0].shape = "bad", ir.Shape([1, 4, 16, 16])
    bad.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    model.graph.append(bad)
    assert set(refused(model, via=via)) == {"bad"}


def test_without_a_fallback_all_refused_layers_are_listed():
    with pytest.raises(UnsupportedLayerError) as caught:
        segrt.build(several(), target="tensorrt-rtx")
    assert caught.value.layers == [("keras_norm", "LRN"), ("keras_small", "Resize")]
    assert "antialias" in caught.value.message
    assert "--fallback cpu" in str(caught.value.hint)


@pytest.fixture(name="package")
def a_package(tmp_path):
    return segrt.build(
        refused_by_tensorrt(batch=None), target="tensorrt-rtx", fallback="cpu", precision="fp16",
        output=tmp_path / "p.segrt", threads=1,
    )  # fmt: skip


def test_each_piece_has_its_engine_and_is_noted(package):
    mix = package.manifest.fallback
    assert [piece.taken for piece in mix.pieces] == [True, False, True]
    assert [row.layer for row in mix.refused] == [REFUSED_BY_TENSORRT]
    assert mix.pieces[1].layers == (REFUSED_BY_TENSORRT,)
    for number in (0, 2):
        assert f"engines/{number}/engines/model.plan" in package.manifest.files
    # The skip, 4 channels of 16 x 16 fp32, goes out and comes back; so does the way around below.
    skip = 4 * 16 * 16 * 4
    assert mix.crossings == 2
    assert mix.crossing_bytes == mix.bus_bytes == 2 * skip
    assert mix.fallback_ms is None
    told = "\n".join(package.manifest.remarks)
    assert f"1 layer runs on cpu in fp32, not on 'tensorrt-rtx': {REFUSED_BY_TENSORRT}" in told
    assert "LRN has no TensorRT layer here" in told
    assert "time was not measured" in told


def test_layers_are_mapped_to_pieces_and_kernels(package):
    rows = json.loads((package.path / "layers.json").read_text("utf-8"))
    by_name = {row["keras"]: row for row in rows}
    assert by_name[REFUSED_BY_TENSORRT]["pieces"] == ["engines/1: cpu"]
    assert by_name["down0b"]["pieces"] == ["engines/0: tensorrt-rtx"]
    assert by_name["mask"]["pieces"] == ["engines/2: tensorrt-rtx"]
    assert all(name.startswith("0:") for name in by_name["down0b"]["engine"])
    assert by_name["down0b"]["engine"]


def test_the_whole_is_verified_layer_by_layer(package):
    report = segrt.verify(package, network=True)
    assert report.ok, report.verdict
    names = {row.name for row in report.rows}
    assert names >= {"down0a", "down0b", REFUSED_BY_TENSORRT, "up0", "join0", "mask"}
    assert {row.status for row in report.rows} <= {"ok", "fused"}


def test_a_piece_that_computes_something_else_is_found(package):
    path = package.path / "engines/1/model.onnx"
    model = ir.load(path)
    model.graph[0].attributes["alpha"] = ir.AttrFloat32("alpha", 5.0)
    ir.save(model, path)
    # The package's own hashes find it first ...
    with pytest.raises(PackageError, match="does not match its manifest"):
        segrt.verify(package, network=True)
    # ... and with those forged, the comparison does.
    _forge(package, "engines/1/model.onnx")
    report = segrt.verify(package, network=True)
    assert not report.ok
    bad = {row.name for row in report.rows if row.status == "wrong"}
    assert bad == {REFUSED_BY_TENSORRT}


def _forge(package, name):
    from segrt.targets._package import hash_file

    entry = hash_file(package.path / name)
    path = package.path / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    manifest["files"][name] = {"sha256": entry.sha256, "bytes": entry.bytes}
    path.write_text(json.dumps(manifest), "utf-8")


def test_it_cannot_be_opened_without_a_gpu(package):
    with pytest.raises(UnavailableError, match="tensorrt-rtx"):
        segrt.open_session(package)


def test_custom_operations_run_on_the_fallback(tmp_path):
    package = segrt.build(
        unet((4, 8), side=16), target="tensorrt-rtx", fallback="cpu", upsampling="plugin",
        output=tmp_path / "p.segrt", threads=1,
    )  # fmt: skip
    (row,) = package.manifest.fallback.refused
    assert (row.layer, row.why) == ("up0", "TensorRT for RTX has no plugins")
    report = segrt.verify(package, network=True)
    assert report.ok, report.verdict
    assert {row.name: row.status for row in report.rows}["up0"] == "ok"


def test_what_half_precision_cannot_hold_runs_in_single(tmp_path):
    package = segrt.build(
        too_large_for_half(), target="tensorrt-rtx", fallback="onnxruntime", precision="fp16",
        output=tmp_path / "p.segrt", threads=1,
    )  # fmt: skip
    mix = package.manifest.fallback
    assert [row.layer for row in mix.refused] == ["grow"]
    assert "too large for fp16" in mix.refused[0].why
    report = segrt.verify(package, network=True)
    assert report.ok, report.verdict


def test_what_the_fallback_refuses_too_is_listed(tmp_path):
    with pytest.raises(UnsupportedLayerError, match="fallback 'openvino' refuses 1") as caught:
        segrt.build(
            refused_by_openvino(), target="tensorrt-rtx", fallback="openvino", threads=1,
            output=tmp_path / "p.segrt",
        )  # fmt: skip
    assert caught.value.layers == [(REFUSED_BY_OPENVINO, "Resize")]
    assert not (tmp_path / "p.segrt").exists()


def test_the_parsers_route_has_a_fallback_too(tmp_path):
    def fill(b, x):
        y = b.op("Conv", [x, b.constant("k", weights(4, 4, 3, 3))], name="first", pads=[1] * 4)
        half = b.constant("half", np.array([1, 1, 0.5, 0.5], "f4"))
        y = b.op("Resize", [y, None, half], name="small", mode="linear", antialias=1)
        return b.op("Conv", [y, b.constant("l", weights(4, 4, 3, 3))], name="y", pads=[1] * 4)

    model = one_node(fill)
    for node in model.graph:
        metadata.tag_value(node.outputs[0], metadata.layer_of(node), None)
    package = segrt.build(
        model, target="tensorrt-rtx", fallback="onnxruntime", via="onnx-parser",
        output=tmp_path / "p.segrt", threads=1,
    )  # fmt: skip
    (row,) = package.manifest.fallback.refused
    assert (row.layer, row.node) == ("keras_small", "small")
    assert "TensorRT's parser" in row.why
    report = segrt.verify(package, network=True)
    assert report.ok, report.verdict


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize(
    "window",
    [
        {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1},
        {"kernel_shape": [2, 2], "dilations": [2, 2], "auto_pad": "SAME_UPPER"},
        {"kernel_shape": [2, 2], "strides": [1, 1], "pads": [0, 0, 1, 1]},
    ],
    ids=["same", "ceil", "gaps", "behind"],
)
@pytest.mark.parametrize("fallback", ["onnxruntime", "openvino"])
def test_pools_keep_their_sizes_on_both_sides_of_a_cut(tmp_path, window, size, fallback):
    weight = numpy_helper.from_array(weights(4, 4, 3, 3), "k")
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["a"], name="first", pads=[1] * 4),
        helper.make_node("MaxPool", ["a"], ["b"], name="pool", **window),
        helper.make_node("Resize", ["b", "", "h"], ["c"], name="small", mode="linear", antialias=1),
        helper.make_node("MaxPool", ["a"], ["d"], name="other", **window),
        helper.make_node("Relu", ["c"], ["e"], name="last"),
        helper.make_node("Relu", ["d"], ["y"], name="whole"),
    ]
    half = numpy_helper.from_array(np.array([1, 1, 0.5, 0.5], "f4"), "h")
    ends = [helper.make_tensor_value_info("x", 1, [1, 4, size, size])]
    outs = [helper.make_tensor_value_info(name, 1, None) for name in "ey"]
    graph = helper.make_graph(nodes, "net", ends, outs, initializer=[weight, half])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    package = segrt.build(
        path, target="tensorrt-rtx", fallback=fallback, via="onnx-parser", threads=1,
        output=tmp_path / "p.segrt",
    )  # fmt: skip
    assert [row.node for row in package.manifest.fallback.refused] == ["small"]
    report = segrt.verify(package, network=True)
    assert report.ok, report.verdict
    step = window.get("strides", [1])[0]
    (whole,) = [spec for spec in package.manifest.outputs if spec.name == "y"]
    assert whole.shape == (1, 4, -(-size // step), -(-size // step))


def test_ranges_of_sizes_reach_the_pieces(tmp_path):
    batch = ShapeProfile(1, 2, 4)
    package = segrt.build(
        refused_by_tensorrt(batch=None), target="tensorrt-rtx", fallback="cpu", batch=batch,
        output=tmp_path / "p.segrt", threads=1,
    )  # fmt: skip
    for piece in package.manifest.fallback.pieces:
        for spec in input_specs(package.piece(piece.folder)):
            assert spec.ranges[0] == batch, (piece.folder, spec)
    report = segrt.verify(package, network=True)
    assert report.ok, report.verdict


def test_a_network_that_is_taken_whole_has_one_engine(tmp_path):
    package = segrt.build(
        unet((4, 8), side=16), target="tensorrt-rtx", fallback="cpu", output=tmp_path / "p.segrt"
    )
    assert package.manifest.fallback is None
    assert package.manifest.options.fallback == "cpu"
    assert "engines/model.plan" in package.manifest.files
