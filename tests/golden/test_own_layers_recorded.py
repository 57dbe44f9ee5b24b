"""Recording and verifying a model with layers of somebody's own, by the verbs, with real Keras."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segrt
from segrt._optional import is_installed
from segrt.cli import _app, _errors

HERE = Path(__file__).parent
CONVERTERS = HERE / "own_converters.py"
# What `make_own_layers.py` defines inside a function, at the top of a file, as a user has it.
OBJECTS = f"""
import sys
import keras

sys.path.insert(0, {str(HERE)!r})
from make_own_layers import classes

own = classes(keras, keras.ops.relu)
for name, kind in vars(own).items():
    kind.__module__ = __name__
    globals()[name] = kind
"""
needs_keras_3 = pytest.mark.skipif(not is_installed("keras"), reason="Keras 3 is not installed")


@pytest.fixture
def package(tmp_path):
    model = HERE / "own" / "keras-3.15" / "single.keras"
    graph = segrt.load(model, layers=[CONVERTERS])
    return segrt.build(graph, target="onnxruntime", output=tmp_path / "own.segrt").path


def run(*words):
    return _errors.run(_app.group, [str(word) for word in words])


def test_a_package_is_verified_against_a_recording_without_bindings(package, tmp_path):
    """The package brings its imported graph: neither the source nor its converters are read."""
    recording = HERE / "own" / "keras-3.15" / "single.npz"
    assert run("verify", package, "--against", recording) == 0
    with np.load(recording) as content:
        arrays = {name: content[name] for name in content.files}
    arrays["layer/single"] = arrays["layer/single"] * np.float32(1.001)
    np.savez(tmp_path / "other.npz", **arrays)
    assert run("verify", package, "--against", tmp_path / "other.npz") == 1


@pytest.fixture
def objects(tmp_path):
    path = tmp_path / "my_layers.py"
    path.write_text(OBJECTS, "utf-8")
    return path


@needs_keras_3
@pytest.mark.filterwarnings("default")
def test_the_verbs_run_keras_with_the_users_classes(package, objects, tmp_path, capsys):
    model = HERE / "own" / "keras-3.15" / "single.keras"
    pixels = np.random.default_rng(3).integers(0, 256, (6, 5, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    made = tmp_path / "made.npz"
    words = ("record", model, "--images", tmp_path / "a.png", "-o", made)
    assert run(*words) != 0
    assert "--objects FILE.py" in capsys.readouterr().err
    assert run(*words, "--objects", objects) == 0
    assert run("verify", package, "--against", made) == 0
    file = tmp_path / "report.json"
    assert run("verify", package, "--against", model, "--objects", objects, "--json", file) == 0
    report = json.loads(file.read_text("utf-8"))
    assert "Keras 3" in report["reference"]
