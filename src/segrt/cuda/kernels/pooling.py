"""Max and average pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._base import REGISTRY, THREADS, Floats, Launch, blocks_for
from segrt.cuda.kernels._prelude import PRELUDE, constants, setting
from segrt.cuda.views import View, vector_width

_SOURCE = r"""
extern "C" __global__ void pooling(const SRC_S* __restrict__ x, DST_S* __restrict__ y) {
    u32 id = blockIdx.x * blockDim.x + threadIdx.x;
    if (id >= TOTAL) return;
    constexpr int G = DST_C / V;
    u32 group = id % G, pixel = id / G;
    int tx = pixel % DST_W, row = pixel / DST_W;
    int ty = row % DST_H, n = row / DST_H;
    float acc[V];
#pragma unroll
    for (int i = 0; i < V; ++i) acc[i] = MAXIMUM ? __int_as_float(0xff800000) : 0.0f;
    int count = 0;
#pragma unroll
    for (int ky = 0; ky < KY; ++ky) {
        int sy = ty * STEP_Y + ky - TOP;
        if (sy < 0 || sy >= SRC_H) continue;
#pragma unroll
        for (int kx = 0; kx < KX; ++kx) {
            int sx = tx * STEP_X + kx - LEFT;
            if (sx < 0 || sx >= SRC_W) continue;
            auto v = Vec<SRC_T, V>::read(
                x + (((u64)n * SRC_H + sy) * SRC_W + sx) * SRC_PITCH + group * V);
            ++count;
#pragma unroll
            for (int i = 0; i < V; ++i) {
                float value = SRC_T::load(v.e[i]);
                // A NaN stays a NaN, as in the frameworks; fmaxf would drop it.
                if (MAXIMUM) acc[i] = (value > acc[i] || value != value) ? value : acc[i];
                else acc[i] += value;
            }
        }
    }
    float factor = MAXIMUM ? 1.0f : 1.0f / (float)(COUNT_PADDING ? KY * KX : count);
    Vec<DST_T, V> out;
#pragma unroll
    for (int i = 0; i < V; ++i) out.e[i] = DST_T::store(acc[i] * factor);
    out.write(y + (u64)pixel * DST_PITCH + group * V);
}
"""


@dataclass(frozen=True, slots=True)
class PoolingSpec:
    """A window slides over ``source``.

    Attributes:
        source: Read.
        target: Written.
        window: Height and width of the window.
        step: Strides (y, x).
        before: Padding above and to the left; what lies below and right follows from the sizes.
        maximum: Else the average.
        count_padding: An average counts padded pixels as zeros.
    """

    source: View
    target: View
    window: tuple[int, int]
    step: tuple[int, int]
    before: tuple[int, int] = (0, 0)
    maximum: bool = True
    count_padding: bool = False

    @property
    def sources(self) -> tuple[View, ...]:
        """The one image."""
        return (self.source,)


class Pooling:
    """Kernel ``pooling``."""

    name = "pooling"
    capability = (7, 5)
    cases = (
        PoolingSpec(View(2, 8, 6, 16, "fp16", 32, 16), View(2, 4, 3, 16, "fp16"), (2, 2), (2, 2)),
        PoolingSpec(
            View(1, 7, 5, 6, "fp32"), View(1, 4, 3, 6, "fp32"), (3, 3), (2, 2), (1, 1), False
        ),
        PoolingSpec(
            View(1, 7, 5, 8, "bf16"), View(1, 7, 5, 8, "bf16"), (3, 2), (1, 1), (1, 0), False, True
        ),
        PoolingSpec(
            View(2, 8, 6, 32, "int8", 64, 32, 0.02),
            View(2, 4, 3, 32, "int8", scale=0.02),
            (2, 2),
            (2, 2),
        ),
    )

    def launch(self, spec: PoolingSpec, /) -> Launch:
        """Return source and geometry: one thread a target pixel and vector of channels."""
        width = vector_width(spec.source, spec.target)
        total = spec.target.pixels * spec.target.c // width
        head = constants("SRC", spec.source) + constants("DST", spec.target)
        head += setting(v=width, total=total, ky=spec.window[0], kx=spec.window[1])
        head += setting(step_y=spec.step[0], step_x=spec.step[1])
        head += setting(top=spec.before[0], left=spec.before[1])
        head += setting(maximum=int(spec.maximum), count_padding=int(spec.count_padding))
        return Launch(PRELUDE + head + _SOURCE, "pooling", blocks_for(total), THREADS)

    def parameters(self, spec: PoolingSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return nothing."""
        return ()

    def reference(
        self, spec: PoolingSpec, images: Sequence[Floats], parameters: Sequence[npt.NDArray[Any]], /
    ) -> Floats:
        """Look at every window."""
        image, out = images[0], spec.target
        result = np.empty((out.n, out.h, out.w, out.c))
        for y in range(out.h):
            for x in range(out.w):
                top = y * spec.step[0] - spec.before[0]
                left = x * spec.step[1] - spec.before[1]
                part = image[
                    :, max(top, 0) : top + spec.window[0], max(left, 0) : left + spec.window[1]
                ]
                if spec.maximum:
                    result[:, y, x] = part.max(axis=(1, 2))
                else:
                    area = spec.window[0] * spec.window[1]
                    count = area if spec.count_padding else part.shape[1] * part.shape[2]
                    result[:, y, x] = part.sum(axis=(1, 2)) / count
        return result


REGISTRY.register(Pooling.name)(Pooling())
