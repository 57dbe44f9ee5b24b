"""Every golden model's TensorRT network, read back and run on the CPU, says what Keras said."""

from __future__ import annotations

import pytest

from golden.test_goldens import in_source_layout, keras_outputs, report, run
from helpers.goldens import GOLDENS, Golden
from segrt.passes._base import REGISTRY, PassContext
from segrt.passes._pipeline import lower
from segrt.targets.trt._flavour import RTX
from segrt.targets.trt._target import LOWERING, extra_passes
from segrt.targets.trt.decompile import decompile
from segrt.targets.trt.network import write_network
from segrt.targets.trt.parser import parse_network
from segrt.types import Precision

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install .[rtx]")

# One file of every recording: the others hold the same model in other formats.
ONE_EACH = list({golden.recording: golden for golden in reversed(GOLDENS)}.values())[::-1]
LOWERED = ("keras-3.15", "known-keras-3.15", "known-tf.keras-2.12", "tf.keras-2.15")
CONTEXT = PassContext(LOWERING.upsampling_forms, extra_passes=extra_passes(RTX))


def check_layers(golden: Golden, route, disagreement) -> None:
    """Compare every layer of the network with Keras' recording."""
    imported = golden.read()
    for name in LOWERING.extra_passes:  # what TensorRT needs, not what pays
        step = REGISTRY.find(name)
        assert step is not None
        step(imported, CONTEXT)
    model = decompile(route(RTX, imported, Precision.FP32), imported)
    exposed, recorded = keras_outputs(model), golden.arrays("layer")
    missing = set(recorded) - set(exposed)
    assert not missing, f"layers without a tensor: {sorted(missing)}"
    results = run(model, golden.arrays("input"), "ORT_DISABLE_ALL")
    complaints = {}
    for name, array in recorded.items():
        onnx_name, axes = exposed[name]
        result = in_source_layout(results[onnx_name], axes)
        complaints[name] = disagreement(result, array, bound=golden.tolerance)
    report(complaints)


@pytest.mark.parametrize("golden", GOLDENS, ids=str)
def test_every_layer_of_the_written_network_equals_keras(golden, disagreement):
    check_layers(golden, write_network, disagreement)


@pytest.mark.parametrize("golden", ONE_EACH, ids=str)
def test_every_layer_of_the_parsed_network_equals_keras(golden, disagreement):
    check_layers(golden, parse_network, disagreement)


@pytest.mark.parametrize(
    "golden", [golden for golden in ONE_EACH if golden.folder.name in LOWERED], ids=str
)
def test_the_lowered_network_equals_keras(golden, disagreement):
    lowered, _ = lower(golden.read(), CONTEXT)
    outputs = run(
        decompile(write_network(RTX, lowered, Precision.FP32), lowered),
        golden.arrays("input"),
        "ORT_DISABLE_ALL",
    )
    recorded = golden.arrays("output")
    report(
        {
            name: disagreement(outputs[name], array, bound=golden.tolerance)
            for name, array in recorded.items()
        }
    )
