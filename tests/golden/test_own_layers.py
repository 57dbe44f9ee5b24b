"""One file of converters fits every format of a model with layers of somebody's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import segrt
from golden.test_goldens import in_source_layout, keras_outputs, report, run
from segrt.errors import ConverterError, ModelFileError, UnsupportedLayerError, UsageError
from segrt.graph import metadata

HERE = Path(__file__).parent
CONVERTERS = HERE / "own_converters.py"
FILES = [
    (index.parent, entry["recording"], file)
    for index in sorted((HERE / "own").glob("*/index.json"))
    for entry in json.loads(index.read_text("utf-8"))
    for file in entry["files"]
]


def load(folder, file, **options):
    architecture = folder / file["architecture"] if "architecture" in file else None
    return segrt.load(folder / file["file"], architecture=architecture, **options)


def find(label, name):
    return next((f, x) for f, _, x in FILES if f.name == label and x["file"] == name)


@pytest.mark.parametrize(
    ("folder", "recording", "file"), FILES, ids=[f"{f.name}/{x['file']}" for f, _, x in FILES]
)
def test_every_layer_equals_keras(folder, recording, file, disagreement):
    model = load(folder, file, layers=[CONVERTERS])
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    with np.load(folder / recording) as content:
        arrays = {key: content[key] for key in content.files if key != "meta"}
    feeds = {k.split("/", 1)[1]: x for k, x in arrays.items() if k.startswith("input/")}
    exposed = keras_outputs(model)
    results = run(model, feeds, "ORT_DISABLE_ALL")
    recorded = {k.split("/", 1)[1]: x for k, x in arrays.items() if k.startswith("layer/")}
    assert recorded
    complaints = {}
    for name, array in recorded.items():
        value, axes = exposed[name]
        result = in_source_layout(results[value], axes)
        complaints[name] = disagreement(result, array, bound=1e-5)
    report(complaints)


def test_all_formats_are_there():
    assert len(FILES) == 4 * 4 + 4 * 3 + 4 * 3 - 2  # Keras 3.0 writes two of the .h5 not


def test_arrays_found_by_position_are_told():
    """`blocks/0` and `blocks/1` are alike: the file does not say which is which."""
    folder, file = find("tf.keras-2.15", "nested.h5")
    remarks = metadata.remarks(load(folder, file, layers=[CONVERTERS]))
    assert any("'blocks/0'" in text and "conv2d_5/kernel" in text for text in remarks), remarks
    assert not any("'first'" in text for text in remarks)  # its shape tells it
    folder, file = find("tf.keras-2.15", "nested.keras")
    remarks = metadata.remarks(load(folder, file, layers=[CONVERTERS]))
    assert not any("does not name part" in text for text in remarks)


def changed(tmp_path, old, new):
    text = CONVERTERS.read_text("utf-8")
    assert old in text
    path = tmp_path / "own.py"
    path.write_text(text.replace(old, new), "utf-8")
    return path


@pytest.mark.parametrize("name", ["nested.h5", "nested.keras"])
def test_a_part_that_no_arrays_fit_lists_what_there_is(tmp_path, name):
    own = changed(tmp_path, '"filters": filters + 1', '"filters": filters + 2')
    folder, file = find("keras-3.15", name)
    with pytest.raises(ModelFileError) as caught:
        load(folder, file, layers=[own])
    assert "first" in str(caught.value)
    assert "(3, 3, 3, 5)" in str(caught.value)


def test_an_attribute_that_is_not_there_is_not_another_one(tmp_path):
    own = changed(tmp_path, 'role="norm"', 'role="nrom"')
    folder, file = find("keras-3.15", "nested.keras")
    with pytest.raises(ModelFileError, match="no arrays for its part 'nrom'") as caught:
        load(folder, file, layers=[own])
    assert "norm/0 (5,)" in str(caught.value)


def test_names_that_a_file_does_not_keep_are_told(tmp_path):
    own = changed(tmp_path, 'call.weights["0"].reshape', 'call.weights["slope"].reshape')
    load(*find("keras-3.15", "single.h5"), layers=[own])
    with pytest.raises(ConverterError, match=r"slope: the file holds .*conv/0 \(3, 3, 4, 4\)"):
        load(*find("keras-3.15", "single.keras"), layers=[own])


@pytest.mark.parametrize("name", ["wrapped.h5", "spectral.keras"])
def test_wrapped_classes_without_a_converter_are_named_with_a_stub(name, tmp_path):
    folder, file = find("keras-3.15", name)
    with pytest.raises(UnsupportedLayerError) as caught:
        load(folder, file)
    wanted = {"ScaleShift", "ConvBlock"} if "wrapped" in name else {"OwnConv"}
    assert {key for _, key in caught.value.layers} == wanted
    assert all(f'@segrt.keras_layer("{key}")' in caught.value.stub for key in wanted)
    if "wrapped" in name:
        assert '# config: {"filters": 3}' in caught.value.stub
        assert "# input: (None, 6, 5, 2)" in caught.value.stub
        assert "# weight: conv2d_1/kernel (3, 3, 2, 4)" in caught.value.stub


def test_a_class_inside_another_is_bound_by_name():
    folder, file = find("keras-3.15", "nested.keras")
    names = ("Outer", "ConvBlock", "ScaleShift")
    load(folder, file, layers=[f"{name}={CONVERTERS}" for name in names])
    with pytest.raises(UsageError, match="no layer of class OwnConv"):
        load(folder, file, layers=[f"{name}={CONVERTERS}" for name in (*names, "OwnConv")])
