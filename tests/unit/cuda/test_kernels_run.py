"""Every kernel against its NumPy reference, on a GPU."""

from __future__ import annotations

import numpy as np
import pytest

from segrt.cuda.kernels._base import REGISTRY
from segrt.cuda.views import View, decode, encode

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


def _image(view: View, seed: int) -> np.ndarray:
    """Random memory for a view: the whole span, as the host encodes it."""
    rng = np.random.default_rng(seed)
    shape = (view.n, view.h, view.w, view.pitch)
    if view.dtype == "uint8":
        return rng.integers(0, 256, shape, np.uint8)
    if view.dtype == "int8":
        return rng.integers(-128, 128, shape, np.int8)
    return encode(rng.normal(size=shape), view.dtype)


def _slice(memory: np.ndarray, view: View) -> np.ndarray:
    part = memory[..., view.offset : view.offset + view.c]
    units = decode(np.ascontiguousarray(part), view.dtype).astype(np.float64)
    return units * view.scale


def _memory(gpu, buffer, view: View) -> np.ndarray:
    """Copy a view's whole span from the GPU."""
    staging, memory = gpu.pinned(view.span_bytes)
    buffer.copy_to(staging, stream=gpu.stream)
    gpu.stream.sync()
    types = {"fp32": np.float32, "fp16": np.float16, "bf16": np.uint16}
    types |= {"uint8": np.uint8, "int8": np.int8}
    result = memory.copy().view(types[view.dtype])
    staging.close()
    return result.reshape(view.n, view.h, view.w, view.pitch)


@pytest.mark.gpu
@pytest.mark.parametrize(("kernel", "spec"), CASES)
def test_agrees_with_its_reference(gpu, kernel, spec):
    launch = kernel.launch(spec)
    if launch.specific and gpu.capability != kernel.capability:
        pytest.skip("made of instructions that this GPU does not have")
    images = [_image(view, seed) for seed, view in enumerate(spec.sources)]
    # A pooled image stands among the sources, and is written.
    pooled = getattr(spec, "pooled", None)
    if pooled is not None:
        images[1].view(np.uint8)[:] = 0xFF
    parameters = kernel.parameters(spec, 7)
    target = spec.target
    # Poison: NaN in every type of floating point; what is not written is found.
    poison = np.full((target.n, target.h, target.w, target.pitch * target.item_bytes), 0xFF, "u1")
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
    found = _slice(result, target)
    wanted = kernel.reference(
        spec, [_slice(i, v) for i, v in zip(images, spec.sources, strict=True)], parameters
    )
    bound = BOUND[target.dtype]
    if target.dtype == "int8" or target.scale != 1:
        bound = BOUND["int8"]
        wanted = encode(wanted / target.scale, target.dtype) * target.scale
        assert np.abs(found - wanted).max() <= 1.001 * target.scale
    assert np.any(wanted), "all zero shows nothing"
    assert np.linalg.norm(found - wanted) <= bound * np.linalg.norm(wanted)
    # Nothing beside the slice was touched.
    outside = np.delete(result, np.s_[target.offset : target.offset + target.c], axis=3)
    assert np.all(outside.view(np.uint8) == 0xFF)
    if pooled is not None:
        windows = found.reshape(target.n, pooled.h, 2, pooled.w, 2, target.c)
        memory = _memory(gpu, buffers[1], pooled)
        assert np.array_equal(_slice(memory, pooled), windows.max(axis=(2, 4)))
        beside = np.delete(memory, np.s_[pooled.offset : pooled.offset + pooled.c], axis=3)
        assert np.all(beside.view(np.uint8) == 0xFF)
    for buffer in buffers:
        buffer.close(gpu.stream)
