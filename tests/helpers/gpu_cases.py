"""Run a kernel's case on a GPU, on random memory of exactly its size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from helpers.kernel_memory import poisoned, random_memory
from segrt.cuda.driver import Gpu
from segrt.cuda.kernels._base import Launch
from segrt.cuda.views import HOST_TYPES, View


@dataclass(frozen=True)
class Ran:
    """What came of a case.

    Attributes:
        images: Memory of the sources, before.
        parameters: Of the kernel.
        result: Memory of the target, after; what was not written is NaN or all ones.
        pooled: Likewise of the pooled image, if the kernel writes one.
    """

    images: Sequence[np.ndarray]
    parameters: Sequence[np.ndarray]
    result: np.ndarray
    pooled: np.ndarray | None


def runs_on(gpu: Gpu, kernel: Any, launch: Launch) -> bool:
    """Say whether a GPU has the instructions of a kernel."""
    if launch.specific:
        return bool(gpu.capability == kernel.capability)
    return bool(gpu.capability >= kernel.capability)


def run_case(gpu: Gpu, kernel: Any, spec: Any) -> Ran:
    """Run one of a kernel's specs once."""
    launch = kernel.launch(spec)
    images = [random_memory(view, seed) for seed, view in enumerate(spec.sources)]
    # A pooled image stands among the sources, and is written.
    pooled = getattr(spec, "pooled", None)
    if pooled is not None:
        images[1].view(np.uint8)[:] = 0xFF
    parameters = kernel.parameters(spec, 7)
    target = spec.target
    arrays = (*images, *parameters, poisoned(target))
    buffers = [gpu.upload(array, "test") for array in arrays]
    pointers = [int(buffer.handle) for buffer in buffers]
    for index, view in enumerate(spec.sources):
        pointers[index] += view.offset * view.item_bytes
    pointers[-1] += target.offset * target.item_bytes
    maps = [gpu.tensor_map(spec.sources[m.source], pointers[m.source], m) for m in launch.maps]
    count = len(spec.sources)
    buffers[count:count] = [gpu.upload(made, "map") for made in maps]
    pointers[count:count] = [int(buffer.handle) for buffer in buffers[count : count + len(maps)]]
    gpu.put(gpu.configuration(launch), gpu.kernel(launch), pointers)
    result = _memory(gpu, buffers[-1], target)
    other = None if pooled is None else _memory(gpu, buffers[1], pooled)
    for buffer in buffers:
        buffer.close(gpu.stream)
    return Ran(images, parameters, result, other)


def _memory(gpu: Gpu, buffer: Any, view: View) -> np.ndarray:
    """Copy a view's whole span from the GPU."""
    staging, memory = gpu.pinned(view.span_bytes)
    buffer.copy_to(staging, stream=gpu.stream)
    gpu.stream.sync()
    result = memory.copy().view(HOST_TYPES[view.dtype])
    staging.close()
    return result.reshape(view.n, view.h, view.w, view.pitch)
