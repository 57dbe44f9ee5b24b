"""Models split over GPUs by ``multi_gpu_model``, as three Keras left them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

import segrt
from segrt.errors import ModelFileError, UnsupportedLayerError
from segrt.graph import metadata

DATA = Path(__file__).parents[2] / "golden" / "data" / "multi_gpu"
WEIGHTS = ["keras-2.0.9", "keras-2.2.4"]
WHOLE = "tf.keras-1.15"


def load(keras):
    architecture = DATA / f"{keras}.json"
    return segrt.load(
        DATA / f"{keras}.h5", architecture=architecture if architecture.exists() else None
    )


@pytest.mark.parametrize("keras", [*WEIGHTS, WHOLE])
def test_the_network_inside_says_what_the_split_one_said(keras):
    model = load(keras)
    assert any("multi_gpu_model" in remark for remark in metadata.remarks(model))
    with np.load(DATA / f"{keras}.npz") as content:
        wanted = {name: content[name] for name in content.files}
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    feeds = {name: wanted[name] for name in ("image", "prior")}
    mask, edge = session.run(["mask", "edge"], feeds)
    for found, answer in ((mask, wanted["mask"]), (edge, wanted["edge"])):
        assert np.linalg.norm(found - answer) / np.linalg.norm(answer) < 1e-6
    # One image is no share of nothing, as it would be for the split model's first GPU.
    one = session.run(["mask"], {name: array[:1] for name, array in feeds.items()})[0]
    np.testing.assert_allclose(one, mask[:1], rtol=1e-6, atol=1e-6)


def edited(tmp_path, change):
    """Copy the whole split model with its configuration changed in place."""
    path = tmp_path / "split.h5"
    shutil.copy(DATA / f"{WHOLE}.h5", path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change({layer["name"]: layer for layer in config["config"]["layers"]}, config["config"])
        file.attrs["model_config"] = json.dumps(config)
    return path


def other_share(layers, _):
    layers["lambda"]["config"]["arguments"]["i"] = 1


def other_axis(layers, _):
    layers["mask"]["config"]["axis"] = 1


def swapped(layers, _):
    layers["mask"]["inbound_nodes"][0].reverse()


def one_output_less(_, config):
    config["output_layers"] = config["output_layers"][:1]


@pytest.mark.parametrize("change", [other_share, other_axis, swapped, one_output_less])
def test_what_only_looks_like_it_stays_as_it_is(tmp_path, change):
    with pytest.raises(UnsupportedLayerError, match="Lambda"):
        segrt.load(edited(tmp_path, change))


def test_weights_of_another_network_do_not_fit(tmp_path):
    path = tmp_path / "net.json"
    config = json.loads((DATA / "keras-2.2.4.json").read_text("utf-8"))
    layers = [one for one in config["config"]["layers"] if one["name"] != "edge"]
    config["config"]["layers"] = layers
    config["config"]["output_layers"] = config["config"]["output_layers"][:1]
    path.write_text(json.dumps(config))
    with pytest.raises(ModelFileError, match="does not match its weights"):
        segrt.load(DATA / "keras-2.2.4.h5", architecture=path)
