"""SavedModels of subclassed models, of functions apart, and of what still trains.

Conversions need TensorFlow and tf2onnx; the folders are made by ``make_saved_models.py``.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper

import segrt
from segrt.errors import UnsupportedLayerError
from segrt.importers._random import inference_hint
from segrt.importers._tensorflow_inline import allow_inlining

DATA = Path(__file__).parents[2] / "golden" / "data" / "saved_models"
needs_tensorflow = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("tensorflow", "tf2onnx")),
    reason="TensorFlow and tf2onnx are not installed: pip install 'segrt[tf]'",
)


@needs_tensorflow
@pytest.mark.parametrize("name", ["grouped", "subclassed"])
def test_it_says_what_keras_said(name):
    model = segrt.load(DATA / name)
    with np.load(DATA / f"{name}.npz") as content:
        wanted = {key: content[key] for key in content.files}
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    found = session.run(None, {session.get_inputs()[0].name: wanted.pop("image")})
    named = dict(zip([output.name for output in session.get_outputs()], found, strict=True))
    assert len(named) == len(wanted)
    for key, answer in wanted.items():
        array = named.get(key, found[0])
        assert np.linalg.norm(array - answer) / np.linalg.norm(answer) < 1e-6


@needs_tensorflow
def test_a_network_that_still_draws_is_refused():
    with pytest.raises(UnsupportedLayerError, match="Random") as caught:
        segrt.load(DATA / "augmented")
    assert "training=False" in (caught.value.hint or "")


def node(**attributes):
    return SimpleNamespace(attr=dict(attributes), node_def=[])


def test_marks_that_keep_functions_apart_are_taken_off():
    call, body = node(_XlaMustCompile=True, T=1), node(_noinline=True)
    function = SimpleNamespace(attr={"_XlaMustCompile": True, "api": 1}, node_def=[body])
    graph = SimpleNamespace(node=[call], library=SimpleNamespace(function=[function]))
    assert allow_inlining(graph)
    assert (call.attr, body.attr, function.attr) == ({"T": 1}, {}, {"api": 1})
    assert not allow_inlining(graph)


@pytest.mark.parametrize(
    ("message", "speaks"),
    [
        ("Input 0 of node flip/RngReadAndSkip was passed int64", True),
        ("StatelessRandomUniformV2", True),
        ("StringSplit", False),
    ],
)
def test_the_hint_comes_where_numbers_are_drawn(message, speaks):
    assert (inference_hint([message]) is not None) == speaks


def saved(tmp_path, nodes, constants=()):
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 2, 4, 4])
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, 2, 4, 4])
    graph = helper.make_graph(nodes, "net", [image], [answer], list(constants))
    opsets = [helper.make_opsetid("", 18)]
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def test_noise_in_an_onnx_file_is_refused(tmp_path):
    nodes = [
        helper.make_node("RandomNormalLike", ["image"], ["noise"], name="jitter"),
        helper.make_node("Add", ["image", "noise"], ["answer"]),
    ]
    with pytest.raises(UnsupportedLayerError, match=r"draw random numbers.*\n.*jitter") as caught:
        segrt.load(saved(tmp_path, nodes))
    assert caught.value.layers == [("jitter", "RandomNormalLike")]


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_refused_where_it_drops(tmp_path, training):
    constants = [
        helper.make_tensor("ratio", TensorProto.FLOAT, [], [0.5]),
        helper.make_tensor("training", TensorProto.BOOL, [], [training]),
    ]
    nodes = [helper.make_node("Dropout", ["image", "ratio", "training"], ["answer"], name="drop")]
    path = saved(tmp_path, nodes, constants)
    if training:
        with pytest.raises(UnsupportedLayerError, match="drop: Dropout"):
            segrt.load(path)
    else:
        segrt.load(path)


def test_noise_that_reaches_no_output_does_not_matter(tmp_path):
    nodes = [
        helper.make_node("RandomNormalLike", ["image"], ["noise"]),
        helper.make_node("Relu", ["image"], ["answer"]),
    ]
    segrt.load(saved(tmp_path, nodes))
