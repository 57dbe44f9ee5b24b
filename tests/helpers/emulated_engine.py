"""Build and run the CUDA engine on the emulated GPU."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from helpers.cuda_emulator import EmulatedGpu
from helpers.cudnn_emulator import EmulatedLibrary
from helpers.residual_nets import Net, check, feeds_for, ort_outputs
from segrt.cuda.engine import Engine
from segrt.graph.fix_shapes import fix_shapes
from segrt.types import Precision


@dataclass(frozen=True)
class Ran:
    """What came of a run.

    Attributes:
        outputs: By name.
        launched: Names of kernels, ``cudnn`` for its plans, in order.
    """

    outputs: dict[str, np.ndarray]
    launched: list[str]


def run(
    monkeypatch: pytest.MonkeyPatch,
    model: ir.Model,
    feeds: Mapping[str, np.ndarray],
    precision: str = "fp32",
    *,
    costs: dict[str, float] | None = None,
    capability: tuple[int, int] = (9, 0),
    memory: int = 1 << 28,
    library: type[EmulatedLibrary] = EmulatedLibrary,
    referee: bool = False,
) -> Ran:
    """Plan a lowered graph for these feeds and run it twice; both must say the same.

    With a referee, each way to compute an operation is run and checked before it is chosen.
    """
    # Nothing is remembered from one run to the next.
    monkeypatch.setenv("SEGRT_CACHE", f"{os.devnull}/none")
    fixed = fix_shapes(model, {name: array.shape for name, array in feeds.items()})
    gpu = EmulatedGpu(monkeypatch, costs, capability, memory, trials=referee)
    engine = Engine(fixed, Precision(precision), gpu, library(gpu))  # type: ignore[arg-type]
    gpu.tuning = False
    arrays = [feeds[value.name or ""] for value in fixed.graph.inputs]
    first = engine.run(arrays)
    launched = list(gpu.launched)
    again = engine.run(arrays)
    names = [value.name or "" for value in fixed.graph.outputs]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    engine.close()
    return Ran(dict(zip(names, first, strict=True)), launched)


# Relative L2, by precision.
BOUNDS = {"fp32": 2e-6, "fp16": 2e-3, "bf16": 1.5e-2}


def compare(
    monkeypatch: pytest.MonkeyPatch, net: Net, outputs: list[str], precision: str, **options: Any
) -> Ran:
    """Run a network, compare it with ONNX Runtime, and return what was run."""
    model, feeds = net.model(*outputs), feeds_for(net.shape)
    ran = run(
        monkeypatch, ir.serde.deserialize_model(model), feeds, precision, memory=1 << 25, **options
    )
    check(ran.outputs, ort_outputs(model, feeds), BOUNDS[precision])
    return ran
