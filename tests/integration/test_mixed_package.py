"""Packages of two engines that both run on a CPU: built, opened, verified, predicted, guarded."""

import json

import numpy as np
import pytest

import segrt
from helpers.mixed_nets import REFUSED_BY_OPENVINO, refused_by_openvino, refused_by_tensorrt
from helpers.tensorrt_graphs import unet
from segrt.cli import _app, _errors
from segrt.errors import PackageError, UnsupportedLayerError, UsageError
from segrt.targets._build import find_target
from segrt.targets._manifest import Manifest
from segrt.types import BuildOptions


@pytest.fixture(scope="module", name="package")
def a_package(tmp_path_factory):
    return segrt.build(
        refused_by_openvino(batch=None), target="openvino", fallback="onnxruntime", threads=1,
        output=tmp_path_factory.mktemp("mix") / "p.segrt",
    )  # fmt: skip


def test_it_says_which_layers_run_where_and_what_that_costs(package):
    mix = package.manifest.fallback
    assert [(piece.target, piece.taken) for piece in mix.pieces] == [
        ("openvino", True), ("onnxruntime", False), ("openvino", True),
    ]  # fmt: skip
    assert [row.layer for row in mix.refused] == [REFUSED_BY_OPENVINO]
    assert "tf_crop_and_resize" in mix.refused[0].why
    # 8 channels of 8 x 8 in fp32 there and back, and the skip of 4 channels of 16 x 16.
    assert mix.crossing_bytes == 2 * 8 * 8 * 8 * 4 + 4 * 16 * 16 * 4
    assert mix.crossings == 3
    assert mix.bus_bytes == 0
    assert 0 < mix.fallback_ms < mix.total_ms
    assert any("% of the time" in remark for remark in package.manifest.remarks)


def test_the_manifest_survives_reading_and_writing(package):
    text = (package.path / "manifest.json").read_text("utf-8")
    manifest = Manifest.from_json(text)
    assert manifest == package.manifest
    assert manifest.to_json() == text
    assert manifest.options.fallback == "onnxruntime"


def test_it_computes_what_one_engine_does(package, tmp_path):
    plain = segrt.build(
        refused_by_openvino(batch=None), target="onnxruntime", output=tmp_path / "o.segrt",
        threads=1,
    )  # fmt: skip
    images = np.random.default_rng(3).random((3, 16, 16, 1), dtype=np.float32)
    with segrt.open_session(package, selftest=True) as mixed, segrt.open_session(plain) as one:
        found, expected = (session.run({"image": images}) for session in (mixed, one))
    np.testing.assert_allclose(found["mask"], expected["mask"], rtol=1e-4, atol=1e-6)


def test_it_is_verified_like_any_other(package):
    report = segrt.verify(package, threads=1)
    assert report.ok, report.verdict
    status = {row.name: row.status for row in report.rows}
    assert status[REFUSED_BY_OPENVINO] == "ok"
    assert set(status.values()) <= {"ok", "fused"}


def test_it_predicts(package, tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(4).integers(0, 256, (16, 16), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    report = segrt.predict(package, tmp_path / "image.png", tmp_path / "masks", threads=1)
    assert [result.error for result in report.results] == [None]


def test_without_a_fallback_the_error_says_what_to_do():
    with pytest.raises(UnsupportedLayerError) as caught:
        segrt.build(refused_by_openvino(), target="openvino", threads=1)
    assert caught.value.layers == [(REFUSED_BY_OPENVINO, "Resize")]
    assert "tf_crop_and_resize" in caught.value.message
    assert "--fallback cpu" in str(caught.value.hint)


def test_a_target_is_no_fallback_of_its_own():
    with pytest.raises(UsageError, match="own fallback"):
        segrt.build(unet((4, 8), side=16), target="openvino", fallback="openvino")
    with pytest.raises(UsageError, match="unknown target"):
        segrt.build(unet((4, 8), side=16), target="openvino", fallback="abacus")


@pytest.mark.parametrize("name", ["engines/0/model.onnx", "engines/1/model.onnx"])
def test_a_changed_piece_is_refused(package, tmp_path, name):
    import shutil

    copy = tmp_path / "copy.segrt"
    shutil.copytree(package.path, copy)
    data = bytearray((copy / name).read_bytes())
    data[-1] ^= 1
    (copy / name).write_bytes(bytes(data))
    with pytest.raises(PackageError, match="does not match its manifest"):
        segrt.open_session(copy)
    (copy / name).unlink()
    with pytest.raises(PackageError, match="missing"):
        segrt.open_session(copy)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda mix: mix["pieces"][1].update(folder="engines/../engines/0"), "not in the package"),
        (lambda mix: mix["pieces"].reverse(), "not in the package"),
        (lambda mix: mix["pieces"][1].update(inputs=["image"]), "not the piece"),
        (lambda mix: mix.update(target="abacus"), "unknown target"),
        (lambda mix: mix["pieces"][0].update(taken=1), "is no bool"),
        (lambda mix: mix.pop("refused"), "refused"),
    ],
)
def test_a_manifest_that_lies_about_its_pieces_is_refused(package, tmp_path, change, problem):
    import shutil

    copy = tmp_path / "copy.segrt"
    shutil.copytree(package.path, copy)
    value = json.loads((copy / "manifest.json").read_text("utf-8"))
    change(value["fallback"])
    (copy / "manifest.json").write_text(json.dumps(value), "utf-8")
    with pytest.raises((PackageError, UsageError)) as caught:
        segrt.open_session(copy)
    assert problem in str(caught.value)


def test_the_command_line_says_it_loudly(tmp_path, capsys):
    package = segrt.build(
        refused_by_openvino(), target="openvino", fallback="cpu", threads=1,
        output=tmp_path / "p.segrt",
    ).path  # fmt: skip
    capsys.readouterr()
    assert _errors.run(_app.group, ["inspect", str(package), "--engine"]) == 0
    out = capsys.readouterr().out
    assert f"1 layer runs on cpu in fp32, not on 'openvino': {REFUSED_BY_OPENVINO}" in " ".join(
        out.split()
    )
    assert "engines/1" in out
    assert _errors.run(_app.group, ["inspect", str(package), "--engine", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [piece["target"] for piece in found["pieces"]] == ["openvino", "cpu", "openvino"]


def test_the_cuda_engine_names_the_nodes_it_has_nothing_for():
    pytest.importorskip("cuda.core", reason="cuda-core is not installed")
    model = refused_by_tensorrt()
    table = find_target("cuda").takes(model, BuildOptions())
    assert [node.name for node, why in table.items() if why is not None] == ["norm"]
    free = refused_by_tensorrt(batch=None)
    table = find_target("cuda").takes(free, BuildOptions())
    assert [node.name for node, why in table.items() if why is not None] == ["norm"]
