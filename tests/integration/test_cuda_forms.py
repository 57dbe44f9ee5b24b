"""Which forms of a graph `build` tries for the CUDA engine: none that cannot win."""

from __future__ import annotations

import logging

import numpy as np
import onnx_ir as ir
import pytest

import segrt
from helpers.cuda_emulator import EmulatedGpu
from helpers.emulated_target import emulate
from helpers.tensorrt_graphs import unet
from segrt.graph.alike import are_alike
from segrt.graph.builder import IR_VERSION, OPSET, GraphBuilder


@pytest.fixture
def opened(monkeypatch, tmp_path) -> list[EmulatedGpu]:
    return emulate(monkeypatch, tmp_path / "cache")


def _without_upsampling() -> ir.Model:
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="net")
    b = GraphBuilder(graph)
    x = b.input("image", (1, 3, 8, 8), ir.DataType.FLOAT)
    weights = b.constant("kernel", np.full((4, 3, 3, 3), 0.1, "f4"))
    x = b.op("Conv", [x, weights], name="conv", pads=[1, 1, 1, 1])
    graph.outputs.append(b.op("Relu", [x], name="mask"))
    return ir.Model(graph, ir_version=IR_VERSION)


def test_forms_that_are_alike_are_planned_once(opened, tmp_path):
    segrt.build(_without_upsampling(), target="cuda", output=tmp_path / "net.segrt")
    assert len(opened) == 1


def test_forms_that_differ_are_compared(opened, tmp_path, caplog):
    with caplog.at_level(logging.INFO, "segrt"):
        segrt.build(unet((8, 16), side=16), target="cuda", output=tmp_path / "net.segrt")
    assert len(opened) == 2
    assert "comparing the forms" in caplog.records[-1].getMessage()


def test_plain_upsampling_is_not_tried_where_one_kernel_does_it_all(opened, tmp_path):
    model = unet((64, 128), side=16)
    segrt.build(model, target="cuda", precision="fp16", output=tmp_path / "net.segrt")
    assert len(opened) == 1


def test_both_forms_are_tried_where_the_library_wins(opened, tmp_path, monkeypatch):
    costs = {"phase_convolution": 500.0, "phase_wide": 500.0}
    monkeypatch.setattr(
        EmulatedGpu, "enqueue",
        lambda gpu, name, work, known=EmulatedGpu.enqueue: (
            gpu.costs.update(costs), known(gpu, name, work)
        )[1],
    )  # fmt: skip
    model = unet((64, 128), side=16)
    segrt.build(model, target="cuda", precision="fp16", output=tmp_path / "net.segrt")
    assert len(opened) == 2


def _changed(change: str) -> ir.Model:
    model = _without_upsampling()
    if change == "weights":
        kernel = model.graph.initializers["kernel"]
        kernel.const_value = ir.tensor(np.full((4, 3, 3, 3), 0.2, "f4"))
    elif change == "attribute":
        model.graph[0].attributes["pads"] = ir.AttrInt64s("pads", [0, 1, 1, 2])
    elif change == "operator":
        model.graph[1].op_type = "Sigmoid"
    elif change == "input":
        model.graph.inputs[0].shape = ir.Shape([2, 3, 8, 8])
    return model


@pytest.mark.parametrize("change", ["weights", "attribute", "operator", "input"])
def test_graphs_are_told_apart(change: str):
    assert are_alike(_without_upsampling(), _changed(""))
    assert not are_alike(_without_upsampling(), _changed(change))
