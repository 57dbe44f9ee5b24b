"""What gauges read off sessions, and off what the CPU engines write about themselves."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import pytest

import segrt
from helpers.tensorrt_graphs import unet
from segrt.measurement.gauges._base import REGISTRY, Deployed, LayerTime, Names, medians
from segrt.measurement.gauges.onnxruntime import _runs
from segrt.targets._base import REGISTRY as TARGETS
from segrt.types import BuildOptions


def test_every_target_has_a_gauge_or_picks_one_that_has():
    # `cpu` hands over to the engine it chose.
    assert set(TARGETS.names()) - set(REGISTRY.names()) == {"cpu"}


def event(name, duration_us, op="Conv"):
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": duration_us,
            "args": {"op_name": op}}  # fmt: skip


def test_rows_of_several_runs_become_medians():
    names = Names(unet((4, 8), side=16))
    end = {"cat": "Session", "name": "model_run", "dur": 1, "args": {}}
    load = {"cat": "Session", "name": "model_loading_uri", "dur": 1, "args": {}}
    events = [load]
    for time in (4000, 1000, 2000):
        events += [event("mask_nchwc", time), event("Reorder", 500, "ReorderOutput"), end]
    runs = _runs(events, names)
    assert [len(run) for run in runs] == [2, 2, 2]
    assert medians(runs) == [
        LayerTime(("mask",), "Conv", "blocked layout", 2.0),
        LayerTime((), "ReorderOutput", "", 0.5),
    ]


def test_a_name_that_comes_twice_in_a_run_is_two_rows():
    row = LayerTime((), "Reorder", "", 1.0)
    assert len(medians([[("a", row), ("a", row), ("b", row)]] * 3)) == 3


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_the_rows_name_the_network(target, tmp_path):
    pytest.importorskip(target, reason=f"{target} is not installed")
    model = unet((16, 32), side=64)
    engine, gauge = TARGETS.find(target), REGISTRY.find(target)
    feeds = {"image": np.random.default_rng(0).random((1, 64, 64, 1), dtype=np.float32)}
    with engine.open_model(model, BuildOptions(threads=1)) as session:
        session.run(feeds)
        segrt.convert(model, tmp_path / "model.onnx")
        deployed = Deployed(tmp_path / "model.onnx", model, BuildOptions(threads=1))
        began = perf_counter()
        rows = gauge.layers(deployed, session, feeds)
        wall_ms = (perf_counter() - began) * 1e3
    named = {layer for row in rows for layer in row.layers}
    convolutions = {n.metadata_props["segrt.layer"] for n in model.graph if n.op_type == "Conv"}
    assert convolutions <= named
    assert any(row.time_ms > 0 for row in rows if "Conv" in row.operation)
    # One run's layers fit into the call that ran them: a unit misread by 1000 would not. Which
    # layer cost most is not asked, since any one may have waited for a processor.
    assert sum(row.time_ms for row in rows) <= wall_ms
