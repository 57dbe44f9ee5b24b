"""Hand-written Keras files, so that damage can be planted where it is wanted."""

import io
import json
import zipfile
from pathlib import Path

import h5py
import numpy as np

KERNEL = np.arange(9 * 2, dtype=np.float32).reshape(3, 3, 1, 2) / 10
BIAS = np.array([0.5, -0.25], dtype=np.float32)


def node(*refs):
    return [[[name, 0, 0, {}] for name in refs]]


def layer(class_name, name, config, inputs=()):
    return {
        "class_name": class_name,
        "name": name,
        "config": {"name": name, **config},
        "inbound_nodes": node(*inputs) if inputs else [],
    }


def input_layer(name="image", shape=(None, 8, 6, 1)):
    return layer("InputLayer", name, {"batch_input_shape": list(shape), "dtype": "float32"})


def conv_layer(name="conv", inputs=("image",), **config):
    settings = {"filters": 2, "kernel_size": [3, 3], "strides": [1, 1], "padding": "same"}
    return layer("Conv2D", name, {**settings, "activation": "relu", **config}, inputs)


def model_config(layers=None, inputs=("image",), outputs=("conv",), class_name="Functional"):
    return {
        "class_name": class_name,
        "config": {
            "name": "net",
            "layers": layers if layers is not None else [input_layer(), conv_layer()],
            "input_layers": [[name, 0, 0] for name in inputs],
            "output_layers": [[name, 0, 0] for name in outputs],
        },
    }


def write_h5(path: Path, config=None, weights=None, *, version="2.15.0", names=None) -> Path:
    """Write a full-model HDF5; ``weights`` maps layer name -> {weight name: array}."""
    weights = (
        {"conv": {"conv/kernel:0": KERNEL, "conv/bias:0": BIAS}} if weights is None else weights
    )
    with h5py.File(path, "w") as file:
        text = config if isinstance(config, str | bytes) else json.dumps(config or model_config())
        file.attrs["model_config"] = text
        file.attrs["keras_version"] = version
        file.attrs["backend"] = "tensorflow"
        write_weights(file.create_group("model_weights"), weights, names)
    return path


def write_weights(root, weights, names=None):
    root.attrs["layer_names"] = np.array([n.encode() for n in (names or weights)])
    for owner, arrays in weights.items():
        group = root.create_group(owner)
        group.attrs["weight_names"] = np.array([n.encode() for n in arrays], dtype="S64")
        for name, array in arrays.items():
            group.create_dataset(name, data=array)


def write_archive(path: Path, members=None, config=None) -> Path:
    """Write a ``.keras`` archive; ``members`` overrides or adds (None drops) members."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        holder = file.create_group("layers/conv2d/vars")
        holder.create_dataset("0", data=KERNEL)
        holder.create_dataset("1", data=BIAS)
    content = {
        "metadata.json": json.dumps({"keras_version": "3.5.0"}),
        "config.json": json.dumps(config or model_config()),
        "model.weights.h5": buffer.getvalue(),
    }
    content.update(members or {})
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            if data is not None:
                archive.writestr(name, data)
    return path
