"""Every kernel against its NumPy reference, on a GPU.

`tools/sanitize_kernels.py` puts the same cases through compute-sanitizer.
"""

from __future__ import annotations

import numpy as np
import pytest

from helpers.gpu_cases import run_case, runs_on
from helpers.kernel_memory import beside, numbers
from segrt.cuda.kernels._base import REGISTRY
from segrt.cuda.views import encode

CASES = [
    pytest.param(kernel, spec, id=f"{name}-{index}")
    for name, kernel in REGISTRY
    for index, spec in enumerate(kernel.cases)
]
# Relative L2: what rounding the result to the type explains, and float32 sums.
# For int8: in units of its scale, of results that the reference has rounded too.
BOUND = {"fp32": 2e-6, "fp16": 5e-4, "bf16": 4e-3, "uint8": 0.0, "int8": 1e-2}


@pytest.fixture(scope="module")
def gpu():
    from segrt.cuda.driver import Gpu

    opened = Gpu()
    yield opened
    opened.close()


@pytest.mark.gpu
@pytest.mark.parametrize(("kernel", "spec"), CASES)
def test_agrees_with_its_reference(gpu, kernel, spec):
    if not runs_on(gpu, kernel, kernel.launch(spec)):
        pytest.skip("made of instructions that this GPU does not have")
    ran, target = run_case(gpu, kernel, spec), spec.target
    found = numbers(ran.result, target)
    sources = [numbers(i, v) for i, v in zip(ran.images, spec.sources, strict=True)]
    wanted = kernel.reference(spec, sources, ran.parameters)
    bound = BOUND[target.dtype]
    if target.dtype == "int8" or target.scale != 1:
        bound = BOUND["int8"]
        wanted = encode(wanted / target.scale, target.dtype) * target.scale
        assert np.abs(found - wanted).max() <= 1.001 * target.scale
    assert np.any(wanted), "all zero shows nothing"
    assert np.linalg.norm(found - wanted) <= bound * np.linalg.norm(wanted)
    # Nothing beside the slice was touched.
    assert np.all(beside(ran.result, target) == 0xFF)
    if ran.pooled is not None:
        pooled = spec.pooled
        windows = found.reshape(target.n, pooled.h, 2, pooled.w, 2, target.c)
        assert np.array_equal(numbers(ran.pooled, pooled), windows.max(axis=(2, 4)))
        assert np.all(beside(ran.pooled, pooled) == 0xFF)
