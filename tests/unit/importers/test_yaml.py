"""Architectures in YAML: what real Keras wrote, and what nobody should have to read."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

import segrt
from segrt.errors import ModelFileError, UnavailableError, UnsafeFileError

DATA = Path(__file__).parents[2] / "golden" / "data" / "yaml"
KERAS = ["keras-2.0.9", "keras-2.2.4", "tf.keras-1.15"]
needs_yaml = pytest.mark.skipif(
    importlib.util.find_spec("yaml") is None,
    reason="PyYAML is not installed: pip install 'segrt[yaml]'",
)


@needs_yaml
@pytest.mark.parametrize("keras", KERAS)
def test_weights_with_their_yaml_say_what_keras_said(keras):
    model = segrt.load(DATA / f"{keras}.h5", architecture=DATA / f"{keras}.yaml")
    with np.load(DATA / f"{keras}.npz") as content:
        image, answer = content["image"], content["answer"]
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    found = session.run(None, {"image": image})[0]
    assert np.linalg.norm(found - answer) / np.linalg.norm(answer) < 1e-6


def refused(tmp_path, text, error):
    path = tmp_path / "net.yaml"
    path.write_text(text)
    with pytest.raises(error) as caught:
        segrt.load(DATA / "keras-2.2.4.h5", architecture=path)
    return caught.value


@needs_yaml
@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system [touch {}]",
        "!!python/object/new:os.system [touch {}]",
        "!!python/name:os.system {}",
        "!!python/module:this {}",
        "!!python/object:subprocess.Popen {{args: 'touch {}'}}",
    ],
)
def test_tags_that_name_code_are_refused(tmp_path, tag):
    mark = tmp_path / "touched"
    error = refused(
        tmp_path,
        f"class_name: Model\nconfig: {tag.format(mark)}\n",
        (UnsafeFileError, ModelFileError),
    )
    assert "YAML" in str(error)
    assert not mark.exists()


@needs_yaml
def test_aliases_that_spell_out_to_everything_are_refused(tmp_path):
    rows = ["class_name: Model", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    error = refused(tmp_path, "\n".join(rows), UnsafeFileError)
    assert "spells out to more" in str(error)
    error = refused(tmp_path, "class_name: Model\nconfig: &a [*a]\n", UnsafeFileError)
    assert "spells out to more" in str(error)


@needs_yaml
@pytest.mark.parametrize(
    "text",
    [
        "class_name: [",
        "- class_name: x",
        "class_name: Model\nconfig: !!python/tuple 3",
        "class_name: Model\na: &a {x: y}\nconfig: {<<: *a}",
        "a\nclass_name: x",
    ],
)
def test_damaged_yaml_is_an_error_of_the_file(tmp_path, text):
    refused(tmp_path, text, ModelFileError)


def test_without_pyyaml_it_says_what_to_install(monkeypatch):
    def absent(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(UnavailableError, match="architecture in YAML") as caught:
        segrt.load(DATA / "keras-2.2.4.h5", architecture=DATA / "keras-2.2.4.yaml")
    assert "segrt[yaml]" in (caught.value.hint or "")
