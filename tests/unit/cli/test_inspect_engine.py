"""`segrt inspect PACKAGE --engine`."""

from __future__ import annotations

import json

import pytest

import segrt as package_api
from helpers.tensorrt_graphs import unet
from segrt._optional import is_installed


def build(folder, target):
    return package_api.build(unet((4, 8), side=16), target=target, output=folder).path


@pytest.mark.skipif(not is_installed("tensorrt_rtx"), reason="TensorRT for RTX is not installed")
def test_each_layer_and_its_kernels(segrt, tmp_path):
    path = build(tmp_path / "p.segrt", "tensorrt-rtx")
    code, out, _ = segrt("inspect", path, "--engine")
    assert code == 0
    assert "down0b:conv" in out
    assert "written in place by" in out
    assert "0 move data only, inside the network" in out
    code, out, _ = segrt("inspect", path, "--engine", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["precision"] == "fp32"
    assert found["copies"] == found["wide"] == []
    assert {"down0a", "pool1", "join0", "mask"} <= {row["keras"] for row in found["rows"]}


def test_an_engine_without_a_table_says_so(segrt, tmp_path):
    path = build(tmp_path / "p.segrt", "onnxruntime")
    code, out, _ = segrt("inspect", path, "--engine")
    assert code == 0
    assert "does not list" in out
    code, out, _ = segrt("inspect", path, "--engine", "--json")
    assert code == 0
    assert json.loads(out)["kernels"] is None


def test_what_is_no_package_is_refused(segrt, tmp_path):
    code, _, err = segrt("inspect", tmp_path, "--engine")
    assert code == 3
    assert "no SegRT package" in err
