"""Steps that one launch computes together, on the emulated GPU, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from helpers.emulated_engine import run
from helpers.quantised import ort_run
from helpers.tensorrt_graphs import unet
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower
from segrt.targets.cuda import LOWERINGS

pytest.importorskip("cuda.core", reason="cuda-core is not installed")
pytest.importorskip("onnxruntime.quantization", reason="onnxruntime is not installed")
OWN = {"wide_convolution": 1.0, "phase_wide": 1.0}
LIBRARY = {"wide_convolution": 500.0, "cudnn": 1.0}
BOUND = {"fp16": 1e-3, "bf16": 8e-3}


@pytest.fixture(scope="module")
def net() -> ir.Model:
    """A U-Net of 64, 128 and 128 channels."""
    model, _ = lower(unet((64, 128, 128), side=24), PassContext(LOWERINGS[0].upsampling_forms))
    return model


@pytest.fixture(scope="module")
def feeds(net) -> dict[str, np.ndarray]:
    value = net.graph.inputs[0]
    image = np.random.default_rng(3).random(tuple(value.shape.numpy()), dtype=np.float32)
    return {value.name or "": image}


def _launched(monkeypatch, net, feeds, precision: str, **settings) -> list[str]:
    ran = run(monkeypatch, net, feeds, precision, **settings)
    found, wanted = next(iter(ran.outputs.values())), ort_run(net, feeds)[0]
    assert np.linalg.norm(found - wanted) / np.linalg.norm(wanted) <= BOUND[precision]
    return ran.launched


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_pools_are_written_with_what_they_pool(monkeypatch, net, feeds, precision):
    launched = _launched(monkeypatch, net, feeds, precision, costs=OWN)
    assert launched[0] == "opening"
    assert "pooling" not in launched
    assert "first_convolution" not in launched
    assert {"wide_convolution", "phase_wide"} <= set(launched)


def test_a_library_that_is_faster_has_its_pools_behind_it(monkeypatch, net, feeds):
    launched = _launched(monkeypatch, net, feeds, "fp16", costs=LIBRARY)
    assert "wide_convolution" not in launched
    assert launched[launched.index("pooling") - 1] == "cudnn"


def test_other_generations_keep_their_steps(monkeypatch, net, feeds):
    launched = _launched(monkeypatch, net, feeds, "fp16", capability=(8, 6))
    assert launched[0] == "first_convolution"
    assert launched.count("pooling") == 2
    assert not {"opening", "wide_convolution"} & set(launched)
