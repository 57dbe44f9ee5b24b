"""The guides' code runs as it is printed."""

import importlib.util
import re

import numpy as np
import pytest
from PIL import Image

import segrt
from helpers.mixed_nets import REFUSED_BY_OPENVINO, refused_by_openvino
from helpers.tensorrt_graphs import unet
from policy._source import ROOT
from segrt.importers.layers._base import REGISTRY

BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(guide):
    found = BLOCK.findall((ROOT / "docs" / "guides" / guide).read_text("utf-8"))
    assert found, f"{guide} shows no code"
    return found


def module_of(code, name, folder, **given):
    path = folder / f"{name}.py"
    path.write_text(code, "utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    vars(module).update(given)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def _registry_restored(monkeypatch):
    REGISTRY.load()
    monkeypatch.setattr(REGISTRY, "_entries", dict(REGISTRY._entries))


@pytest.mark.usefixtures("_registry_restored")
def test_add_a_layer(tmp_path):
    converter, proof = blocks("add_a_layer.md")
    assert REGISTRY.find("Snake") is None
    module_of(converter, "guide_snake", tmp_path)
    test = module_of(proof, "guide_snake_proof", tmp_path)
    assert REGISTRY.find("Snake") is not None
    test.test_snake()
    # The guide's own test can fail.
    with pytest.raises(AssertionError):
        module_of(proof.replace("** 2", "** 3"), "guide_snake_wrong", tmp_path).test_snake()


def test_sizes_and_ends(tmp_path):
    ranges, ends = blocks("sizes_and_ends.md")
    model = unet((4, 8), side=None, batch=None)
    module_of(ranges, "guide_ranges", tmp_path, model=model)
    pixels = np.zeros((1, 32, 32, 1), np.uint8)
    module_of(ends, "guide_ends", tmp_path, model=model, pixels=pixels, segrt=segrt)


def test_measure_speed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("segrt.measurement.ceiling._CPU_SIDE", 128)
    whole, closer = blocks("measure_speed.md")
    model = unet((4, 8), side=None, batch=None)
    package = segrt.build(model, target="onnxruntime", threads=1, output=tmp_path / "p.segrt")
    module_of(whole, "guide_bench", tmp_path, package=package)
    told = capsys.readouterr().out
    assert "segrt        batch 2:" in told
    assert "onnxruntime  batch 1:" in told
    assert "torch" in told
    image = tmp_path / "image.png"
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(image)
    module_of(closer, "guide_bench_closer", tmp_path, package=package, images=image, segrt=segrt)
    assert "images a second" in capsys.readouterr().out


def test_mix_engines(tmp_path, capsys):
    deploy, where = (
        module_of(code, f"guide_mix{number}", tmp_path)
        for number, code in enumerate(blocks("mix_engines.md"))
    )
    package = deploy.deploy(
        refused_by_openvino(), tmp_path / "p.segrt", "openvino", fallback="onnxruntime"
    )
    assert "--fallback cpu" in capsys.readouterr().out
    found = where.where(package)
    assert found[REFUSED_BY_OPENVINO] == "onnxruntime"
    assert {target for layer, target in found.items() if layer != REFUSED_BY_OPENVINO} == {
        "openvino"
    }
    assert segrt.verify(package).ok
    whole = deploy.deploy(unet((4, 8), side=16), tmp_path / "w.segrt", "openvino")
    assert where.where(whole) == {}
