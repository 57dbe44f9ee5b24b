"""Networks of transposed convolutions, and what they are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx import ModelProto

from helpers.emulated_engine import Ran, run
from helpers.residual_nets import Net, check, ort_outputs
from segrt.graph.fix_shapes import fix_shapes
from segrt.targets._base import REGISTRY
from segrt.types import BuildOptions, Precision

BOUNDS = {"fp32": 2e-6, "fp16": 2e-3, "bf16": 1.6e-2}
GENERATIONS = [(9, 0), (8, 0)]
# What is as fast as one likes is chosen.
OWN = {"phase_wide": 1.0, "phase_convolution": 1.0}
LIBRARY = {"cudnn": 1.0, "phase_wide": 500.0, "phase_convolution": 500.0}


def turned(
    net: Net, value: str, kernel: Sequence[int], *, follow: str = "Relu", **attributes: Any
) -> str:
    """Add a transposed convolution I O y x of stride 2 with bias, and what follows it."""
    random = np.random.default_rng(4)
    weights = net.constant(random.normal(0, 2 / np.sqrt(kernel[0] * kernel[2]), kernel))
    outputs = kernel[1] * attributes.get("group", 1)
    bias = net.constant(random.normal(size=outputs))
    attributes.setdefault("strides", [2, 2])
    value = net.apply("ConvTranspose", value, weights, bias, **attributes)
    return net.apply(follow, value) if follow else value


def alone(
    shape: Sequence[int], kernel: Sequence[int], **settings: Any
) -> tuple[ModelProto, dict[str, np.ndarray]]:
    """Return a net of one transposed convolution and what follows, and what it is fed."""
    net = Net(tuple(shape))
    model = net.model(turned(net, "x", kernel, **settings))
    return model, {"x": np.random.default_rng(5).normal(size=shape).astype(np.float32)}


def agrees(monkeypatch, model, feeds, precision: str = "fp32", **settings: Any) -> Ran:
    """Run a net on the emulated GPU; it must agree with ONNX Runtime."""
    ran = run(monkeypatch, ir.serde.deserialize_model(model), feeds, precision, **settings)
    check(ran.outputs, ort_outputs(model, feeds), BOUNDS[precision])
    return ran


def fixed(model: ModelProto) -> ir.Model:
    """Return the graph with all its sizes."""
    return fix_shapes(ir.serde.deserialize_model(model), {})


def on_gpu(model: ModelProto, feeds: dict[str, np.ndarray], precision: str) -> None:
    """Run a net on a GPU; it must agree with ONNX Runtime."""
    target = REGISTRY.find("cuda")
    assert target is not None
    options = BuildOptions(precision=Precision(precision))
    with target.open_model(ir.serde.deserialize_model(model), options) as session:
        check(session.run(feeds), ort_outputs(model, feeds), 5 * BOUNDS[precision])
