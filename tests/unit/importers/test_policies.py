"""Dtype policies: quantized layers are refused by name, half precision is remarked on."""

import numpy as np
import pytest

from helpers import keras_files as kf
from segrt.errors import UnsupportedConfigError
from segrt.graph import metadata
from segrt.importers._base import import_model

# As Keras 3.15, Keras 3.4 and a layer with parts write them.
QUANTIZED = {
    "module": "keras.dtype_policies",
    "class_name": "QuantizedDTypePolicy",
    "config": {"mode": "int8", "source_name": "float32"},
    "registered_name": None,
}
MIXED = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "mixed_float16"}}
MAP = {
    "module": "keras.dtype_policies",
    "class_name": "DTypePolicyMap",
    "config": {"default_policy": MIXED, "policy_map": {"conv/kernel": QUANTIZED}},
}


def write(folder, dtype):
    layers = [kf.input_layer(), kf.conv_layer(dtype=dtype)]
    return kf.write_h5(folder / "m.h5", config=kf.model_config(layers), version="3.15.1")


@pytest.mark.parametrize("dtype", [QUANTIZED, "int8_from_float32", MAP], ids=["3.15", "3.4", "map"])
def test_quantized_layers_are_refused_by_name(tmp_path, dtype):
    with pytest.raises(UnsupportedConfigError, match=r"1 layer\(s\) are quantized: conv") as caught:
        import_model(write(tmp_path, dtype))
    assert "int8" in str(caught.value)


@pytest.mark.parametrize("dtype", [MIXED, "mixed_bfloat16"])
def test_half_precision_is_imported_in_single_precision_and_said(tmp_path, dtype):
    model = import_model(write(tmp_path, dtype))
    name = "mixed_float16" if dtype is MIXED else dtype
    assert any(f"computed in {name} when saved" in remark for remark in metadata.remarks(model))
    weights = [value.const_value.numpy() for value in model.graph.initializers.values()]
    assert all(array.dtype == np.float32 for array in weights if array.dtype.kind == "f")
