"""Engines that are here are asked; those that are not are said to be absent."""

from pathlib import Path

import numpy as np
import pytest

import segrt
from helpers.quantised import quantise
from helpers.tensorrt_graphs import one_node, unet
from segrt import api
from segrt.checks import _confirm, _engines
from segrt.checks._base import Support
from segrt.checks._release import Release
from segrt.errors import EngineError, ShapeError, UsageError
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower
from segrt.targets._base import Availability, Lowering

GOLDENS = Path(__file__).parents[2] / "golden" / "data"


class Scripted:
    """Stands in for a target; fails as told."""

    def __init__(self, error=None, *, usable=True):
        self.error = error
        self.usable = usable
        self.built = []

    def availability(self):
        return Availability(self.usable, self.usable, "scripted 1.0", "" if self.usable else "get")

    def resolve(self, model, options):
        return options

    def lowerings(self, model, options):
        return (Lowering(("resize",)),)

    def build(self, models, options, folder):
        assert folder.is_dir()
        self.built.append(models)
        if self.error is not None:
            raise self.error

    def open_model(self, model, options):
        raise self.error


class Targets:
    def __init__(self, **entries):
        self.entries = entries

    def find(self, name):
        return self.entries.get(name)

    def names(self):
        return sorted(self.entries)


def test_cpu_is_asked_and_answers(net):
    report = api.check(net().upsample().convolve().done(), target="cpu")
    assert report.support is Support.SUPPORTED
    assert {check.layer for check in report.layers} == {"up", "conv"}
    assert "opens the graph" in report.network[0].text


def test_an_engine_that_refuses_blocks(net, monkeypatch):
    refusing = Scripted(EngineError("the engine refuses", found="node up"))
    monkeypatch.setattr(_engines, "REGISTRY", Targets(openvino=refusing))
    report = _engines.check_engine(net().upsample().done(), "openvino")
    assert report.support is Support.BLOCKED
    assert "node up" in report.network[0].text
    assert report.layers == ()


def test_an_engine_that_is_not_installed_blocks(net, monkeypatch):
    monkeypatch.setattr(_engines, "REGISTRY", Targets(openvino=Scripted(usable=False)))
    report = _engines.check_engine(net().upsample().done(), "openvino")
    assert report.support is Support.BLOCKED
    assert "cannot run here" in report.network[0].text


def test_the_cuda_engine_answers_by_layer_without_a_gpu(net):
    report = api.check(net().upsample().convolve().done(), target="cuda")
    assert report.support is Support.SUPPORTED
    assert {check.layer for check in report.layers} == {"up", "conv"}
    assert report.network == ()
    assert "run here" in report.remarks[0]


def test_what_the_cuda_engine_refuses_is_said_of_its_layers():
    model = one_node(lambda b, x: b.op("LRN", [x], name="y", size=3), (1, 4, 8, 8))
    report = api.check(model, target="cuda")
    assert report.support is Support.BLOCKED
    assert all(check.rulings[0].text for check in report.layers)


def test_the_cuda_engine_takes_volumes():
    report = api.check(GOLDENS / "keras-3.15" / "volume_unet.keras", target="cuda")
    assert report.support is Support.SUPPORTED
    assert {"Conv3D", "MaxPooling3D"} <= {check.class_name for check in report.layers}


def test_a_quantised_graph_is_asked_in_eight_bits(tmp_path):
    pytest.importorskip("onnxruntime.quantization", reason="onnxruntime is not installed")
    plain, _ = lower(unet((8, 16), side=16), PassContext(("resize",)))
    feeds = {"image": np.random.default_rng(0).random((1, 16, 16, 1), dtype=np.float32)}
    report = _engines.check_engine(quantise(plain, [feeds], tmp_path), "cuda")
    assert report.support is Support.SUPPORTED, report
    assert len(report.layers) > 10


def test_a_gpu_says_nothing_about_cpus(net):
    with pytest.raises(UsageError, match="says nothing"):
        api.check(net().upsample().done(), target="cpu", gpu="8.6")


@pytest.mark.parametrize(
    ("target", "support", "remark"),
    [
        (Scripted(), Support.SUPPORTED, "confirmed by building"),
        (Scripted(EngineError("no kernel", found="up")), Support.BLOCKED, "refused to build"),
        (Scripted(ShapeError("give a size")), None, "give a size"),
        (Scripted(usable=False), None, "not confirmed by building: scripted"),
        (None, None, "has no target"),
    ],
)
def test_rtx_is_confirmed_by_the_library_where_it_is(net, monkeypatch, target, support, remark):
    entries = {} if target is None else {_confirm.RTX_TARGET: target}
    monkeypatch.setattr(_confirm, "REGISTRY", Targets(**entries))
    rulings, said = _confirm.confirm(net().upsample().done(), Release("rtx", (1, 7)))
    assert [ruling.support for ruling in rulings] == ([] if support is None else [support])
    assert remark in said


def test_free_sizes_are_given_a_size_to_build_with(net, monkeypatch):
    target = Scripted()
    monkeypatch.setattr(_confirm, "REGISTRY", Targets(**{_confirm.RTX_TARGET: target}))
    # Pooling by 96 asks for multiples of 96.
    model = net((None, 2, None, None)).layer(
        "pool", "MaxPooling2D", "MaxPool", kernel_shape=(96, 96), strides=(96, 96)
    ).upsample(factors=(96, 96)).done()  # fmt: skip
    rulings, _ = _confirm.confirm(model, Release("rtx", (1, 7)))
    built = target.built[0][0].graph.inputs[0].shape
    assert built[0] == 1
    assert isinstance(built[2], int)
    assert f"{built[2]}x{built[3]}" in rulings[0].text


def test_the_real_library_builds_the_demo():
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    model = Path(segrt.__file__).parent / "demo" / "data" / "cells_unet.h5"
    report = api.check(model, target="rtx:1.7")
    assert [ruling.rule for ruling in report.network][-1] == "RTX-BUILD"
    assert report.support is Support.SUPPORTED


def test_full_tensorrt_is_never_built_here(net):
    rulings, said = _confirm.confirm(net().upsample().done(), Release("tensorrt", (10, 3)))
    assert rulings == ()
    assert "GPU" in said
