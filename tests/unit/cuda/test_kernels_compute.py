"""Kernels that use nothing special: their CUDA source, run on the CPU, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.cpu_kernels import COMPILER, run_on_cpu
from segrt.cuda.kernels._base import REGISTRY
from segrt.cuda.views import HOST_TYPES, View, decode, encode

NAMES = (
    "strided", "reduce", "normalise", "product", "dot", "take", "scatter", "pool_places",
    "nearest", "bilinear", "pixel_shuffle", "pooling", "gather_pixels", "resample", "softmax",
    "argmax", "global_pooling", "group_statistics", "group_normalization", "direct_convolution",
    "first_convolution", "head", "pointwise", "layout", "gather_tiles", "blend_tiles",
)  # fmt: skip
CASES = [
    pytest.param(REGISTRY.find(name), index, id=f"{name}-{index}")
    for name in NAMES
    for index in range(len(REGISTRY.find(name).cases))
]
# Of int8 in units of its scale, where a number half way may be rounded otherwise.
BOUND = {"fp32": 2e-6, "fp16": 5e-4, "bf16": 4e-3, "int8": 1e-2}


def _memory(view: View, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = (view.n, view.h, view.w, view.pitch)
    if view.dtype == "uint8":
        return rng.integers(0, 3, shape, np.uint8)
    if view.dtype == "int8":
        return rng.integers(-128, 128, shape, np.int8)
    return encode(rng.normal(size=shape), view.dtype)


def _inside(memory: np.ndarray, view: View) -> np.ndarray:
    part = np.ascontiguousarray(memory[..., view.offset : view.offset + view.c])
    return decode(part, view.dtype).astype(np.float64) * view.scale


@pytest.mark.skipif(COMPILER is None, reason="there is no g++ of GCC 12 or newer")
@pytest.mark.parametrize(("kernel", "case"), CASES)
def test_computes_its_reference(kernel, case):
    spec = kernel.cases[case]
    sources = [_memory(view, seed) for seed, view in enumerate(spec.sources)]
    parameters = list(kernel.parameters(spec, 7))
    target = spec.target
    result = np.full((target.n, target.h, target.w, target.pitch * target.item_bytes), 0xFF, "u1")
    starts = [m.reshape(-1)[v.offset :] for m, v in zip(sources, spec.sources, strict=True)]
    written = result.reshape(-1)[target.offset * target.item_bytes :]
    run_on_cpu(kernel, case, [*starts, *parameters, written])
    memory = result.view(HOST_TYPES[target.dtype])
    found = _inside(memory, target)
    images = [_inside(m, v) for m, v in zip(sources, spec.sources, strict=True)]
    wanted = kernel.reference(spec, images, parameters)
    if target.dtype == "int8":
        wanted = encode(wanted / target.scale, "int8") * target.scale
        assert np.abs(found - wanted).max() <= 1.001 * target.scale
    if target.dtype == "uint8":
        np.testing.assert_array_equal(found, wanted)
    else:
        assert np.linalg.norm(found - wanted) <= BOUND[target.dtype] * np.linalg.norm(wanted)
    outside = np.delete(memory, np.s_[target.offset : target.offset + target.c], axis=3)
    assert np.all(np.ascontiguousarray(outside).view(np.uint8) == 0xFF)
