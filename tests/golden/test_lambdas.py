"""Lambda layers say, as the forms they were given, what real Keras computed with their code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

import segrt
from segrt.errors import UnsupportedLayerError
from segrt.graph import metadata

DATA = Path(__file__).parent / "lambdas"
FILES = sorted(path for path in DATA.glob("*/lambdas.*") if path.suffix != ".npz")
FORMS = {
    "identity": "identity",
    "bilinear": "resize_bilinear:size=13x7",
    "bilinear_legacy": "resize_bilinear:size=13x7,half_pixel=false",
    "bilinear_corners": "resize_bilinear:size=13x7,align_corners=true",
    "bilinear_twice": "resize_bilinear:factor=2",
    "nearest": "resize_nearest:size=13x7",
    "nearest_legacy": "resize_nearest:size=13x7,half_pixel=false",
    "nearest_twice": "resize_nearest:size=16x12",
    "depth_to_space": "depth_to_space:block=2",
    "space_to_depth": "space_to_depth:block=2",
    "slice": "slice:axis=-1,start=2,stop=5",
    "slice_rows": "slice:axis=1,step=2",
    "l2": "l2_normalize:axis=-1",
    "scale": "scale:mul=2,add=-1/2",
    "mean": "reduce_mean",
    "mean_kept": "reduce_mean:axes=1/2,keepdims=true",
    "largest": "reduce_max:axes=-1,keepdims=true",
    "expanded": "expand_dims:axis=1",
    "sigmoid": "sigmoid",
    "softmax": "softmax:axis=1",
    "relu6": "relu6",
    "swish": "swish",
    "reflect": "pad:by=1/2/3/0",
    "symmetric": "pad:by=1/2,mode=symmetric",
    "zeros": "pad:by=1,mode=constant",
    "transposed": "transpose:perm=0/3/1/2",
    "shuffled": "channel_shuffle:groups=2",
    "abs": "abs",
    "square": "square",
    "clip": "clip:low=-0.5,high=0.25",
    "joined": "concatenate:axis=-1",
}
# Two steps in one Lambda: a converter of the user's own.
OWN = """
import segrt
from segrt.importers.lambdas._base import read_form


def squeezed(call, x):
    first = read_form("slice:axis=1,stop=1").convert(call, x)
    return read_form("squeeze:axes=1").convert(call, first)
"""


def recorded(path: Path) -> dict[str, np.ndarray]:
    with np.load(path.parent / "lambdas.npz") as content:
        return {name: content[name] for name in content.files if name != "meta"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_forms_equal_the_code(path, tmp_path, disagreement):
    own = tmp_path / "own.py"
    own.write_text(OWN)
    lambdas = {**FORMS, "squeezed": f"{own}:squeezed"}
    model = segrt.load(path, lambdas=lambdas)
    exposed = {}
    for name, value in list(metadata.keras_values(model.graph)):
        if not value.is_graph_input() and not value.is_graph_output():
            model.graph.outputs.append(value)
        exposed[name] = (value.name, metadata.to_source(value))
    session = onnxruntime.InferenceSession(
        ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    arrays = recorded(path)
    names = [output.name for output in session.get_outputs()]
    results = dict(zip(names, session.run(None, {"image": arrays["input/image"]}), strict=True))
    complaints = {}
    for name in lambdas:
        onnx_name, axes = exposed[name]
        result = results[onnx_name] if axes is None else results[onnx_name].transpose(axes)
        complaints[name] = disagreement(result, arrays[f"layer/{name}"], bound=1e-5)
    assert {name: text for name, text in complaints.items() if text} == {}
    assert sum("their code was not read" in text for text in metadata.remarks(model)) == len(FORMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_lambdas_are_listed_with_what_is_known(path):
    with pytest.raises(UnsupportedLayerError) as caught:
        segrt.load(path)
    text = str(caught.value)
    assert set(caught.value.layers) == {(name, "Lambda") for name in [*FORMS, "squeezed"]}
    assert "called with (None, 8, 6, 8)" in text
    assert "--lambda" in text


def test_a_pattern_takes_many(disagreement):
    path = FILES[0]
    with pytest.raises(UnsupportedLayerError) as caught:
        segrt.load(path, lambdas=["bilinear*=resize_bilinear:size=13x7", "nearest=relu6"])
    left = {name for name, _ in caught.value.layers}
    taken = {"bilinear", "bilinear_legacy", "bilinear_corners", "bilinear_twice", "nearest"}
    assert left == {*FORMS, "squeezed"} - taken
