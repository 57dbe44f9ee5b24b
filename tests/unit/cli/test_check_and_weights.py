"""`segrt check` on the demo's network: the question the project began with."""

import json
from pathlib import Path

import onnx_ir as ir
import pytest

import segrt as package
from helpers.tensorrt_graphs import one_node

MODEL = Path(package.__file__).parent / "demo" / "data" / "cells_unet.h5"
GOLDENS = Path(__file__).parents[2] / "golden" / "data"


def test_tensorrt_5_1(segrt):
    code, out, err = segrt("check", MODEL, "--target", "tensorrt:5.1")
    assert code == 0
    for layer in ("up0_upsample", "up1_upsample", "up2_upsample"):
        assert layer in out
    assert "TRT-RESIZE-NEAREST" in out
    assert "39 supported, 3 rewritten" in out
    assert "down0_conv1" not in out
    assert "UFF" in err


def test_json_holds_every_layer(segrt):
    code, out, _ = segrt("check", MODEL, "--target", "jetpack:6.2", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["support"] == "supported"
    assert len(report["layers"]) == 42
    up = next(layer for layer in report["layers"] if layer["layer"] == "up0_upsample")
    assert up["rulings"][0]["rule"] == "TRT-RESIZE-NEAREST"
    assert up["rulings"][0]["source"]


@pytest.mark.parametrize(
    ("target", "level", "expected"),
    [
        ("tensorrt:5.1", "rewritten", 1),
        ("tensorrt:5.1", "plugin", 0),
        ("tensorrt:8.6", "rewritten", 0),
        ("cuda", "blocked", 0),
    ],
)
def test_fail_on(segrt, target, level, expected):
    assert segrt("check", MODEL, "--target", target, "--fail-on", level)[0] == expected


def test_fail_on_what_the_cuda_engine_refuses(segrt, tmp_path):
    model = one_node(lambda b, x: b.op("LRN", [x], name="y", size=3), (1, 4, 8, 8))
    ir.save(model, tmp_path / "responses.onnx")
    code, out, _ = segrt(
        "check", tmp_path / "responses.onnx", "--target", "cuda", "--fail-on", "blocked"
    )
    assert code == 1
    assert "LRN" in out


def test_the_cuda_engine_takes_volumes(segrt):
    volume = GOLDENS / "keras-3.15" / "volume_unet.keras"
    assert segrt("check", volume, "--target", "cuda", "--fail-on", "blocked")[0] == 0


def test_all_layers(segrt):
    code, out, _ = segrt("check", MODEL, "--target", "tensorrt:8.6", "--all")
    assert code == 0
    assert "IConvolutionLayer" in out
    assert "down0_norm" in out


def test_an_unknown_version_lists_those_known(segrt):
    code, _, err = segrt("check", MODEL, "--target", "tensorrt:8.9")
    assert code == 2
    assert "8.0-8.6" in err


def test_weights_are_listed(segrt):
    code, out, _ = segrt("inspect", MODEL, "--weights")
    assert code == 0
    assert "H W I O" in out
    assert "57 arrays" in out
    code, out, _ = segrt("inspect", MODEL, "--weights", "--json")
    assert code == 0
    assert len(json.loads(out)["arrays"]) == 57


def test_weights_are_exported(segrt, tmp_path):
    code, out, _ = segrt("convert", MODEL, "-o", tmp_path / "weights.safetensors")
    assert code == 0
    assert "57 arrays" in out
    assert (tmp_path / "weights.safetensors").stat().st_size > 480_000
