"""The whole walk from another exporter's ONNX file: build, verify, predict."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segrt

DATA = Path(__file__).parents[1] / "golden" / "data" / "foreign"
FILES = ("keras2_free__tf2onnx13", "keras3_free__keras_export", "torch__dynamo")
BOUND = 1e-5


def recorded(name: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(DATA / f"{name.split('__', maxsplit=1)[0]}.npz") as content:
        return content["x"], content["y"]


def distance(found: np.ndarray, wanted: np.ndarray) -> float:
    assert found.shape == wanted.shape
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


@pytest.mark.parametrize("name", FILES)
def test_from_onnx_to_masks(tmp_path, name):
    package = segrt.build(
        DATA / f"{name}.onnx", target="onnxruntime", output=tmp_path / "net.segrt", threads=1
    )
    x, y = recorded(name)
    with segrt.open_session(package, selftest=True) as session:
        outputs = session.run({session.inputs[0].name: x})
    assert distance(next(iter(outputs.values())), y) < BOUND
    report = segrt.verify(package, inputs={session.inputs[0].name: x})
    assert report.ok, report.verdict
    assert report.compared > 15
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)).save(
        tmp_path / "image.png"
    )
    done = segrt.predict(package, tmp_path / "image.png", tmp_path / "masks")
    assert done.failed == ()
    (mask,) = (tmp_path / "masks").glob("*.png")
    with Image.open(mask) as picture:
        assert picture.size == (70, 50)


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="TensorRT for RTX is not installed"
)
@pytest.mark.parametrize("name", FILES)
def test_the_tensorrt_network_says_the_same(tmp_path, name):
    height, width = (16, 24) if name.startswith("torch") else (32, 32)
    package = segrt.build(
        DATA / f"{name}.onnx",
        target="tensorrt-rtx",
        output=tmp_path / "net.segrt",
        size=(height, width),
    )
    x, _ = recorded(name)
    report = segrt.verify(package, network=True, inputs={segrt_input(package): x[:1]})
    assert report.ok, report.verdict


def segrt_input(package: segrt.Package) -> str:
    return str(package.imported().graph.inputs[0].name)
