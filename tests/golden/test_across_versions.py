"""Weights of one Keras with the architecture of another: what a retyped model's file is."""

from __future__ import annotations

import json

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

import segrt
from helpers.goldens import GOLDENS
from segrt.graph import metadata

WRITERS = ("keras-2.2.4", "tf.keras-2.12", "keras-3.15")
WEIGHTS = [golden for golden in GOLDENS if golden.name == "nested" and golden.architecture]
PAIRS = [
    (golden, folder)
    for golden in WEIGHTS
    for folder in (golden.folder.parent / writer for writer in WRITERS)
    if golden.folder != folder
]


@pytest.mark.parametrize(("golden", "writer"), PAIRS, ids=[f"{g}-{w.name}" for g, w in PAIRS])
def test_they_fit_whoever_wrote_which(golden, writer):
    model = segrt.load(golden.folder / golden.file, architecture=writer / "nested.json")
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    arrays = golden.arrays("input").values()
    feeds = {value.name: array for value, array in zip(session.get_inputs(), arrays, strict=True)}
    wanted = golden.arrays("output").values()
    for found, array in zip(session.run(None, feeds), wanted, strict=True):
        assert np.linalg.norm(found - array) <= golden.tolerance * np.linalg.norm(array)


def test_every_layout_is_there():
    layouts = {golden.file.removeprefix("nested") for golden in WEIGHTS}
    assert layouts == {"_weights.h5", ".weights.h5"}
    assert len({golden.folder for golden in WEIGHTS}) >= 6


def surplus(weights, architecture):
    remarks = metadata.remarks(segrt.load(weights, architecture=architecture))
    return [remark for remark in remarks if "no layer for" in remark]


def test_weights_of_a_layer_that_is_not_there_are_named(tmp_path):
    folder = next(golden.folder for golden in WEIGHTS if golden.folder.name == "tf.keras-2.15")
    weights = folder / "nested_weights.h5"
    assert not surplus(weights, folder / "nested.json")
    description = json.loads((folder / "nested.json").read_text("utf-8"))
    del description["config"]["layers"][-1]
    description["config"]["output_layers"] = [["up", 0, 0]]
    shorter = tmp_path / "shorter.json"
    shorter.write_text(json.dumps(description), encoding="utf-8")
    assert "'mask'" in surplus(weights, shorter)[0]


def test_so_are_those_of_a_class_that_is_not_there():
    data = WEIGHTS[0].folder.parent
    weights = data / "keras-3.15" / "layers_in_layers.weights.h5"
    assert not surplus(weights, data / "keras-3.15" / "layers_in_layers.json")
    older = data / "tf.keras-2.12" / "layers_in_layers.json"  # without SpectralNormalization
    assert "'spectral_normalization'" in surplus(weights, older)[0]
