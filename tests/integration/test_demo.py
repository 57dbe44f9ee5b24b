"""The whole walk for real: the bundled Keras file, ONNX Runtime, and what Keras had recorded."""

import json

import numpy as np
import pytest
from PIL import Image

from segrt.cli import _app, _errors
from segrt.demo import walk


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    return walk.run(folder, target="onnxruntime", threads=1)


def test_every_layer_says_what_keras_said(done):
    assert done.ok, done.report.verdict
    assert "Keras 3" in done.report.reference
    whole = {row.name: row.whole for row in done.report.rows if row.whole is not None}
    dissolved = [row for row in done.report.rows if row.whole is None]
    assert len(whole) + len(dissolved) == 42
    assert {row.layer_class for row in dissolved} <= {"Concatenate"}
    assert all(row.status == "fused" and row.note for row in dissolved)
    assert max(metrics.relative_l2 for metrics in whole.values()) < 1e-5
    upsampling = [row for row in done.report.rows if row.layer_class == "UpSampling2D"]
    assert len(upsampling) == 3
    # Nearest upsampling adds nothing to the error of its input.
    assert [row.own.relative_l2 for row in upsampling if row.own is not None] == [0.0] * 3


def test_masks_agree_with_keras_and_the_truth(done):
    assert done.report.outputs[0].masks.agreement == 1.0
    assert len(done.scores) == 6
    assert all(score.iou > 0.85 for score in done.scores)
    assert sum(score.iou for score in done.scores) / 6 > 0.9


def test_pictures_are_there(done):
    with Image.open(done.sheet) as sheet:
        assert sheet.size[0] > 4 * 256
    for result in done.predicted.results:
        assert set(result.files) == {"mask", "overlay", "prob"}
        assert all(path.is_file() for path in result.files.values())


def test_a_damaged_weight_is_noticed(done, tmp_path):
    """The comparison can fail: a recording of another network does not hold."""
    source = walk.files("segrt.demo") / "data" / walk.RECORDING
    with source.open("rb") as stream, np.load(stream) as recorded:
        arrays = dict(recorded)
    arrays["layer/up1_conv1"] = arrays["layer/up1_conv1"] * np.float32(1.001)
    np.savez_compressed(tmp_path / "other.npz", **arrays)
    report = walk.api.verify(done.package, against=tmp_path / "other.npz")
    assert not report.ok
    assert report.first_over_budget is not None
    assert report.first_over_budget.name == "up1_conv1"


def test_the_command_line_walks_too(done, tmp_path, capsys):
    package = str(done.package.path)

    def segrt(*arguments):
        code = _errors.run(_app.group, [str(argument) for argument in arguments])
        return code, capsys.readouterr().out

    with walk.as_file(walk.files("segrt.demo") / "data") as data:
        model, recording = data / walk.MODEL, data / walk.RECORDING
        code, out = segrt("inspect", model, "--json", "--upsampling")
        described = json.loads(out)
        assert (code, described["parameters"]) == (0, 121_209)
        assert [plan["layer"] for plan in described["upsampling"]] == [
            "up2_upsample", "up1_upsample", "up0_upsample",
        ]  # fmt: skip
        code, out = segrt("inspect", model)
        assert code == 0
        assert "up0_upsample" in out
        code, out = segrt("convert", model, "-o", tmp_path / "unet.onnx", "--optimize")
        assert code == 0
        assert (tmp_path / "unet.onnx").stat().st_size > 400_000
        code, out = segrt("verify", package, "--against", recording, "--json", "-")
        assert code == 0
        assert json.loads(out)["ok"] is True
        code, out = segrt("predict", "-m", package, "-i", data / "images", "-o", tmp_path / "m")
        assert code == 0
        assert len(list((tmp_path / "m").iterdir())) == 6
        code, out = segrt("doctor", package)
        assert code == 0
        assert "self-test passed" in out
