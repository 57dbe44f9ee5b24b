"""What lies in a file is listed as h5py sees it, whatever the layers are."""

import io
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from helpers import keras_files
from segrt import api
from segrt.errors import ModelFileError, UnsafeFileError, UnsupportedLayerError

GOLDENS = Path(__file__).parents[2] / "golden" / "data"


def seen_by_h5py(source):
    groups, arrays = [], {}

    def visit(name, item):
        if isinstance(item, h5py.Group):
            groups.append(f"/{name}")
        else:
            arrays[f"/{name}"] = (item.shape, str(item.dtype))

    with h5py.File(source) as file:
        file.visititems(visit)
    return groups, arrays


@pytest.mark.parametrize(
    "name",
    [
        "keras-2.0.9/nested.h5", "keras-3.15/chunked_attributes.h5", "keras-3.15/shared.weights.h5",
        "tf.keras-2.12/unet_transpose.keras", "keras-3.0/convolutions.keras",
    ],
)  # fmt: skip
def test_as_h5py_sees_it(name):
    path = GOLDENS / name
    source: object = path
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            source = io.BytesIO(archive.read("model.weights.h5"))
    groups, arrays = seen_by_h5py(source)
    listing = api.list_weights(path)
    assert sorted(listing.groups) == sorted(groups)
    assert {one.path: (one.shape, one.dtype) for one in listing.arrays} == arrays
    assert arrays


@pytest.mark.parametrize(
    ("name", "array", "axes"),
    [
        ("keras-2.0.9/unet_transpose.h5", "Conv2DTranspose", "H W O I"),
        ("keras-3.15/convolutions.h5", "Conv2D", "H W I O"),
        ("keras-3.15/depthwise_convolutions.h5", "DepthwiseConv2D", "H W I M"),
        ("keras-3.15/transposed_convolutions.keras", "Conv2DTranspose", "H W O I"),
    ],
)
def test_axes_follow_from_the_class(name, array, axes):
    listing = api.list_weights(GOLDENS / name)
    kernels = [one for one in listing.arrays if one.class_name == array and len(one.shape) == 4]
    assert kernels
    assert {one.layout for one in kernels} == {axes}


def test_axes_follow_from_the_group_where_no_class_is_written():
    listing = api.list_weights(GOLDENS / "keras-3.0" / "transposed_convolutions.keras")
    kernels = [one for one in listing.arrays if len(one.shape) == 4]
    assert kernels
    assert {one.layout for one in kernels} == {"H W O I"}


def test_files_that_cannot_be_imported_are_listed(tmp_path):
    layers = [
        keras_files.input_layer(),
        keras_files.conv_layer(),
        keras_files.layer("Lambda", "code", {"function": ["bytes", None, None]}, ["conv"]),
        keras_files.layer("Custom>Strange", "strange", {}, ["code"]),
    ]
    config = keras_files.model_config(layers, outputs=("strange",))
    weights = {
        "conv": {"conv/kernel:0": keras_files.KERNEL, "conv/bias:0": keras_files.BIAS},
        "strange": {"strange/table:0": np.zeros((5, 7), np.float16)},
    }
    path = keras_files.write_h5(tmp_path / "lambda.h5", config, weights)
    with pytest.raises(UnsupportedLayerError):
        api.load(path)
    found = {one.path: one for one in api.list_weights(path).arrays}
    kernel = found["/model_weights/conv/conv/kernel:0"]
    assert (kernel.layer, kernel.class_name, kernel.layout) == ("conv", "Conv2D", "H W I O")
    table = found["/model_weights/strange/strange/table:0"]
    assert (table.class_name, table.layout, table.dtype) == ("Strange", "", "float16")


def test_what_is_no_such_file_is_refused(tmp_path):
    text = tmp_path / "a.txt"
    text.write_text("no model")
    with pytest.raises(ModelFileError, match="no Keras weights"):
        api.list_weights(text)
    with pytest.raises(ModelFileError, match="no such model file"):
        api.list_weights(tmp_path / "missing.h5")
    broken = tmp_path / "broken.keras"
    broken.write_bytes((GOLDENS / "keras-3.15" / "unet_nearest.keras").read_bytes()[:3000])
    with pytest.raises(ModelFileError, match="damaged"):
        api.list_weights(broken)


def test_links_out_of_the_file_are_refused(tmp_path):
    path = keras_files.write_h5(tmp_path / "link.h5")
    with h5py.File(path, "a") as file:
        file["model_weights/out"] = h5py.ExternalLink("other.h5", "/x")
    with pytest.raises(UnsafeFileError, match="link"):
        api.list_weights(path)
