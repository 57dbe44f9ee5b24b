"""The self-test is recorded beside the building, or after it, and its failure is not lost."""

from __future__ import annotations

import threading

import numpy as np
import onnx_ir as ir
import pytest

from segrt.errors import EngineError
from segrt.graph.builder import IR_VERSION, OPSET, GraphBuilder
from segrt.targets import _selftest
from segrt.targets._base import REGISTRY
from segrt.targets._selftest import GRAPH, RECORDING, record, recorded_beside

PATIENCE = 60


def doubling() -> ir.Model:
    """Return a graph that doubles an image."""
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="net")
    b = GraphBuilder(graph)
    x = b.input("x", (None, 8, 8, 1), ir.DataType.FLOAT)
    graph.outputs.append(b.op("Mul", [x, b.constant("two", np.float32(2))], name="y"))
    return ir.Model(graph, ir_version=IR_VERSION)


def test_it_holds_the_graph_an_input_and_what_the_graph_says(tmp_path):
    record(doubling(), tmp_path)
    assert [node.op_type for node in ir.load(tmp_path / GRAPH).graph] == ["Mul"]
    with np.load(tmp_path / RECORDING) as file:
        assert file["input/x"].any()
        np.testing.assert_array_equal(file["output/y"], file["input/x"] * 2)


@pytest.mark.parametrize("alone", [True, False])
def test_both_are_there_in_the_end(tmp_path, alone):
    with recorded_beside(doubling(), tmp_path, alone=alone):
        (tmp_path / "engine").write_bytes(b"built")
    assert {path.name for path in tmp_path.iterdir()} == {GRAPH, RECORDING, "engine"}


def test_building_goes_on_while_it_is_recorded(tmp_path, monkeypatch):
    built, seen = threading.Event(), []
    monkeypatch.setattr(_selftest, "record", lambda *_: seen.append(built.wait(PATIENCE)))
    with recorded_beside(doubling(), tmp_path, alone=False):
        built.set()
    assert seen == [True]


def test_nothing_is_recorded_while_times_are_taken(tmp_path, monkeypatch):
    order: list[str] = []
    monkeypatch.setattr(_selftest, "record", lambda *_: order.append("recorded"))
    with recorded_beside(doubling(), tmp_path, alone=True):
        order.append("built")
    assert order == ["built", "recorded"]


@pytest.mark.parametrize("alone", [True, False])
def test_a_failure_is_raised_and_a_failed_build_comes_first(tmp_path, monkeypatch, alone):
    def fail(*_: object) -> None:
        raise EngineError("the recording failed")

    monkeypatch.setattr(_selftest, "record", fail)
    with (
        pytest.raises(EngineError, match="recording"),
        recorded_beside(doubling(), tmp_path, alone=alone),
    ):
        pass
    with (
        pytest.raises(ValueError, match="building"),
        recorded_beside(doubling(), tmp_path, alone=alone),
    ):
        raise ValueError("building failed")


def test_only_targets_that_measure_nothing_share_the_processor():
    quiet = {name for name, target in REGISTRY if not target.measures}
    assert quiet == {"tensorrt", "tensorrt-rtx"}
