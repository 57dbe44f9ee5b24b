"""Kernels that use nothing special: their CUDA source, run on the CPU, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.cpu_kernels import COMPILER, run_on_cpu
from helpers.kernel_memory import beside, numbers, poisoned, random_memory
from segrt.cuda.kernels._base import REGISTRY
from segrt.cuda.views import encode

NAMES = (
    "strided", "reduce", "normalise", "product", "dot", "take", "scatter", "pool_places",
    "nearest", "bilinear", "pixel_shuffle", "pooling", "gather_pixels", "resample", "softmax",
    "argmax", "global_pooling", "group_statistics", "group_normalization", "direct_convolution",
    "first_convolution", "head", "pointwise", "layout", "gather_tiles", "blend_tiles",
    "slices", "volume_pooling",
)  # fmt: skip
CASES = [
    pytest.param(REGISTRY.find(name), index, id=f"{name}-{index}")
    for name in NAMES
    for index in range(len(REGISTRY.find(name).cases))
]
# Of int8 in units of its scale, where a number half way may be rounded otherwise.
BOUND = {"fp32": 2e-6, "fp16": 5e-4, "bf16": 4e-3, "uint8": 0.0, "int8": 1e-2}


@pytest.mark.skipif(COMPILER is None, reason="there is no g++ of GCC 12 or newer")
@pytest.mark.parametrize(("kernel", "case"), CASES)
def test_computes_its_reference(kernel, case):
    spec = kernel.cases[case]
    sources = [random_memory(view, seed, largest=2) for seed, view in enumerate(spec.sources)]
    parameters = list(kernel.parameters(spec, 7))
    target = spec.target
    memory = poisoned(target)
    starts = [m.reshape(-1)[v.offset :] for m, v in zip(sources, spec.sources, strict=True)]
    run_on_cpu(kernel, case, [*starts, *parameters, memory.reshape(-1)[target.offset :]])
    found = numbers(memory, target)
    images = [numbers(m, v) for m, v in zip(sources, spec.sources, strict=True)]
    wanted = kernel.reference(spec, images, parameters)
    integers = target.dtype == "int8" or target.scale != 1
    if integers:
        wanted = encode(wanted / target.scale, target.dtype) * target.scale
        assert np.abs(found - wanted).max() <= 1.001 * target.scale
    bound = BOUND["int8" if integers else target.dtype]
    assert np.linalg.norm(found - wanted) <= bound * np.linalg.norm(wanted)
    assert np.all(beside(memory, target) == 0xFF)
