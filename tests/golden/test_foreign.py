"""Models as tf2onnx, Keras 3 and PyTorch export them say here what those libraries said.

The files are made by ``make_foreign.py``.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

import segrt
from segrt.graph import metadata
from segrt.graph.specs import input_specs, output_specs
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower
from segrt.verification.foreign import compare_foreign

DATA = Path(__file__).parent / "data" / "foreign"
FILES = sorted(DATA.glob("*__*.onnx"))
UPSAMPLINGS = {"keras2_free": 2, "keras3_free": 2, "keras3_fixed": 2, "torch": 2, "resize": 1}
BOUND = 1e-5


def run(model: ir.Model, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def recorded(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(DATA / f"{path.name.split('__')[0]}.npz") as content:
        return content["x"], content["y"]


def test_every_exporter_is_there():
    exporters = {path.stem.split("__")[1] for path in FILES}
    assert {"keras_export", "tf2onnx", "tf2onnx11", "script", "dynamo"} <= exporters
    assert any("9_free" in exporter for exporter in exporters)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_says_what_the_library_said(path, disagreement):
    x, y = recorded(path)
    model = segrt.load(path)
    lowered, verdicts = lower(model, PassContext())
    for graph in (model, lowered):
        onnx.checker.check_model(ir.to_proto(graph), full_check=True)
        assert disagreement(run(graph, x), y, bound=BOUND) is None
    kinds = Counter(node.op_type for node in lowered.graph)
    assert kinds["Resize"] == UPSAMPLINGS[path.name.split("__")[0]]
    assert kinds["Transpose"] <= 2
    # Nothing of the exporter's shape arithmetic is left.
    assert not set(kinds) & {"Shape", "Gather", "Slice", "Tile", "Unsqueeze", "Cast", "Flatten"}
    assert not [v for v in verdicts if v.pass_name == "restore_repeats" and not v.applied]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_keeps_names_and_is_of_our_kind(path):
    proto = onnx.load(path)
    model = segrt.load(path)
    assert [v.name for v in model.graph.inputs] == [v.name for v in proto.graph.input]
    assert [v.name for v in model.graph.outputs] == [v.name for v in proto.graph.output]
    assert (model.ir_version, dict(model.graph.opset_imports)) == (10, {"": 18})
    source = metadata.source(model)
    assert source is not None
    assert (source.format, source.file, source.keras_version) == ("onnx", path.name, "")
    last = 1 if path.stem.startswith("torch") else -1
    if not path.stem.startswith("resize"):
        assert input_specs(model)[0].channel_axis == last
        assert output_specs(model)[0].channel_axis == last


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.stem.startswith("keras")], ids=lambda path: path.stem
)
def test_every_node_is_what_keras_means(path):
    keras = DATA / f"{path.name.split('__')[0]}.h5"
    report = compare_foreign(segrt.load(path), segrt.load(keras))
    assert report.ok, report.verdict
    assert report.remarks == ()
    layers = {row.layer for row in report.rows}
    assert {"up1", "up2", "cat1", "cat2", "relu6", "down", "deconv", "mask"} <= layers


def test_upsampling_keeps_the_name_of_its_layer():
    def names(file: str) -> set[str]:
        model = segrt.load(DATA / file)
        return {name for name, _ in metadata.keras_values(model.graph)}

    assert {"unet_1/up1_1", "unet_1/up2_1"} <= names("keras3_free__keras_export.onnx")
    assert {"unet/up1/Resize", "unet/up2/Resize"} <= names("keras2_free__tf2onnx13.onnx")
    assert "/up2/Resize" in names("torch__script.onnx")
