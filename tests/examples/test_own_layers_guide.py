"""The guide's converter works as it is printed."""

import re

import numpy as np
import onnx_ir as ir

import segrt
from helpers import keras_files as kf
from helpers.layer_calls import run_onnxruntime
from policy._source import ROOT

FACTOR = np.array([2.0, -1.0, 0.5], dtype=np.float32)


def test_own_layers(tmp_path):
    text = (ROOT / "docs" / "guides" / "own_layers.md").read_text("utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    own = tmp_path / "my_converters.py"
    own.write_text(code, "utf-8")
    gate = kf.layer("Gate", "gate", {}, ("x0",))
    model = kf.write_h5(
        tmp_path / "m.h5",
        config=kf.model_config(
            [kf.input_layer("x0", (None, 4, 5, 3)), gate], inputs=("x0",), outputs=("gate",)
        ),
        weights={"gate": {"gate/factor:0": FACTOR}},
    )
    image = np.random.default_rng(1).normal(size=(2, 4, 5, 3)).astype(np.float32)
    result = run_onnxruntime(ir.to_proto(segrt.load(model, layers=[own])), [image])
    np.testing.assert_allclose(result, image * FACTOR, rtol=1e-6)
