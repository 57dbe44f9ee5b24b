"""Nothing that was read is written over, and no device is replaced."""

import errno
import json
import os

import pytest

import segrt
from helpers import keras_files as kf
from segrt._outputs import check_output, check_report, write_text
from segrt.errors import UsageError
from segrt.targets import _package


@pytest.fixture
def model(tmp_path):
    return kf.write_h5(tmp_path / "unet.h5")


@pytest.mark.parametrize("name", ["unet.h5", "./unet.h5", "link.h5"])
def test_convert_never_writes_over_its_model(model, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.h5").symlink_to(model)
    before = model.read_bytes()
    with pytest.raises(UsageError, match="written over"):
        segrt.convert(model, name)
    assert model.read_bytes() == before


def test_record_never_writes_over_its_model(model):
    before = model.read_bytes()
    with pytest.raises(UsageError, match="written over"):
        segrt.record(model, output=model, images=["a.png"])
    assert model.read_bytes() == before


@pytest.mark.parametrize("name", ["unet.keras", "unet.engine", "unet.pb"])
def test_onnx_is_not_written_under_another_formats_name(model, tmp_path, name):
    with pytest.raises(UsageError, match=r"\.onnx"):
        segrt.convert(model, tmp_path / name)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["pipe.onnx", "pipe.h5", "pipe.safetensors"])
def test_a_special_file_is_not_replaced(model, tmp_path, name):
    pipe = tmp_path / name
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="device or pipe"):
        segrt.convert(model, pipe)
    assert pipe.is_fifo()


def test_what_is_free_or_another_file_is_taken(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("1")
    check_output(other, one, None)
    other.write_text("2")
    check_output(other, one, tmp_path / "missing")
    with pytest.raises(UsageError, match="written over"):
        check_output(one, None, one)
    with pytest.raises(UsageError, match="cannot be written"):
        check_output(tmp_path)


def test_a_report_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("x")
    check_report(tmp_path / "new" / "report.json")
    assert (tmp_path / "new").is_dir()
    with pytest.raises(UsageError, match="cannot be written"):
        check_report(tmp_path / "file" / "report.json")
    with pytest.raises(UsageError, match="written over"):
        check_report(tmp_path / "file", tmp_path / "file")


def test_text_that_cannot_be_written_names_its_file(tmp_path):
    write_text(tmp_path / "a" / "b", "text\n")
    assert (tmp_path / "a" / "b").read_text() == "text\n"
    with pytest.raises(UsageError, match=r"a/b/c cannot be written"):
        write_text(tmp_path / "a" / "b" / "c", "text")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_the_old_package(model, tmp_path, monkeypatch, number):
    folder = tmp_path / "p.segrt"
    segrt.build(model, target="onnxruntime", output=folder)
    before = json.loads((folder / "manifest.json").read_text())

    def full(_path):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(_package, "hash_file", full)
    with pytest.raises(UsageError, match="cannot write") as caught:
        segrt.build(model, target="onnxruntime", output=folder)
    assert "make room" in str(caught.value)
    assert json.loads((folder / "manifest.json").read_text()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.segrt", "unet.h5"]
