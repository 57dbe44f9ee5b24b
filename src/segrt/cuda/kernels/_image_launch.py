"""What kernels with one thread a pixel and vector of channels share: the launch, and its places."""

from __future__ import annotations

from collections.abc import Mapping

from segrt.cuda.kernels._base import THREADS, Launch, Spec, blocks_for
from segrt.cuda.kernels._prelude import PRELUDE, constants, setting
from segrt.cuda.views import View


def place_of_thread(prefix: str) -> str:
    """Return the CUDA lines that every such kernel begins with.

    They define ``group`` (which vector of channels), ``pixel`` (of the whole batch), and where that
    is: ``n``, ``py`` and ``px``.

    Args:
        prefix: ``DST`` or ``SRC``: whose pixels are counted.
    """
    return f"""
    u32 id = blockIdx.x * blockDim.x + threadIdx.x;
    if (id >= TOTAL) return;
    u32 group = id % ({prefix}_C / V), pixel = id / ({prefix}_C / V);
    int px = pixel % {prefix}_W, line = pixel / {prefix}_W;
    int py = line % {prefix}_H, n = line / {prefix}_H;
"""


TARGET_PLACE, SOURCE_PLACE = place_of_thread("DST"), place_of_thread("SRC")


def image_launch(
    name: str,
    source: str,
    spec: Spec,
    width: int,
    settings: Mapping[str, int],
    *,
    over: View | None = None,
) -> Launch:
    """Return the launch of one thread a pixel and vector of channels.

    Args:
        name: Of the kernel's function.
        source: CUDA C++ behind prelude, constants and settings.
        spec: What it is launched for; its views are known as ``SRC``, ``SRC2`` ... and ``DST``.
        width: Channels of a vector, ``V``.
        settings: Further constants.
        over: Whose pixels and channels the threads are counted over; the target's if None.
    """
    counted = spec.target if over is None else over
    total = counted.pixels * counted.c // width
    head = constants("DST", spec.target)
    for index, view in enumerate(spec.sources):
        head += constants(f"SRC{index + 1}" if index else "SRC", view)
    head += setting(v=width, total=total, **settings)
    return Launch(PRELUDE + head + source, name, blocks_for(total), THREADS)
