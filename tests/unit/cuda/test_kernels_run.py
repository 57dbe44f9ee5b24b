"""Every kernel against its NumPy reference, on a GPU."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.kernel_memory import beside, numbers, poisoned, random_memory
from segrt.cuda.kernels._base import REGISTRY
from segrt.cuda.views import HOST_TYPES, View, encode

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


def _memory(gpu, buffer, view: View) -> np.ndarray:
    """Copy a view's whole span from the GPU."""
    staging, memory = gpu.pinned(view.span_bytes)
    buffer.copy_to(staging, stream=gpu.stream)
    gpu.stream.sync()
    result = memory.copy().view(HOST_TYPES[view.dtype])
    staging.close()
    return result.reshape(view.n, view.h, view.w, view.pitch)


@pytest.mark.gpu
@pytest.mark.parametrize(("kernel", "spec"), CASES)
def test_agrees_with_its_reference(gpu, kernel, spec):
    launch = kernel.launch(spec)
    if launch.specific and gpu.capability != kernel.capability:
        pytest.skip("made of instructions that this GPU does not have")
    images = [random_memory(view, seed) for seed, view in enumerate(spec.sources)]
    # A pooled image stands among the sources, and is written.
    pooled = getattr(spec, "pooled", None)
    if pooled is not None:
        images[1].view(np.uint8)[:] = 0xFF
    parameters = kernel.parameters(spec, 7)
    target = spec.target
    # Poison: NaN in every type of floating point; what is not written is found.
    poison = poisoned(target)
    buffers = [gpu.upload(array, "test") for array in (*images, *parameters, poison)]
    pointers = [int(buffer.handle) for buffer in buffers]
    for index, view in enumerate(spec.sources):
        pointers[index] += view.offset * view.item_bytes
    pointers[-1] += target.offset * target.item_bytes
    for m in launch.maps:
        made = gpu.tensor_map(spec.sources[m.source], pointers[m.source], m)
        buffers.insert(len(spec.sources), gpu.upload(made, "map"))
        pointers.insert(len(spec.sources), int(buffers[len(spec.sources)].handle))
    gpu.put(gpu.configuration(launch), gpu.kernel(launch), pointers)
    result = _memory(gpu, buffers[-1], target)
    found = numbers(result, target)
    wanted = kernel.reference(
        spec, [numbers(i, v) for i, v in zip(images, spec.sources, strict=True)], parameters
    )
    bound = BOUND[target.dtype]
    if target.dtype == "int8" or target.scale != 1:
        bound = BOUND["int8"]
        wanted = encode(wanted / target.scale, target.dtype) * target.scale
        assert np.abs(found - wanted).max() <= 1.001 * target.scale
    assert np.any(wanted), "all zero shows nothing"
    assert np.linalg.norm(found - wanted) <= bound * np.linalg.norm(wanted)
    # Nothing beside the slice was touched.
    assert np.all(beside(result, target) == 0xFF)
    if pooled is not None:
        windows = found.reshape(target.n, pooled.h, 2, pooled.w, 2, target.c)
        memory = _memory(gpu, buffers[1], pooled)
        assert np.array_equal(numbers(memory, pooled), windows.max(axis=(2, 4)))
        assert np.all(beside(memory, pooled) == 0xFF)
    for buffer in buffers:
        buffer.close(gpu.stream)
