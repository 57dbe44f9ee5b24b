"""From any order of axes and type to N H W C in the engine's type, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from segrt.cuda.kernels._base import REGISTRY, THREADS, Floats, Launch, blocks_for
from segrt.cuda.kernels._prelude import PRELUDE, constants, setting
from segrt.cuda.views import View

_SOURCE = r"""
__device__ __forceinline__ u64 address(u32 n, u32 y, u32 x, u32 c, bool first, int pitch) {
    return first ? (((u64)n * SRC_C + c) * SRC_H + y) * SRC_W + x
                 : (((u64)n * SRC_H + y) * SRC_W + x) * pitch + c;
}
extern "C" __global__ void layout(const SRC_S* __restrict__ a, DST_S* __restrict__ b) {
    u32 id = blockIdx.x * blockDim.x + threadIdx.x;
    if (id >= TOTAL) return;
    u32 n, y, x, c;
    // Neighbouring threads write neighbouring elements.
    if (TARGET_FIRST) {
        x = id % SRC_W; u32 r = id / SRC_W; y = r % SRC_H; r /= SRC_H; c = r % SRC_C; n = r / SRC_C;
    } else {
        c = id % SRC_C; u32 r = id / SRC_C; x = r % SRC_W; r /= SRC_W; y = r % SRC_H; n = r / SRC_H;
    }
    b[address(n, y, x, c, TARGET_FIRST, DST_PITCH)] =
        DST_T::store(SRC_T::load(a[address(n, y, x, c, SOURCE_FIRST, SRC_PITCH)]));
}
"""


@dataclass(frozen=True, slots=True)
class LayoutSpec:
    """Copy with a change of type, of pitch, or between channels first and last.

    Attributes:
        source: Read; its pitch counts only where channels are last.
        target: Written; same sizes.
        source_first: The source lies N C H W.
        target_first: The target lies N C H W.
    """

    source: View
    target: View
    source_first: bool = False
    target_first: bool = False

    @property
    def sources(self) -> tuple[View, ...]:
        """The one image."""
        return (self.source,)


class Layout:
    """Kernel ``layout``."""

    name = "layout"
    capability = (7, 5)
    cases = (
        LayoutSpec(View(2, 5, 3, 4, "fp32"), View(2, 5, 3, 4, "fp16", 12, 4)),
        LayoutSpec(View(2, 5, 3, 4, "fp32"), View(2, 5, 3, 4, "fp16"), source_first=True),
        LayoutSpec(View(1, 5, 3, 4, "bf16", 9, 1), View(1, 5, 3, 4, "fp32"), target_first=True),
        LayoutSpec(View(1, 6, 2, 3, "uint8"), View(1, 6, 2, 3, "fp32")),
        LayoutSpec(View(1, 6, 2, 3, "fp32"), View(1, 6, 2, 3, "int8", scale=0.02)),
        LayoutSpec(View(3, 2, 1, 5, "int8", 8, 3, 0.5), View(3, 2, 1, 5, "bf16", 9, 4)),
        LayoutSpec(View(1, 1, 1, 5, "fp16"), View(1, 1, 1, 5, "fp32"), source_first=True),
    )  # fmt: skip

    def launch(self, spec: LayoutSpec, /) -> Launch:
        """Return source and geometry: one thread an element."""
        total = spec.source.pixels * spec.source.c
        head = constants("SRC", spec.source) + constants("DST", spec.target)
        head += setting(
            total=total,
            source_first=int(spec.source_first),
            target_first=int(spec.target_first),
        )
        return Launch(PRELUDE + head + _SOURCE, "layout", blocks_for(total), THREADS)

    def parameters(self, spec: LayoutSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return nothing."""
        return ()

    def reference(
        self, spec: LayoutSpec, images: Sequence[Floats], parameters: Sequence[npt.NDArray[Any]], /
    ) -> Floats:
        """Permute; the images come as they lie in memory."""
        image = images[0]
        if spec.source_first:
            s = spec.source
            image = image.reshape(s.n, s.c, s.h, s.w).transpose(0, 2, 3, 1)
        if spec.target_first:
            t = spec.target
            image = image.transpose(0, 3, 1, 2).reshape(t.n, t.h, t.w, t.c)
        return image


REGISTRY.register(Layout.name)(Layout())
