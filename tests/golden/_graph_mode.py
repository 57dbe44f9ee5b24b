"""Records a model of TensorFlow 1 (Keras 2.0 to 2.3, tf.keras 1.x), where tensors need a session.

The same names and file as `segrt record`, in Python 3.7's language: that is all those Keras run on.
"""

# The oldest Keras needs Python 3.7, so this is written in its language.
# ruff: noqa: B905, BLE001, PTH100, PTH103, PTH107, PTH110, PTH118, PTH120, PTH123
# ruff: noqa: RUF005, RUF100, SIM905, T201, UP031

import json
import os

import numpy as np


def flatten(structure):
    """Return a list for a list or a single thing."""
    return list(structure) if isinstance(structure, (list, tuple)) else [structure]


def record_graph_mode(kit, model, inputs, path, meta):
    """Write the recording of ``model`` for ``inputs`` (a list of arrays) to ``path``."""
    described = {
        "format": 1,
        "keras_version": kit.keras.__version__,
        "backend": kit.keras.backend.backend(),
        "model_name": model.name,
    }
    described.update(meta)
    entries = {"meta": np.array(json.dumps(described, sort_keys=True))}
    names = [tensor._keras_history[0].name for tensor in model.inputs]
    entries.update(("input/" + name, array) for name, array in zip(names, inputs))
    layers = walk(kit, model, inputs, "")
    entries.update(("layer/" + name, array) for name, array in layers.items())
    results = flatten(model.predict(inputs if len(inputs) > 1 else inputs[0]))
    named = output_names(kit, model)
    for name, array in zip(named, results):
        # What the layers give one by one must be what the model says as a whole.
        np.testing.assert_allclose(layers[name], array, rtol=1e-4, atol=1e-5)
        entries["output/" + name] = array
    np.savez_compressed(path, **entries)
    assert os.path.exists(path)


def output_names(kit, model):
    """Return the value name of each output."""
    if isinstance(model, kit.Sequential):
        return [model.layers[-1].name]
    tensors = {}
    for name, node in calls(model):
        for index, tensor in enumerate(flatten(node_outputs(node))):
            tensors[id(tensor)] = "%s#%d" % (name, index) if index else name
    return [tensors[id(tensor)] for tensor in model.outputs]


def node_outputs(node):
    """Return a node's outputs: a list in Keras, a structure in tf.keras."""
    return node.output_tensors


def calls(model):
    """Yield (value name, node) of every layer call of a functional model, inputs left out."""
    by_depth = model._nodes_by_depth if hasattr(model, "_nodes_by_depth") else model.nodes_by_depth
    members = {id(node) for nodes in by_depth.values() for node in nodes}
    for depth in sorted(by_depth, reverse=True):
        for node in by_depth[depth]:
            layer = node.outbound_layer
            if type(layer).__name__ == "InputLayer":
                continue
            nodes = getattr(layer, "_inbound_nodes", None) or layer.inbound_nodes
            own = [other for other in nodes if id(other) in members]
            index = [id(other) for other in own].index(id(node))
            yield ("%s@%d" % (layer.name, index) if index else layer.name), node


def walk(kit, model, inputs, prefix):
    """Return value name -> array for all layer calls; nested models are run on their own."""
    if not hasattr(model, "_nodes_by_depth") and not hasattr(model, "nodes_by_depth"):
        model.build()  # the Sequential of Keras 2.0 keeps a functional model inside
        model = model.model
    feeds = list(model.inputs) + [kit.keras.backend.learning_phase()]
    found = list(calls(model))
    wanted = [tensor for _, node in found for tensor in flatten(node_outputs(node))]
    # A placeholder cannot be fetched through K.function, an identity of it can.
    run = kit.keras.backend.function(feeds, wanted)
    arrays = iter(run(list(inputs) + [0]))
    values = {id(tensor): array for tensor, array in zip(model.inputs, inputs)}
    entries = {}
    for name, node in found:
        for index, tensor in enumerate(flatten(node_outputs(node))):
            values[id(tensor)] = next(arrays)
            full = prefix + ("%s#%d" % (name, index) if index else name)
            entries[full] = np.asarray(values[id(tensor)], dtype="float32")
        layer = node.outbound_layer
        if isinstance(layer, kit.Model):
            given = [values[id(tensor)] for tensor in flatten(node.input_tensors)]
            entries.update(walk(kit, layer, given, prefix + name + "/"))
    return entries
