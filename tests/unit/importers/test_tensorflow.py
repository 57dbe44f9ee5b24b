"""SavedModel folders and frozen graphs: told apart, checked before they are loaded, converted.

Conversions need TensorFlow and tf2onnx; the files are made by ``tests/golden/make_foreign.py``.
"""

from __future__ import annotations

import importlib.util
import math
import shutil
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

import segrt
from segrt.errors import (
    ModelFileError,
    UnavailableError,
    UnsafeFileError,
    UnsupportedLayerError,
    UsageError,
)
from segrt.graph import metadata
from segrt.importers import _tensorflow
from segrt.importers.frozen_graph import FrozenGraph
from segrt.importers.keras_archive import KerasArchive
from segrt.importers.keras_h5 import KerasH5
from segrt.importers.onnx_file import OnnxFile
from segrt.importers.saved_model import SavedModelFolder

DATA = Path(__file__).parents[2] / "golden" / "data" / "foreign"
FOLDER, FROZEN = DATA / "keras2_free_saved_model", DATA / "keras2_free.pb"
IMPORTERS = (KerasH5(), KerasArchive(), OnnxFile(), SavedModelFolder(), FrozenGraph())
needs_tensorflow = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("tensorflow", "tf2onnx")),
    reason="TensorFlow and tf2onnx are not installed: pip install 'segrt[tf]'",
)


def head(path: Path) -> bytes:
    return path.read_bytes()[:16]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (DATA / "keras2_free.h5", KerasH5),
        (DATA / "torch__dynamo.onnx", OnnxFile),
        (DATA / "keras3_free__keras_export.onnx", OnnxFile),
        (FOLDER / "saved_model.pb", SavedModelFolder),
        (FROZEN, FrozenGraph),
    ],
)
def test_formats_are_told_apart(path, kind):
    assert [type(one) for one in IMPORTERS if one.recognises(head(path))] == [kind]


@pytest.mark.parametrize("path", [FOLDER, FROZEN])
def test_without_tensorflow_it_says_what_to_install(monkeypatch, path):
    monkeypatch.setattr(_tensorflow, "is_installed", lambda name: name == "tensorflow")
    with pytest.raises(UnavailableError, match="needs TensorFlow and tf2onnx") as caught:
        segrt.load(path)
    assert caught.value.found == "not installed: tf2onnx"
    assert "segrt[tf]" in (caught.value.hint or "")
    assert caught.value.exit_code == 4


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(ModelFileError, match="no such model file") as caught:
        segrt.load(tmp_path)
    assert caught.value.found == "a directory without saved_model.pb"


def test_links_in_the_folder_are_refused(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "net")
    (tmp_path / "net" / "linked").symlink_to("/")
    with pytest.raises(UnsafeFileError, match="holds a link"):
        segrt.load(tmp_path / "net")


def test_a_saved_model_names_its_own_outputs():
    with pytest.raises(UsageError, match="names its own inputs and outputs"):
        segrt.load(FOLDER, outputs=["mask:0"])


def agrees(model: ir.Model, recorded: str = "keras2_free") -> float:
    with np.load(DATA / f"{recorded}.npz") as content:
        x, y = content["x"], content["y"]
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    found = session.run(None, {session.get_inputs()[0].name: x})[0]
    return float(np.linalg.norm(found - y) / np.linalg.norm(y))


@needs_tensorflow
@pytest.mark.slow
def test_a_saved_model_says_what_keras_said():
    model = segrt.load(FOLDER)
    assert agrees(model) < 1e-5
    assert [value.name for value in model.graph.inputs] == ["image"]
    source = metadata.source(model)
    assert source is not None
    assert (source.format, source.file) == ("saved-model", FOLDER.name)
    assert source.backend.startswith("tf2onnx")
    assert "unet/up1/Resize" in {name for name, _ in metadata.keras_values(model.graph)}


@needs_tensorflow
@pytest.mark.slow
def test_a_frozen_graph_says_what_keras_said():
    with pytest.raises(UsageError, match="does not say what it returns") as caught:
        segrt.load(FROZEN)
    assert caught.value.found == "Identity:0"
    assert agrees(segrt.load(FROZEN, outputs=["Identity:0"])) < 1e-5
    with pytest.raises(UsageError, match="has no such tensors"):
        segrt.load(FROZEN, outputs=["nothing:0"])


@needs_tensorflow
@pytest.mark.slow
def test_a_graph_that_holds_its_training_answers_as_at_inference():
    model = segrt.load(DATA / "tensorflow1.pb", outputs=["mask/Sigmoid:0"])
    assert [value.name for value in model.graph.inputs] == ["image:0"]
    assert agrees(model, "tensorflow1") < 1e-5
    model = segrt.load(DATA / "tensorflow1_saved_model")
    assert agrees(model, "tensorflow1") < 1e-5
    assert [value.name for value in model.graph.outputs] == ["mask"]


@needs_tensorflow
@pytest.mark.slow
def test_a_saved_model_that_writes_a_file_while_training_is_refused(tmp_path):
    from tensorflow.core.protobuf import saved_model_pb2

    shutil.copytree(DATA / "tensorflow1_saved_model", tmp_path / "net")
    path = tmp_path / "net" / "saved_model.pb"
    message = saved_model_pb2.SavedModel()
    message.ParseFromString(path.read_bytes())
    for name, kind in (("log", "WriteFile"), ("look", "MatchingFiles"), ("erf", "Erfc")):
        node = message.meta_graphs[0].graph_def.node.add()
        node.name, node.op = name, kind
    path.write_bytes(message.SerializeToString())
    with pytest.raises(UnsafeFileError, match="it was not loaded") as caught:
        segrt.load(tmp_path / "net")
    assert caught.value.found == "MatchingFiles, WriteFile"


@needs_tensorflow
@pytest.mark.slow
def test_what_tf2onnx_does_not_know_is_taught_or_named(tmp_path):
    from tensorflow.core.framework import graph_pb2, types_pb2

    def written(kind: str) -> Path:
        graph = graph_pb2.GraphDef()
        image, node = graph.node.add(), graph.node.add()
        image.name, image.op, node.name, node.op = "image", "Placeholder", "out", kind
        image.attr["dtype"].type = node.attr["T"].type = types_pb2.DT_FLOAT
        for size in (2, 3):
            image.attr["shape"].shape.dim.add().size = size
        node.input.append("image")
        path = tmp_path / f"{kind}.pb"
        path.write_bytes(graph.SerializeToString())
        return path

    model = segrt.load(written("Erfc"), outputs=["out:0"])
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    x = np.linspace(-2, 2, 6, dtype="float32").reshape(2, 3)
    wanted = [[1 - math.erf(one) for one in row] for row in x.tolist()]
    np.testing.assert_allclose(session.run(None, {"image:0": x})[0], wanted, atol=1e-6)
    with pytest.raises(UnsupportedLayerError, match="out: BesselI0e"):
        segrt.load(written("BesselI0e"), outputs=["out:0"])


def poisoned(path: Path, kind: str, *, inside: bool) -> None:
    """Write a frozen graph with an operator that touches a file, also inside a function."""
    from tensorflow.core.framework import graph_pb2

    graph = graph_pb2.GraphDef()
    graph.ParseFromString(FROZEN.read_bytes())
    if inside:
        function = graph.library.function.add()
        function.signature.name = "inner"
        node = function.node_def.add()
    else:
        node = graph.node.add()
    node.name, node.op = "touch", kind
    path.write_bytes(graph.SerializeToString())


@needs_tensorflow
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "inside"),
    [("ReadFile", False), ("WriteFile", True), ("PyFunc", False), ("RestoreV2", False)],
)
def test_operators_that_reach_outside_are_refused(tmp_path, kind, inside):
    path = tmp_path / "net.pb"
    poisoned(path, kind, inside=inside)
    with pytest.raises(UnsafeFileError, match="it was not loaded") as caught:
        segrt.load(path, outputs=["Identity:0"])
    assert caught.value.found == kind


@needs_tensorflow
@pytest.mark.slow
def test_a_damaged_graph_is_refused(tmp_path):
    path = tmp_path / "net.pb"
    path.write_bytes(FROZEN.read_bytes()[:2000])
    with pytest.raises(ModelFileError):
        segrt.load(path, outputs=["Identity:0"])
