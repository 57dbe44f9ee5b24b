"""Files that are no models say what they are, and what to do with them."""

import gzip
import pickle
import zipfile

import pytest
from PIL import Image

import segrt
from helpers import keras_files as kf
from segrt.errors import ModelFileError, PackageError, UsageError


def _zip(path, *names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")


MADE = {
    "lfs": (
        lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\nsize 1\n"),
        "git lfs pull",
    ),
    "page": (lambda p: p.write_text("\n<!DOCTYPE html><html></html>"), "web page"),
    "empty": (lambda p: p.write_bytes(b""), "empty file"),
    "json": (lambda p: p.write_text('{"a": 1}'), "--architecture"),
    "picture": (lambda p: Image.new("L", (4, 4)).save(p, "PNG"), "segrt predict"),
    "photo": (lambda p: Image.new("L", (4, 4)).save(p, "JPEG"), "segrt predict"),
    "scan": (lambda p: Image.new("L", (4, 4)).save(p, "TIFF"), "segrt predict"),
    "pickle": (lambda p: p.write_bytes(pickle.dumps([1])), "torch.onnx.export"),
    "torch": (lambda p: _zip(p, "m/data.pkl", "m/version"), "torch.onnx.export"),
    "arrays": (lambda p: _zip(p, "meta.npy", "input/image.npy"), "--against"),
    "packed": (lambda p: _zip(p, "folder/unet.h5"), "unpack it"),
    "gzip": (lambda p: p.write_bytes(gzip.compress(b"x")), "unpack it"),
    "lite": (lambda p: p.write_bytes(b"\x1c\0\0\0TFL3" + bytes(64)), "TensorFlow Lite"),
    "other": (lambda p: p.write_bytes(b"something else entirely"), "model.save("),
}


@pytest.mark.parametrize("kind", MADE)
def test_a_file_of_another_kind_is_named(tmp_path, kind):
    make, said = MADE[kind]
    path = tmp_path / "unet.h5"
    make(path)
    with pytest.raises(ModelFileError) as caught:
        segrt.load(path)
    assert said in str(caught.value)
    assert path.name in str(caught.value)


def test_a_package_is_no_model_and_a_model_no_package(tmp_path):
    model = kf.write_h5(tmp_path / "unet.h5")
    package = segrt.build(model, target="onnxruntime", output=tmp_path / "p.segrt")
    with pytest.raises(ModelFileError, match="is a package") as caught:
        segrt.load(package.path)
    assert "segrt predict" in str(caught.value)
    with pytest.raises(PackageError) as refused:
        segrt.open_session(model)
    assert f"segrt build {model} -o {tmp_path / 'unet.segrt'}" in str(refused.value)


@pytest.mark.parametrize("given", [{"outputs": ["a:0"]}, {"inputs": ["a:0"]}])
@pytest.mark.parametrize("name", ["unet.h5", "unet.keras"])
def test_tensors_are_for_frozen_graphs(tmp_path, name, given):
    writer = kf.write_h5 if name.endswith("h5") else kf.write_archive
    model = writer(tmp_path / name)
    with pytest.raises(UsageError, match="its own inputs and outputs"):
        segrt.load(model, **given)
