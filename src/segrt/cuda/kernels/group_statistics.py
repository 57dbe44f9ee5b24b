"""Mean and sum of squares of groups of channels, over pieces of every image.

The first half of a normalization by a sample's own statistics; `group_normalization` joins the
pieces and uses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._base import REGISTRY, THREADS, Floats, Launch
from segrt.cuda.kernels._limits import require
from segrt.cuda.kernels._prelude import PRELUDE, constants, setting
from segrt.cuda.views import View

# The piece is read twice, the second time from the cache: the squares of what differs from the
# mean, for the squares of the values themselves would cancel where the mean is large.
_SOURCE = r"""
__device__ __forceinline__ float total(float v, float* shared) {
#pragma unroll
    for (int k = 16; k; k /= 2) v += __shfl_xor_sync(~0u, v, k);
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = v;
    __syncthreads();
    float sum = 0.0f;
#pragma unroll
    for (int w = 0; w < 8; ++w) sum += shared[w];
    return sum;
}
extern "C" __global__ void group_statistics(const SRC_S* __restrict__ x, float* __restrict__ y) {
    constexpr int EACH = SRC_C / GROUPS, PIXELS = SRC_H * SRC_W;
    __shared__ float shared[8];
    int group = blockIdx.x % GROUPS, rest = blockIdx.x / GROUPS;
    int piece = rest % PIECES, n = rest / PIECES;
    int begin = (int)((u64)piece * PIXELS / PIECES);
    int end = (int)((u64)(piece + 1) * PIXELS / PIECES);
    const SRC_S* in = x + ((u64)n * PIXELS + begin) * SRC_PITCH + group * EACH;
    u32 count = (u32)(end - begin) * EACH;
    float sum = 0.0f;
    for (u32 i = threadIdx.x; i < count; i += 256)
        sum += SRC_T::load(in[(u64)(i / EACH) * SRC_PITCH + i % EACH]);
    float mean = total(sum, shared) / (float)count, squares = 0.0f;
    for (u32 i = threadIdx.x; i < count; i += 256) {
        float v = SRC_T::load(in[(u64)(i / EACH) * SRC_PITCH + i % EACH]) - mean;
        squares = fmaf(v, v, squares);
    }
    squares = total(squares, shared);
    if (threadIdx.x) return;
    float* out = y + ((u64)n * PIECES + piece) * 2 * GROUPS + group;
    out[0] = mean;
    out[GROUPS] = squares;
}
"""


@dataclass(frozen=True, slots=True)
class GroupStatisticsSpec:
    """Of each group of channels and piece of an image.

    Attributes:
        source: Read.
        target: Written, fp32: as many rows as pieces, one column; the channels are the groups'
            means, then their sums of squared differences from them.
    """

    source: View
    target: View

    @property
    def sources(self) -> tuple[View, ...]:
        """The one image."""
        return (self.source,)

    @property
    def groups(self) -> int:
        """How many groups of channels."""
        return self.target.c // 2


def statistics_view(source: View, groups: int) -> View:
    """Return a target: so many pieces that a GPU is filled and each is worth a block."""
    pixels, each = source.h * source.w, source.c // groups
    pieces = max(1, min(pixels, pixels * each // 2048, 512 // (source.n * groups), 64))
    return View(source.n, pieces, 1, 2 * groups, "fp32")


def ends_of_pieces(pixels: int, pieces: int) -> npt.NDArray[np.int64]:
    """Return where pieces of an image begin, and the last one's end."""
    return np.arange(pieces + 1) * pixels // pieces


class GroupStatistics:
    """Kernel ``group_statistics``."""

    name = "group_statistics"
    capability = (7, 5)
    cases = (
        GroupStatisticsSpec(View(2, 9, 7, 16, "fp16", 32, 16), View(2, 3, 1, 8, "fp32")),
        GroupStatisticsSpec(View(1, 5, 5, 6, "fp32"), View(1, 1, 1, 12, "fp32")),
        GroupStatisticsSpec(View(1, 40, 31, 24, "bf16"), View(1, 7, 1, 2, "fp32")),
        GroupStatisticsSpec(View(1, 9, 8, 16, "int8", scale=0.1), View(1, 2, 1, 4, "fp32")),
        GroupStatisticsSpec(View(3, 3, 5, 15, "bf16", 17, 1), View(3, 2, 1, 6, "fp32")),
        GroupStatisticsSpec(View(1, 1, 1, 3, "fp32"), View(1, 1, 1, 6, "fp32")),
    )  # fmt: skip

    def launch(self, spec: GroupStatisticsSpec, /) -> Launch:
        """Return source and geometry: one block an image, piece and group."""
        pixels, each = spec.source.h * spec.source.w, spec.source.c // spec.groups
        require(pixels, of="pixels of an image")
        require(-(-pixels // spec.target.h) * each, of="numbers of a piece of an image")
        head = constants("SRC", spec.source) + setting(groups=spec.groups, pieces=spec.target.h)
        blocks = spec.source.n * spec.target.h * spec.groups
        return Launch(PRELUDE + head + _SOURCE, self.name, blocks, THREADS)

    def parameters(self, spec: GroupStatisticsSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return nothing."""
        return ()

    def reference(
        self,
        spec: GroupStatisticsSpec,
        images: Sequence[Floats],
        parameters: Sequence[npt.NDArray[Any]],
        /,
    ) -> Floats:
        """Compute them as they are defined."""
        s, t = spec.source, spec.target
        split = images[0].reshape(s.n, s.h * s.w, spec.groups, -1)
        ends = ends_of_pieces(s.h * s.w, t.h)
        result = np.empty((t.n, t.h, 1, t.c))
        for piece in range(t.h):
            part = split[:, ends[piece] : ends[piece + 1]]
            mean = part.mean(axis=(1, 3), keepdims=True)
            squares = ((part - mean) ** 2).sum(axis=(1, 3))
            result[:, piece, 0] = np.concatenate([mean[:, 0, :, 0], squares], axis=1)
        return result


REGISTRY.register(GroupStatistics.name)(GroupStatistics())
