"""Keras 3 operations (`x + 1`, `keras.ops.concatenate`) are told from layers of the same class."""

import pytest

from helpers import keras_files as kf
from segrt.errors import UnsupportedLayerError
from segrt.importers._base import import_model


def keras3_call(*arguments):
    tensors = [
        {"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}}
        if isinstance(name, str)
        else name
        for name in arguments
    ]
    return [{"args": tensors, "kwargs": {}}]


def operation(class_name, name, config, *arguments):
    return {
        "module": "keras.src.ops.numpy",
        "class_name": class_name,
        "config": {"name": name, **config},
        "registered_name": class_name,
        "name": name,
        "inbound_nodes": keras3_call(*arguments),
    }


def write(folder, *entries):
    first = {**kf.conv_layer(), "module": "keras.layers", "inbound_nodes": keras3_call("image")}
    config = kf.model_config([kf.input_layer(), first, *entries], outputs=(entries[-1]["name"],))
    return kf.write_h5(folder / "m.h5", config=config, version="3.15.1")


def test_all_operations_are_listed(tmp_path):
    path = write(
        tmp_path,
        operation("Add", "add", {}, "conv", 1.0),
        operation("Multiply", "multiply", {}, "conv", "add"),
    )
    with pytest.raises(UnsupportedLayerError, match="operations, not layers") as caught:
        import_model(path)
    assert caught.value.layers == [("add", "keras.ops>Add"), ("multiply", "keras.ops>Multiply")]


def test_an_operation_never_gets_a_layers_defaults(tmp_path):
    """`ops.concatenate` without an axis joins the batch; the layer would join channels."""
    with pytest.raises(UnsupportedLayerError, match="Concatenate"):
        import_model(write(tmp_path, operation("Concatenate", "join", {}, "conv", "conv")))


def test_hdf5_has_no_modules(tmp_path):
    entry = operation("Add", "add", {}, "conv", 1.0)
    del entry["module"], entry["registered_name"]
    with pytest.raises(UnsupportedLayerError) as caught:
        import_model(write(tmp_path, entry))
    assert caught.value.layers == [("add", "keras.ops>Add")]


@pytest.mark.parametrize("module", ["keras.layers", None])
def test_the_layer_of_the_same_class_is_converted(module, tmp_path):
    settings = {} if module else {"trainable": True, "dtype": "float32"}
    entry = {**operation("Add", "add", settings), "module": module, "registered_name": None}
    entry["inbound_nodes"] = [{"args": [keras3_call("conv", "conv")[0]["args"]], "kwargs": {}}]
    model = import_model(write(tmp_path, entry))
    assert [value.name for value in model.graph.outputs] == ["add"]
