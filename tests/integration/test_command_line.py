"""The command line from a Keras file to masks: exit codes, messages, JSON."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from helpers.goldens import DATA
from helpers.keras_files import input_layer, layer, model_config, write_h5
from segrt.cli import _app, _errors

DEMO = Path(str(files("segrt.demo"))) / "data"
MODEL = DATA / "keras-3.15" / "unet_nearest.h5"
RECORDING = MODEL.with_suffix(".npz")


@pytest.fixture
def segrt(capsys):
    """Run the command line; returns (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = _errors.run(_app.group, [str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A package built by the command line."""
    folder = tmp_path_factory.mktemp("a folder with spaces") / "unet.segrt"
    arguments = ["build", MODEL, "-o", folder, "--target", "onnxruntime", "--threads", 1]
    assert _errors.run(_app.group, [str(argument) for argument in arguments]) == 0
    return folder


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_build_and_verify(segrt, tmp_path, target):
    if target == "openvino":
        pytest.importorskip("openvino")
    folder = tmp_path / "unet.segrt"
    built = segrt("build", MODEL, "-o", folder, "--target", target, "--threads", 1)
    assert built[0] == 0, built
    assert target in built[1]
    report = tmp_path / "report.json"
    code, out, err = segrt("verify", folder, "--against", RECORDING, "--json", report)
    assert (code, err) == (0, "")
    found = json.loads(report.read_text())
    assert found["ok"]
    assert "Keras 3.15" in found["reference"]
    assert found["outputs"][0]["masks"]["agreement"] == 1.0
    assert found["verdict"] in " ".join(out.split())


def test_weights_only_with_their_architecture(segrt, tmp_path):
    weights = MODEL.with_name("unet_nearest.weights.h5")
    options = ("--architecture", MODEL.with_name("unet_nearest.json"))
    assert segrt("convert", weights, *options, "-o", tmp_path / "a.onnx")[0] == 0
    assert segrt("convert", MODEL, "-o", tmp_path / "b.onnx")[0] == 0
    a, b = (onnx.load(tmp_path / f"{name}.onnx").graph for name in "ab")
    assert a.SerializeToString(deterministic=True) == b.SerializeToString(deterministic=True)
    code, _, err = segrt("convert", weights, "-o", tmp_path / "c.onnx")
    assert code == 2
    assert "--architecture" in err or "architecture" in err
    assert not (tmp_path / "c.onnx").exists()


def test_a_recording_of_another_input_does_not_hold(segrt, package, tmp_path):
    with np.load(RECORDING) as content:
        arrays = dict(content)
    last = next(name for name in arrays if name.startswith("output/"))
    arrays[last] = 1 - arrays[last]
    np.savez(tmp_path / "inverted.npz", **arrays)
    code, out, err = segrt("verify", package, "--against", tmp_path / "inverted.npz", "--json", "-")
    assert (code, err) == (1, "")
    assert json.loads(out)["ok"] is False


def test_predict_finishes_the_other_images(segrt, package, tmp_path):
    # So deep that a line with the path is wider than any terminal; it must stay in one piece.
    images = tmp_path / ("deep" * 20) / ("deeper" * 20) / "images"
    images.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    Image.fromarray(pixels).save(images / "good.png")
    (images / "bad.png").write_bytes(b"\x89PNG no more")
    code, out, err = segrt("predict", "-m", package, "-i", images, "-o", tmp_path / "masks")
    assert code == 1
    assert "1 of 2 images" in out
    assert str(images / "bad.png") in err
    with Image.open(tmp_path / "masks" / "good.png") as mask:
        assert mask.size == (30, 20)


def test_wrong_usage_is_2(segrt, tmp_path):
    for arguments in (
        ("build", tmp_path / "none.h5", "-o", tmp_path / "p"),
        ("build", MODEL, "-o", tmp_path / "p", "--target", "toaster"),
        ("build", MODEL, "-o", tmp_path / "p", "--upsampling", "magic"),
        ("nonsense",),
    ):
        code, out, err = segrt(*arguments)
        assert (code, out) == (2, "")
        assert "Error" in err
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_trusted_is_3(segrt, package, tmp_path):
    code_layer = layer("Lambda", "evil", {"function": ["", None, None]}, ["image"])
    own_layer = layer("OwnLayer", "mine", {}, ["evil"])
    config = model_config([input_layer(), code_layer, own_layer], outputs=("mine",))
    foreign = write_h5(tmp_path / "foreign.h5", config, {})
    (tmp_path / "noise.h5").write_bytes(b"no model" * 99)
    changed = tmp_path / "changed.segrt"
    shutil.copytree(package, changed)
    with (changed / "model.onnx").open("ab") as stream:
        stream.write(b"\0")
    for arguments, words in (
        (("inspect", foreign), ("evil", "Lambda", "mine", "OwnLayer")),
        (("build", tmp_path / "noise.h5", "-o", tmp_path / "p"), ("noise.h5",)),
        (("verify", changed), ("model.onnx",)),
        (("predict", "-m", changed, "-i", DEMO / "images", "-o", tmp_path / "m"), ("model.onnx",)),
    ):
        code, out, err = segrt(*arguments)
        assert (code, out) == (3, "")
        assert all(word in err for word in words), err
        assert "Traceback" not in err
    assert not (tmp_path / "p").exists()


def test_the_installed_command_walks_the_demo(tmp_path):
    """In a process of its own, without Keras, to the masks."""
    code = "from segrt.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, "demo", "-o", "out", "--target", "onnxruntime",
         "--threads", "1"],
        capture_output=True, text=True, encoding="utf-8", check=False, timeout=900, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "holds" in done.stdout
    assert len(list((tmp_path / "out" / "masks").glob("*.png"))) >= 6
    failed = subprocess.run(
        [sys.executable, "-c", code, "verify", "nowhere.segrt"],
        capture_output=True, text=True, encoding="utf-8", check=False, timeout=900, cwd=tmp_path,
    )  # fmt: skip
    assert failed.returncode == 2
    assert "nowhere.segrt" in failed.stderr


def test_ranges_pixels_and_masks(segrt, tmp_path):
    images = DEMO / "images"
    folder = tmp_path / "cells.segrt"
    code, out, err = segrt(
        "build", DEMO / "cells_unet.h5", "-o", folder, "--target", "onnxruntime", "--threads", 1,
        "--batch", "1:2:4", "--size", "64:128:256", "--input", "uint8", "--head", "mask:0.5",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "1..4 x 64..256 x 64..256" in out
    assert "uint8" in out
    code, out, _ = segrt("verify", folder, "--images", images, "--threads", 1)
    assert code == 0, out
    code, _, err = segrt("predict", "-m", folder, "-i", images, "-o", tmp_path / "masks", "-q")
    assert (code, err) == (0, "")
    masks = list((tmp_path / "masks").glob("*.png"))
    assert len(masks) == len(list(images.iterdir()))
    assert {int(v) for mask in masks for v in np.unique(np.asarray(Image.open(mask)))} == {0, 255}


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--size", "60:120:256", "multiples of 8"), ("--size", "256:128:64", "from the smallest"),
        ("--batch", "1:2", "three sizes"), ("--head", "masks", "mask:0.35"),
        ("--input", "uint16", "uint8"),
    ],
)  # fmt: skip
def test_wrong_ranges_and_ends_are_usage_errors(segrt, tmp_path, option, value, said):
    model = DEMO / "cells_unet.h5"
    code, _, err = segrt(
        "build", model, "-o", tmp_path / "p", "--target", "onnxruntime", option, value
    )
    assert code == 2
    assert said in err
    assert not (tmp_path / "p").exists()
