"""Keras 3 counts the calls of a nested model from 0 in calls, and from 1 in the outputs."""

import pytest

from helpers import keras_files as kf
from segrt.importers._base import import_model


def called(layer, *calls):
    """Return a layer with Keras 3 calls, each on one (name, call) pair."""
    nodes = [
        {
            "args": [
                {"class_name": "__keras_tensor__", "config": {"keras_history": [name, call, 0]}}
            ],
            "kwargs": {},
        }
        for name, call in calls
    ]
    settings = {"trainable": True, "dtype": "float32"}
    return {**layer, "config": {**layer["config"], **settings}, "inbound_nodes": nodes}


def nested(class_name):
    image = kf.input_layer("inside")
    act = called(kf.layer("Activation", "act", {"activation": "relu"}), ("inside", 0))
    described = kf.model_config([image, act], ("inside",), ("act",), class_name)
    return {**described, "name": "inner", "config": {**described["config"], "name": "inner"}}


def write(folder, class_name, outputs):
    """Write ``inner(tanh(inner(image)))`` and ``after(inner(...))``."""
    layers = [
        kf.input_layer(),
        called(nested(class_name), ("image", 0), ("tanh", 0)),
        called(kf.layer("Activation", "tanh", {"activation": "tanh"}), ("inner", 0)),
        called(kf.layer("Activation", "after", {"activation": "elu"}), ("inner", 1)),
    ]
    config = kf.model_config(layers)
    config["config"]["output_layers"] = outputs
    return kf.write_h5(folder / "m.h5", config=config, weights={}, version="3.15.1")


@pytest.mark.parametrize(
    ("class_name", "outputs", "wanted"),
    [
        ("Functional", [["inner", 1, 0], ["inner", 2, 0]], ["inner", "inner@1"]),
        ("Functional", [["inner", 1, 0], ["after", 0, 0]], ["inner", "after"]),
        ("Functional", [["inner", 2, 0], ["tanh", 0, 0]], ["inner@1", "tanh"]),
        ("Sequential", [["inner", 1, 0], ["after", 0, 0]], ["inner@1", "after"]),
        ("Sequential", [["inner", 0, 0], ["inner", 1, 0]], ["inner", "inner@1"]),
    ],
)
def test_outputs_are_the_calls_that_keras_means(class_name, outputs, wanted, tmp_path):
    model = import_model(write(tmp_path, class_name, outputs))
    assert [value.name for value in model.graph.outputs] == wanted


def test_calls_count_from_zero(tmp_path):
    path = write(tmp_path, "Functional", [["inner", 2, 0], ["after", 0, 0]])
    values = {value.name: value for node in import_model(path).graph for value in node.outputs}

    def sources(name):
        producer = values[name].producer()
        return {name} | {n for v in producer.inputs if v.name in values for n in sources(v.name)}

    assert any(name.startswith("inner@1") for name in sources("after"))
    assert not any(name.startswith("inner@1") for name in sources("tanh") - {"tanh"})
