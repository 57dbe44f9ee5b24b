"""Mixes with the CUDA engine, on either side, without a GPU: its pieces run on the emulated one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import segrt
from helpers.emulated_target import emulate
from helpers.mixed_nets import (
    REFUSED_BY_TENSORRT,
    refused_by_openvino,
    refused_by_tensorrt,
    too_large_for_half,
)
from helpers.tensorrt_graphs import unet
from segrt._optional import is_installed
from segrt.cli import _app, _errors
from segrt.errors import UnsupportedLayerError
from segrt.graph import metadata
from segrt.targets.cuda import Cuda, CudaSession
from segrt.targets.openvino import OpenVino

pytest.importorskip("cuda.core", reason="cuda-core is not installed")
GOLDENS = Path(__file__).resolve().parents[1] / "golden" / "data" / "keras-3.15"


@pytest.fixture(autouse=True, name="opened")
def _emulated(monkeypatch, tmp_path):
    opened = emulate(monkeypatch, tmp_path / "cache")
    yield opened
    assert all(gpu.closed for gpu in opened), "a session was left open"


@pytest.fixture
def openvino_refuses(monkeypatch):
    """Let OpenVINO refuse the nodes of one layer: it takes whatever the CUDA engine does."""

    def refuse(layer):
        takes = OpenVino.takes

        def table(self, model, options):
            return {
                node: "as the test says" if metadata.layer_of(node) == layer else why
                for node, why in takes(self, model, options).items()
            }

        monkeypatch.setattr(OpenVino, "takes", table)

    return refuse


def built(model, target, fallback, folder, **options):
    return segrt.build(
        model, target=target, fallback=fallback, threads=1, output=folder / "p.segrt", **options
    )


def run(package, images):
    with segrt.open_session(package, selftest=True) as session:
        return session.run({"image": images})["mask"]


def one_engine(model, images, folder):
    return run(segrt.build(model, target="onnxruntime", output=folder / "one.segrt"), images)


def test_the_masks_tell_something(tmp_path):
    for index, model in enumerate((refused_by_tensorrt(), unet((4, 8), side=16))):
        assert one_engine(model, images_of(1), tmp_path / str(index)).std() > 0.01


def images_of(count, side=16):
    return np.random.default_rng(count).random((count, side, side, 1), dtype=np.float32)


def targets(package):
    return [(piece.target, piece.taken) for piece in package.manifest.fallback.pieces]


def test_the_cuda_engine_with_a_cpu(tmp_path, opened):
    package = built(refused_by_tensorrt(), "cuda", "onnxruntime", tmp_path)
    assert targets(package) == [("cuda", True), ("onnxruntime", False), ("cuda", True)]
    mix = package.manifest.fallback
    assert [row.layer for row in mix.refused] == [REFUSED_BY_TENSORRT]
    # The skip of 4 channels of 16 x 16 goes to the host and comes back.
    assert mix.crossing_bytes == mix.bus_bytes == 2 * 4 * 16 * 16 * 4
    images = images_of(1)
    before = len(opened)
    found = run(package, images)
    assert len(opened) == before + 2
    expected = one_engine(refused_by_tensorrt(), images, tmp_path)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_it_is_verified_layer_by_layer(tmp_path):
    report = segrt.verify(built(refused_by_tensorrt(), "cuda", "cpu", tmp_path), threads=1)
    assert report.ok, report.verdict
    status = {row.name: row.status for row in report.rows}
    assert status[REFUSED_BY_TENSORRT] == "ok"
    assert set(status.values()) <= {"ok", "fused"}


def test_a_wrong_piece_does_not_verify(tmp_path, monkeypatch):
    package = built(refused_by_tensorrt(), "cuda", "cpu", tmp_path)
    infer = CudaSession._infer
    monkeypatch.setattr(
        CudaSession, "_infer", lambda self, arrays: [x * 1.01 for x in infer(self, arrays)]
    )
    assert not segrt.verify(package, threads=1).ok


def test_it_predicts_and_shows_its_engines(tmp_path, capsys):
    from PIL import Image

    package = built(refused_by_tensorrt(), "cuda", "cpu", tmp_path)
    pixels = np.random.default_rng(4).integers(0, 256, (16, 16), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    report = segrt.predict(package, tmp_path / "image.png", tmp_path / "masks", threads=1)
    assert [result.error for result in report.results] == [None]
    capsys.readouterr()
    assert _errors.run(_app.group, ["inspect", str(package.path), "--engine", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [piece["target"] for piece in found["pieces"]] == ["cuda", "cpu", "cuda"]


def test_the_cuda_engine_stands_in(tmp_path, openvino_refuses):
    openvino_refuses("down1a")
    package = built(unet((4, 8), side=16), "openvino", "cuda", tmp_path)
    assert ("cuda", False) in targets(package)
    images = images_of(1)
    expected = one_engine(unet((4, 8), side=16), images, tmp_path)
    np.testing.assert_allclose(run(package, images), expected, rtol=1e-4, atol=1e-6)
    report = segrt.verify(package, threads=1)
    assert report.ok, report.verdict


def test_it_stands_in_at_any_batch(tmp_path, openvino_refuses):
    openvino_refuses("down1a")
    package = built(unet((4, 8), side=16, batch=None), "openvino", "cuda", tmp_path)
    with segrt.open_session(package) as session:
        for count in (1, 3, 2):
            images = images_of(count)
            found = session.run({"image": images})["mask"]
            model = unet((4, 8), side=16, batch=None)
            expected = one_engine(model, images, tmp_path / f"{count}")
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_what_neither_takes_is_listed(tmp_path):
    with pytest.raises(UnsupportedLayerError, match="fallback 'cuda' refuses") as caught:
        built(refused_by_openvino(), "openvino", "cuda", tmp_path)
    assert ("zoom", "Resize") in caught.value.layers


def test_half_precision_goes_with_an_exact_fallback(tmp_path):
    package = built(refused_by_tensorrt(), "cuda", "onnxruntime", tmp_path, precision="fp16")
    images = images_of(1)
    found, expected = run(package, images), one_engine(refused_by_tensorrt(), images, tmp_path)
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert 1e-6 < error < 5e-3
    report = segrt.verify(package, threads=1)
    assert report.ok, report.verdict


def test_what_an_engine_refuses_only_in_company_falls_back(tmp_path, monkeypatch):
    """An engine may take every node alone, and refuse some where it is built."""
    builds = Cuda.build

    def late(self, models, options, folder):
        layers = {metadata.layer_of(node) for node in models[0].graph}
        refused = [(name, "Conv2D") for name in ("down1a", "up0a") if name in layers]
        if refused:
            raise UnsupportedLayerError("not in this company", refused[:1])
        return builds(self, models, options, folder)

    monkeypatch.setattr(Cuda, "build", late)
    with pytest.raises(UnsupportedLayerError, match=r"down1a .*not in this company") as caught:
        segrt.build(unet((4, 8), side=16), target="cuda")
    assert "--fallback cpu" in str(caught.value.hint)
    package = built(unet((4, 8), side=16), "cuda", "onnxruntime", tmp_path)
    mix = package.manifest.fallback
    assert {row.layer for row in mix.refused} == {"down1a", "up0a"}
    assert {row.why for row in mix.refused} == {"not in this company"}
    images = images_of(1)
    expected = one_engine(unet((4, 8), side=16), images, tmp_path)
    np.testing.assert_allclose(run(package, images), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["attention_unet_layer_norm", "transunet", "channels_first"])
def test_keras_models_with_layers_that_only_the_fallback_may_have(name, tmp_path):
    file = GOLDENS / f"{name}.keras"
    package = built(file, "cuda", "onnxruntime", tmp_path)
    with np.load(file.with_suffix(".npz")) as content:
        feeds = {k[6:]: x for k, x in content.items() if k.startswith("input/")}
        wanted = {k[7:]: x for k, x in content.items() if k.startswith("output/")}
    with segrt.open_session(package) as session:
        outputs = session.run(feeds)
    for key, array in wanted.items():
        error = np.linalg.norm(outputs[key] - array) / np.linalg.norm(array)
        assert error <= 1e-5, key
    assert segrt.verify(package, against=file.with_suffix(".npz"), threads=1).ok


@pytest.mark.skipif(not is_installed("tensorrt_rtx"), reason="TensorRT for RTX is not installed")
def test_tensorrt_with_the_cuda_engine_is_read_back(tmp_path):
    """TensorRT's own pieces need a GPU to run; what they compute is read back from the network."""
    model = too_large_for_half()
    package = built(model, "tensorrt-rtx", "cuda", tmp_path, precision="fp16")
    assert ("cuda", False) in targets(package)
    report = segrt.verify(package, network=True, threads=1)
    assert report.ok, report.verdict
