"""Kernels with one error each, to see that the tools that look for errors see them."""

from __future__ import annotations

import numpy as np

from segrt.cuda.driver import Gpu
from segrt.cuda.kernels._base import Launch

COUNT = 250
HEAD = 'extern "C" __global__ void planted(const float* x, float* y) { int i = threadIdx.x; '
# By the tool that finds it.
BODIES = {
    # The element behind the last one.
    "memcheck": f"y[i] = x[i]; if (i == {COUNT - 1}) y[{COUNT}] = 1; }}",
    # Each thread reads what its neighbour in another warp writes, without waiting.
    "racecheck": "__shared__ float s[512]; s[i] = x[i]; y[i] = s[i ^ 32]; }",
    # Read before anything was put there.
    "initcheck": "y[i] += x[i]; }",
    # A thread of the first warp waits for others and does not count itself among them.
    "synccheck": "if (i < 32) { unsigned low = __ballot_sync(~0u, i < 16); "
    "if (i <= 16) { __syncwarp(low); y[i] = x[i]; } } }",
}


def run_planted(gpu: Gpu, tool: str) -> None:
    """Run the kernel whose error a tool finds."""
    launch = Launch(HEAD + BODIES[tool], "planted", 1, COUNT)
    source = gpu.upload(np.ones(COUNT, np.float32), "test")
    target = gpu.allocate(COUNT * 4, "test")
    pointers = [int(source.handle), int(target.handle)]
    gpu.put(gpu.configuration(launch), gpu.kernel(launch), pointers)
    gpu.stream.sync()
    for buffer in (source, target):
        buffer.close(gpu.stream)
