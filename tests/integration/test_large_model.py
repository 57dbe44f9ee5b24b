"""The U-Net of 31 million parameters is converted quickly and in little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest

from helpers.keras_files import conv_layer, input_layer, layer, model_config

# Memory in units of the weights, on top of what a small network takes: the libraries' own differs
# from system to system.
SECONDS, COPIES = 5.0, 5
WIDTHS = (64, 128, 256, 512, 1024)

# Seconds of the processor, with imports and child processes: what else the machine does must not
# decide. `ru_maxrss` would count what the parent held when it forked; VmHWM starts anew with exec.
CONVERT = """
import os, sys
from segrt import convert
def peak():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024
convert(sys.argv[1], sys.argv[3])
before = peak()
convert(sys.argv[2], sys.argv[3])
print(sum(os.times()[:4]), peak() - before)
"""


def convert(small: Path, source: Path, target: Path) -> tuple[float, int]:
    """Convert both in a fresh process; return processor seconds and by how much the peak grew."""
    done = subprocess.run(
        [sys.executable, "-c", CONVERT, small, source, target],
        capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seconds, grown = done.stdout.split()
    return float(seconds), int(grown)


def unet_layers(widths):
    """Return the layers of the U-Net: two 3x3 convolutions a level, 2x2 after upsampling."""
    layers, skips = [input_layer("image", (None, 256, 256, 1))], []
    x = "image"

    def add(new):
        layers.append(new)
        return new["name"]

    def conv(x, filters, size, name, activation="relu"):
        kernel = [size, size]
        options = {"filters": filters, "kernel_size": kernel, "activation": activation}
        return add(conv_layer(name, [x], **options))

    for level, width in enumerate(widths):
        if level:
            x = add(layer("MaxPooling2D", f"pool{level}", {"pool_size": [2, 2]}, [x]))
        x = conv(x, width, 3, f"down{level}_a")
        x = conv(x, width, 3, f"down{level}_b")
        skips.append(x)
    for level, width in reversed(list(enumerate(widths[:-1]))):
        x = add(layer("UpSampling2D", f"up{level}", {"size": [2, 2]}, [x]))
        x = conv(x, width, 2, f"up{level}_conv")
        x = add(layer("Concatenate", f"skip{level}", {"axis": 3}, [skips[level], x]))
        x = conv(x, width, 3, f"up{level}_a")
        x = conv(x, width, 3, f"up{level}_b")
    x = conv(x, 2, 3, "last")
    conv(x, 1, 1, "mask", "sigmoid")
    return layers


def write_unet(path: Path, widths: tuple[int, ...]) -> int:
    """Write the U-Net with random weights as Keras writes it; return its number of parameters."""
    random, parameters = np.random.default_rng(0), 0
    layers = unet_layers(widths)
    channels = {"image": 1}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(model_config(layers, outputs=("mask",)))
        file.attrs["keras_version"], file.attrs["backend"] = "2.15.0", "tensorflow"
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = np.array([item["name"].encode() for item in layers])
        for item in layers:
            name, group = item["name"], root.create_group(item["name"])
            sources = [ref[0] for call in item["inbound_nodes"] for ref in call]
            channels.setdefault(name, sum(channels[source] for source in sources))
            names = []
            if item["class_name"] == "Conv2D":
                filters = item["config"]["filters"]
                kernel = (*item["config"]["kernel_size"], channels[sources[0]], filters)
                channels[name] = filters
                for role, shape in (("kernel", kernel), ("bias", (filters,))):
                    array = random.standard_normal(shape, np.float32) * np.float32(0.02)
                    group.create_dataset(f"{name}/{role}:0", data=array)
                    names.append(f"{name}/{role}:0".encode())
                    parameters += array.size
            group.attrs["weight_names"] = np.array(names, dtype="S32")
    return parameters


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads VmHWM from /proc")
def test_convert_is_quick_and_small(tmp_path):
    paths = small, source, target = [tmp_path / n for n in ("small.h5", "unet.h5", "unet.onnx")]
    write_unet(small, (4, 8))
    parameters = write_unet(source, WIDTHS)
    assert parameters == 31_031_685
    seconds, grown = convert(*paths)
    assert grown < COPIES * 4 * parameters
    for _ in range(2):  # a processor that others share is slower: the best of three
        if seconds >= SECONDS:
            seconds = min(seconds, convert(*paths)[0])
    assert seconds < SECONDS
    written = onnx.load(target)
    sizes = (np.prod(array.dims) for array in written.graph.initializer if array.data_type == 1)
    # Besides the weights there are a few scales of upsampling layers.
    assert 0 <= sum(sizes) - parameters < 100
