"""Engines: reproducible, fast to build, with their layers traced back."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import segrt
from helpers.tensorrt_graphs import one_node, unet
from segrt.errors import (
    EngineError,
    UnavailableError,
    UnsupportedLayerError,
    UsageError,
)
from segrt.graph import metadata
from segrt.targets.trt._flavour import RTX
from segrt.targets.trt.engine import build_engine
from segrt.targets.trt.network import write_network
from segrt.targets.trt.parser import parse_network
from segrt.types import Precision

trt = pytest.importorskip(
    "tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install .[rtx]"
)

ROUTES = pytest.mark.parametrize("route", [write_network, parse_network])
# What the 31-million-parameter U-Net may take to write and build: time of the processor, since a
# busy machine makes wall-clock time meaningless.
MOST_SECONDS = 5.0

_IN_A_PROCESS_OF_ITS_OWN = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from helpers.tensorrt_graphs import unet
from segrt.targets.trt._flavour import RTX
from segrt.targets.trt.engine import build_engine
from segrt.targets.trt.network import write_network
plan = build_engine(write_network(RTX, unet((4, 8), side=16), "fp16"), "fp16").plan
print(hashlib.sha256(plan).hexdigest())
"""


@ROUTES
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16])
def test_two_plans_are_the_same_bytes(route, precision):
    model = unet((4, 8), side=16)
    first, second = (build_engine(route(RTX, model, precision), precision) for _ in range(2))
    assert first.plan == second.plan


def test_plans_of_two_processes_are_the_same_bytes():
    command = [sys.executable, "-c", _IN_A_PROCESS_OF_ITS_OWN, str(Path(__file__).parents[3])]
    hashes = {
        subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)
    }
    assert len(hashes) == 1


@ROUTES
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16])
def test_the_mission_size_builds_in_seconds(route, precision):
    model = unet((64, 128, 256, 512, 1024), side=256)
    weights_in_all = sum(value.const_value.size for value in model.graph.initializers.values())
    assert weights_in_all > 31_000_000
    start = time.process_time()
    engine = build_engine(route(RTX, model, precision), precision)
    assert time.process_time() - start < MOST_SECONDS
    assert engine.layers


def test_layers_of_the_engine_are_traced_back():
    engine = build_engine(write_network(RTX, unet((4, 8), side=16), Precision.FP16), Precision.FP16)
    by_node = {node: layer for layer in engine.layers for node in layer.nodes}
    for name in ("down0a", "down1b", "up0conv", "up0a"):
        # Bias and ReLU are fused into the convolution, which runs in half precision.
        assert by_node[f"{name}:conv"] == by_node[name]
        assert by_node[name].kind == "correlation"
        assert by_node[name].inputs[0].type == "Half"
        assert by_node[name].outputs[0].format.startswith("(NHWC)")
    assert "up0" in by_node
    # The skip is written where it is joined: no kernel does it.
    assert "join0" not in by_node
    assert engine.layers[0].inputs[0].name == "image"
    assert engine.layers[-1].outputs[0].shape == (1, 16, 16, 1)


def test_bf16_with_an_island_for_transposed_convolutions():
    # A transposed convolution in bf16 does not build; TensorRT may fuse the casts of the island.
    network = write_network(RTX, unet((4, 8), side=16, kind="transposed"), Precision.BF16)
    layers = [network.definition.get_layer(i) for i in range(network.definition.num_layers)]
    inside = {
        layer.type.name: layer.get_input(0).dtype.name for layer in layers if layer.num_inputs
    }
    assert inside["DECONVOLUTION"] == "FLOAT"
    assert inside["CONVOLUTION"] == "BF16"
    engine = build_engine(network, Precision.BF16)
    types = {layer.inputs[0].type for layer in engine.layers if layer.kind == "correlation"}
    assert types == {"BFloat16"}


def test_fp32_is_not_tf32():
    model = unet((4, 8), side=16)
    plans = {
        precision: build_engine(write_network(RTX, model, precision), precision).plan
        for precision in (Precision.FP32, Precision.TF32)
    }
    assert plans[Precision.FP32] != plans[Precision.TF32]


def test_a_weight_beyond_half_precision_is_refused():
    def fill(b, x):
        return b.op("Mul", [x, b.constant("huge", np.float32(1e6))], name="y")

    for route in (write_network, parse_network):
        with pytest.raises(EngineError, match="too large for fp16"):
            route(RTX, one_node(fill), Precision.FP16)


def test_all_operators_without_a_layer_are_listed():
    model = one_node(lambda b, x: b.op("Identity", [x], name="y"))
    for name in ("first", "second"):
        node = ir.Node("custom", "Mystery", [model.graph.inputs[0]], name=name, num_outputs=1)
        metadata.tag_node(node, f"keras_{name}", "Lambda")
        model.graph.append(node)
    for route in (write_network, parse_network):
        with pytest.raises(UnsupportedLayerError) as caught:
            route(RTX, model, Precision.FP32)
        assert [layer for layer, _ in caught.value.layers] == ["keras_first", "keras_second"]


def test_a_precision_that_cannot_be_written_is_a_usage_error():
    for route in (write_network, parse_network):
        with pytest.raises(UsageError, match="int8"):
            route(RTX, unet((4, 8), side=16), Precision.INT8)


def test_a_free_batch_needs_a_range():
    network = write_network(RTX, unet((4, 8), side=16, batch=None), Precision.FP32)
    with pytest.raises(UsageError, match="free sizes"):
        build_engine(network, Precision.FP32)


@pytest.fixture(name="package")
def a_package(tmp_path):
    return segrt.build(
        unet((4, 8), side=16, batch=None), target="tensorrt-rtx", output=tmp_path / "p.segrt",
        precision="fp16",
    )  # fmt: skip


def test_a_package_holds_engine_and_layers(package):
    manifest = package.manifest
    assert manifest.engine["version"] == trt.__version__
    assert manifest.options.batch == 1
    assert manifest.inputs[0].shape == (1, 16, 16, 1)
    assert {"engines/model.plan", "engines/model.layers.json"} <= set(manifest.files)
    kernels = json.loads((package.path / "engines/model.layers.json").read_text("utf-8"))
    rows = json.loads((package.path / "layers.json").read_text("utf-8"))
    by_name = {row["keras"]: row["engine"] for row in rows}
    assert len(by_name["down0b"]) == 1
    assert by_name["down0b"][0] in {kernel["name"] for kernel in kernels}


def test_a_package_cannot_be_opened_without_a_gpu(package):
    with pytest.raises(UnavailableError, match="tensorrt-rtx"):
        segrt.open_session(package)


def test_its_network_can_be_verified(package):
    report = segrt.verify(package, network=True)
    assert report.ok
    assert {row.name for row in report.rows} >= {"down0a", "up0", "join0", "mask"}


def test_only_tensorrt_packages_have_a_network(tmp_path):
    package = segrt.build(unet((4, 8), side=16), target="onnxruntime", output=tmp_path / "p.segrt")
    with pytest.raises(UsageError, match="no TensorRT network"):
        segrt.verify(package, network=True)


def test_only_tensorrt_has_routes(tmp_path):
    with pytest.raises(UsageError, match="routes"):
        segrt.build(unet((4, 8), side=16), target="onnxruntime", via="network")
    with pytest.raises(UsageError, match="unknown route"):
        segrt.build(unet((4, 8), side=16), target="tensorrt-rtx", via="uff")
