"""`segrt inspect` on models of other exporters: suspicious upsampling, and --compare."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

import segrt
from segrt.cli import _app, _errors

DATA = Path(__file__).parents[2] / "golden" / "data" / "foreign"
EXPORT, KERAS = DATA / "keras2_free__tf2onnx13.onnx", DATA / "keras2_free.h5"


@pytest.fixture
def damaged(tmp_path):
    """The export with its nearest upsampling shifted."""
    proto = onnx.load(EXPORT)
    for node in proto.graph.node:
        for attribute in node.attribute:
            if attribute.s == b"tf_half_pixel_for_nn":
                attribute.s = b"half_pixel"
    path = tmp_path / "damaged.onnx"
    onnx.save(proto, path)
    return path


def inspect(capsys, *arguments):
    code = _errors.run(_app.group, ["inspect", *map(str, arguments)])
    return code, capsys.readouterr().out


def test_a_faithful_export_compares_equal(capsys):
    code, text = inspect(capsys, EXPORT, "--compare", KERAS)
    assert code == 0
    assert "the same:" in text


def test_a_damaged_export_is_named(capsys, damaged):
    code, text = inspect(capsys, damaged, "--compare", KERAS)
    assert code == 1
    assert "different, first at 'unet/up2/Resize': upsampling mode" in " ".join(text.split())


def test_the_comparison_as_json(capsys, damaged):
    code, text = inspect(capsys, damaged, "--compare", KERAS, "--json")
    report = json.loads(text)
    assert code == 1
    assert report["ok"] is False
    (row,) = [row for row in report["rows"] if row["damage"]]
    assert (row["layer"], row["layer_class"]) == ("up2", "UpSampling2D")
    assert row["shift"] == {"dy": 1.0, "dx": 1.0, "residual": row["shift"]["residual"]}


def test_shifted_upsampling_is_suspicious(capsys, damaged):
    code, text = inspect(capsys, damaged)
    assert code == 0
    assert "suspicious: unet/up2/Resize: nearest, half_pixel, floor" in " ".join(text.split())
    _, text = inspect(capsys, damaged, "--json")
    (finding,) = json.loads(text)["suspects"]
    assert finding["rule"] == "UPSAMPLING-SHIFTED-NEAREST"
    assert "-1" in finding["message"]


def test_nothing_is_suspicious_about_a_faithful_export(capsys):
    _, text = inspect(capsys, EXPORT)
    assert "suspicious" not in text
    assert "tf2onnx" in text
    _, text = inspect(capsys, EXPORT, "--json")
    assert json.loads(text)["suspects"] == []


def without_names(model, path):
    """Write a graph as an exporter does that numbers its nodes and values and knows no layers."""
    proto = segrt.convert(model, path) and onnx.load(path)
    del proto.metadata_props[:]
    graph, known = proto.graph, {}
    ends = {value.name for value in (*graph.input, *graph.output)}
    for node in graph.node:
        node.name = f"n{len(known)}"
        del node.metadata_props[:]
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name and name not in ends:
                    names[index] = known.setdefault(name, f"v{len(known)}")
    for weight in graph.initializer:
        weight.name = known[weight.name]
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        del value.metadata_props[:]
    onnx.save(proto, path)
    return path


@pytest.mark.parametrize("name", ["single.keras", "single.weights.h5"])
def test_the_keras_file_is_read_as_the_options_say(capsys, tmp_path, name):
    folder = Path(__file__).parents[2] / "golden" / "own" / "keras-3.15"
    own = folder.parents[1] / "own_converters.py"
    options = ["--layer", own]
    if "weights" in name:
        options += ["--architecture", folder / "single.json"]
    foreign = without_names(segrt.load(folder / "single.keras", layers=[own]), tmp_path / "f.onnx")
    code, _ = inspect(capsys, foreign, "--compare", folder / name)
    assert code != 0
    code, text = inspect(capsys, foreign, "--compare", folder / name, *options, "--json")
    report = json.loads(text)
    assert (code, report["ok"]) == (0, True)
    # Nodes are called n0, n1 ...: the layers' names come back by structure.
    layers = {row["layer"] for row in report["rows"]}
    assert {"before", "plain", "single"} <= layers
    assert all(row["node"].startswith("n") for row in report["rows"])
