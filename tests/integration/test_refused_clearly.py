"""Graphs that cannot be computed for sure are refused in words, not computed in another way."""

from __future__ import annotations

import onnx
import pytest

import segrt
from helpers.every_way import SAME, outcome, text_case
from segrt.errors import ModelFileError, UnsupportedConfigError


def written(folder, text, edit=lambda graph: None):
    model = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 18]>\n' + text)
    edit(model.graph)
    path = folder / "graph.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_an_input_without_a_number_of_axes(tmp_path):
    path = written(
        tmp_path,
        "g (float[1] x) => (float[1] y) { y = Relu(x) }",
        lambda graph: graph.input[0].type.tensor_type.ClearField("shape"),
    )
    with pytest.raises(ModelFileError, match="how many axes its input 'x'"):
        segrt.load(path)


def test_an_output_that_is_an_input_has_its_shape(tmp_path):
    path = written(
        tmp_path,
        "g (float[1,2,4,4] x) => (float[1] x, float[1,2,4,4] y) { y = Relu(x) }",
        lambda graph: graph.output[0].type.tensor_type.ClearField("shape"),
    )
    assert list(segrt.load(path).graph.outputs[0].shape) == [1, 2, 4, 4]


def test_pads_that_depend_on_a_free_size(tmp_path):
    path = written(
        tmp_path,
        """g (float[1,1,H,4] x) => (float[1,1,8,8] y) <float[1,1,2,2] w = {1, 2, 3, 4}> {
            y = ConvTranspose<output_shape = [8, 8], strides = [2, 2]>(x, w)
        }""",
    )
    with pytest.raises(UnsupportedConfigError, match="output_shape"):
        segrt.load(path)


@pytest.mark.parametrize("kind", ["ReduceL2", "ReduceSumSquare"])
def test_a_norm_over_no_axes(tmp_path, monkeypatch, kind):
    """ONNX first said that the input comes out, later that each number is its own norm."""
    text = (
        f"g (float[1,2,4,4] x) => (float[1,2,4,4] y) {{ y = {kind}<noop_with_empty_axes = 1>(x) }}"
    )
    case = text_case(text, tmp_path, monkeypatch, x=(1, 2, 4, 4))
    assert outcome("import", case) == SAME
    for way in ("cuda", "network"):
        assert (outcome(way, case) or "refused").startswith("refused")


@pytest.mark.parametrize(
    "constant",
    [
        "b = Shape(a) s = Slice(b, starts, ends)",
        "s = Max(starts)",
    ],
)
def test_what_is_known_before_the_cuda_engine_runs(tmp_path, monkeypatch, constant):
    text = f"""g (float[1,2,4,4] x) => (int64[1] s, float[1,2,4,4] y)
    <int64[1] starts = {{0}}, int64[1] ends = {{1}}> {{ a = Relu(x) {constant} y = Tanh(a) }}"""
    found = outcome("cuda", text_case(text, tmp_path, monkeypatch, x=(1, 2, 4, 4)))
    assert found is None or found.startswith("refused")
