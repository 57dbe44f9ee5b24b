"""Weights in TensorRT's order: the same arrays, and SciPy computes Keras' result from them."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file
from scipy.signal import correlate

from segrt import api
from segrt.errors import UsageError
from segrt.graph.export_weights import collect_weights

GOLDENS = Path(__file__).parents[2] / "golden" / "data" / "keras-3.15"


def exported(name, folder):
    """Export a golden; returns arrays, their descriptions, and Keras' recording."""
    path = folder / "weights.safetensors"
    api.convert(GOLDENS / f"{name}.keras", path)
    with safe_open(path, "np") as file:
        descriptions = json.loads(file.metadata()["weights"])
    with np.load(GOLDENS / f"{name}.npz") as recording:
        return load_file(path), descriptions, dict(recording)


def convolve(image, kernel, bias, described):
    """Convolve one image C H W with O I H W by SciPy, as TensorRT's attributes say."""
    (top, left, bottom, right), groups = described["pads"], described["group"]
    padded = np.pad(image.astype(np.float64), ((0, 0), (top, bottom), (left, right)))
    outputs, depth, height, width = kernel.shape
    fy, fx = described["dilations"]
    spread = np.zeros((outputs, depth, (height - 1) * fy + 1, (width - 1) * fx + 1))
    spread[:, :, ::fy, ::fx] = kernel
    made = []
    for output in range(outputs):
        first = output // (outputs // groups) * depth
        made.append(correlate(padded[first : first + depth], spread[output], "valid")[0])
    sy, sx = described["strides"]
    return np.stack(made)[:, ::sy, ::sx] + bias[:, None, None]


def deconvolve(image, kernel, bias, described):
    """Scatter I O H W over the output, then cut the pads off."""
    (top, left, bottom, right), (sy, sx) = described["pads"], described["strides"]
    _, outputs, height, width = kernel.shape
    rows, columns = image.shape[1:]
    full = np.zeros((outputs, (rows - 1) * sy + height, (columns - 1) * sx + width))
    for y in range(rows):
        for x in range(columns):
            part = np.einsum("i,iohw->ohw", image[:, y, x].astype(np.float64), kernel)
            full[:, y * sy : y * sy + height, x * sx : x * sx + width] += part
    full = full[:, top : full.shape[1] - bottom, left : full.shape[2] - right]
    return full + bias[:, None, None]


CASES = [
    ("convolutions", "valid"), ("convolutions", "same_stride_2_3"), ("convolutions", "same_even"),
    ("convolutions", "dilated_same"), ("convolutions", "grouped"),
    ("convolutions", "grouped_fully"), ("transposed_convolutions", "same_2_2"),
    ("transposed_convolutions", "same_4_2"), ("transposed_convolutions", "same_5x3_1x2"),
    ("depthwise_convolutions", "depthwise"), ("depthwise_convolutions", "same_stride_2"),
    ("depthwise_convolutions", "dilated"),
]  # fmt: skip


@pytest.mark.parametrize(("golden", "layer"), CASES)
def test_scipy_computes_keras_result(golden, layer, tmp_path):
    arrays, descriptions, recording = exported(golden, tmp_path)
    role = "depthwise_kernel" if golden.startswith("depthwise") else "kernel"
    kernel, described = arrays[f"{layer}/{role}"], descriptions[f"{layer}/{role}"]
    transposed = golden.startswith("transposed")
    assert described["axes"] == ("I O H W" if transposed else "O I H W")
    outputs = kernel.shape[1 if transposed else 0]
    bias = arrays.get(f"{layer}/bias", np.zeros(outputs, np.float32))
    image = recording["input/image"][0].transpose(2, 0, 1)
    compute = deconvolve if transposed else convolve
    found = compute(image, kernel, bias, described)
    wanted = recording[f"output/{layer}"][0].transpose(2, 0, 1)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_a_wrong_order_would_be_noticed(tmp_path):
    arrays, descriptions, recording = exported("convolutions", tmp_path)
    image = recording["input/image"][0].transpose(2, 0, 1)
    kernel = arrays["valid/kernel"].transpose(0, 1, 3, 2)
    found = convolve(image, kernel, arrays["valid/bias"], descriptions["valid/kernel"])
    assert not np.allclose(found, recording["output/valid"][0].transpose(2, 0, 1), atol=1e-2)


def test_arrays_are_keras_transposed(tmp_path):
    arrays, _, _ = exported("unet_nearest", tmp_path)
    with h5py.File(GOLDENS / "unet_nearest.h5") as file:
        stored = {}
        file["model_weights"].visititems(
            lambda name, item: (
                stored.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        )
    compared = 0
    for name, array in arrays.items():
        layer, role = name.rsplit("/", 1)
        found = [a for path, a in stored.items() if path.startswith(f"{layer}/{layer}/{role}")]
        assert len(found) == 1, name
        wanted = found[0].transpose(3, 2, 0, 1) if found[0].ndim == 4 else found[0]
        np.testing.assert_array_equal(array, wanted)
        compared += 1
    assert compared == len(stored)


def test_hdf5_holds_the_same_with_attributes(tmp_path):
    source = GOLDENS / "convolutions.keras"
    api.convert(source, tmp_path / "weights.h5")
    model = api.convert(source, tmp_path / "weights.safetensors")
    arrays = load_file(tmp_path / "weights.safetensors")
    assert set(arrays) == {one.name for one in collect_weights(model)}
    with h5py.File(tmp_path / "weights.h5") as file:
        for name, array in arrays.items():
            np.testing.assert_array_equal(file[name][()], array)
        assert file.attrs["format"] == "segrt-weights-1"
        grouped = file["grouped/kernel"].attrs
        assert grouped["axes"] == "O I H W"
        assert grouped["group"] == 2
        assert list(file["same_even/kernel"].attrs["pads"]) == [1, 1, 2, 2]


def test_nested_and_shared_layers_keep_their_names(tmp_path):
    nested = collect_weights(api.load(GOLDENS / "nested.keras"))
    assert any(one.name.count("/") == 2 for one in nested)
    shared = collect_weights(api.load(GOLDENS / "shared.keras"))
    names = [one.name for one in shared]
    assert len(set(names)) == len(names)
    assert not any("@" in name for name in names)


def test_batch_norms_bring_their_epsilon():
    weights = {one.name: one for one in collect_weights(api.load(GOLDENS / "batch_norms.keras"))}
    epsilons = {
        one.description["epsilon"]
        for one in weights.values()
        if one.description["operator"] == "BatchNormalization"
    }
    assert sorted(epsilons) == [pytest.approx(1e-3)]


def test_other_names_are_onnx_and_passes_do_not_fit(tmp_path):
    source = GOLDENS / "unet_nearest.keras"
    with pytest.raises(UsageError, match="as they were trained"):
        api.convert(source, tmp_path / "w.safetensors", optimize=True)
    with pytest.raises(UsageError, match="no such folder"):
        api.convert(source, tmp_path / "missing" / "w.safetensors")
    assert list(tmp_path.iterdir()) == []
