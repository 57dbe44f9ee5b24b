"""The CUDA engine's whole walk without a GPU, against recordings of real Keras."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.cuda_goldens import one_of_each
from helpers.emulated_engine import run
from helpers.goldens import Golden
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower
from segrt.targets.cuda import LOWERINGS

pytest.importorskip("cuda.core", reason="cuda-core is not installed")
BOUNDS = {"fp32": 1e-5, "fp16": 5e-3, "bf16": 4e-2}
CONTEXT = PassContext(LOWERINGS[-1].upsampling_forms, extra_passes=LOWERINGS[-1].extra_passes)

CASES = [("fp32", golden) for golden in one_of_each()]
CASES += [
    (half, golden)
    for half in ("fp16", "bf16")
    for golden in one_of_each()
    if "unet" in golden.name or "attention" in golden.name
]


@pytest.mark.parametrize(("precision", "golden"), CASES, ids=[f"{p}-{g}" for p, g in CASES])
def test_agrees_with_keras(monkeypatch, golden: Golden, precision: str):
    feeds, wanted = golden.arrays("input"), golden.arrays("output")
    lowered, _ = lower(golden.read(), CONTEXT)
    found = run(monkeypatch, lowered, feeds, precision, memory=1 << 26).outputs
    for name, array in wanted.items():
        error = np.linalg.norm(found[name] - array) / np.linalg.norm(array)
        assert error <= BOUNDS[precision], name
