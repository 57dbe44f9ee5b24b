"""What kernels share in which lanes of a warp look at a pixel's channels together."""

from __future__ import annotations

from collections.abc import Mapping

from segrt.cuda.kernels._base import THREADS, Launch, Spec, blocks_for
from segrt.cuda.kernels._prelude import PRELUDE, constants, setting

# A warp's lanes must all take part in the exchange: the last pixel is computed again. So a kernel
# writes only where a thread is not ``spare``.
LANE_PLACE = """
    u32 id = blockIdx.x * blockDim.x + threadIdx.x;
    u32 lane = id % LANES, pixel = id / LANES;
    bool spare = pixel >= TOTAL;
    if (spare) pixel = TOTAL - 1;
    const SRC_S* in = x + (u64)pixel * SRC_PITCH;
"""


def lanes_for(channels: int) -> int:
    """Return how many lanes share a pixel: a power of two, each with four channels or more."""
    lanes = 1
    while lanes < 32 and lanes * 4 < channels:
        lanes *= 2
    return lanes


def lane_launch(name: str, source: str, spec: Spec, settings: Mapping[str, int]) -> Launch:
    """Return the launch of lanes of a warp a pixel.

    Args:
        name: Of the kernel's function.
        source: CUDA C++ behind prelude, constants and settings.
        spec: What it is launched for.
        settings: Further constants.
    """
    view, total = spec.sources[0], spec.target.pixels
    lanes = lanes_for(view.c)
    head = constants("SRC", view) + constants("DST", spec.target)
    head += setting(total=total, lanes=lanes, **settings)
    return Launch(PRELUDE + head + source, name, blocks_for(total * lanes), THREADS)
