"""The average, sum, largest or smallest of every channel over the whole image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._base import REGISTRY, THREADS, Floats, Launch
from segrt.cuda.kernels._limits import require
from segrt.cuda.kernels._prelude import PRELUDE, constants, setting
from segrt.cuda.views import View, vector_width

Kind = Literal["mean", "sum", "max", "min"]

# One block an image and span of channels; its threads take pixels in turn and meet in shared
# memory.
_SOURCE = r"""
__device__ __forceinline__ float join(float a, float b) {
    // A NaN stays a NaN, as in the frameworks; fmaxf would drop it.
    if (MAXIMUM) return b > a || b != b ? b : a;
    if (MINIMUM) return b < a || b != b ? b : a;
    return a + b;
}
extern "C" __global__ void global_pooling(const SRC_S* __restrict__ x, DST_S* __restrict__ y) {
    constexpr int SPANS = (SRC_C / V + LANES - 1) / LANES, ROWS = 256 / LANES;
    __shared__ float shared[256 * V];
    int lane = threadIdx.x % LANES, row = threadIdx.x / LANES;
    int n = blockIdx.x / SPANS, vector = blockIdx.x % SPANS * LANES + lane;
    float acc[V];
#pragma unroll
    for (int i = 0; i < V; ++i) {
        acc[i] = MAXIMUM || MINIMUM ? __int_as_float(MAXIMUM ? 0xff800000 : 0x7f800000) : 0.0f;
    }
    if (vector * V < SRC_C) {
        const SRC_S* image = x + (u64)n * SRC_H * SRC_W * SRC_PITCH + vector * V;
        for (int pixel = row; pixel < SRC_H * SRC_W; pixel += ROWS) {
            auto v = Vec<SRC_T, V>::read(image + (u64)pixel * SRC_PITCH);
#pragma unroll
            for (int i = 0; i < V; ++i) acc[i] = join(acc[i], SRC_T::load(v.e[i]));
        }
    }
#pragma unroll
    for (int i = 0; i < V; ++i) shared[i * 256 + threadIdx.x] = acc[i];
#pragma unroll
    for (int half = ROWS / 2; half; half /= 2) {
        __syncthreads();
        if (row < half) {
#pragma unroll
            for (int i = 0; i < V; ++i) {
                float* at = shared + i * 256 + threadIdx.x;
                *at = join(*at, at[half * LANES]);
            }
        }
    }
    if (row || vector * V >= SRC_C) return;
    Vec<DST_T, V> out;
#pragma unroll
    for (int i = 0; i < V; ++i) {
        float v = shared[i * 256 + threadIdx.x];
        out.e[i] = DST_T::store(MEAN ? v * (1.0f / (SRC_H * SRC_W)) : v);
    }
    out.write(y + (u64)n * DST_PITCH + vector * V);
}
"""
_NUMPY: dict[Kind, Callable[..., Any]] = {
    "mean": np.mean, "sum": np.sum, "max": np.max, "min": np.min,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class GlobalPoolingSpec:
    """From images to one pixel each.

    Attributes:
        source: Read.
        target: Written; 1 x 1, as many channels.
        kind: What of all pixels.
    """

    source: View
    target: View
    kind: Kind = "mean"

    @property
    def sources(self) -> tuple[View, ...]:
        """The one image."""
        return (self.source,)


class GlobalPooling:
    """Kernel ``global_pooling``."""

    name = "global_pooling"
    capability = (7, 5)
    cases = (
        GlobalPoolingSpec(View(2, 9, 7, 16, "fp16", 32, 16), View(2, 1, 1, 16, "fp16")),
        GlobalPoolingSpec(View(1, 3, 5, 37, "fp32"), View(1, 1, 1, 37, "fp32"), "max"),
        GlobalPoolingSpec(View(3, 2, 2, 520, "bf16"), View(3, 1, 1, 520, "fp32"), "sum"),
        GlobalPoolingSpec(View(1, 30, 31, 3, "fp32"), View(1, 1, 1, 3, "fp32"), "min"),
        GlobalPoolingSpec(View(1, 30, 31, 16, "int8", scale=0.1), View(1, 1, 1, 16, "fp32")),
        GlobalPoolingSpec(View(3, 1, 1, 6, "bf16", 10, 4), View(3, 1, 1, 6, "bf16", 8, 2)),
        GlobalPoolingSpec(
            View(1, 5, 3, 20, "uint8", 36, 4, 0.1), View(1, 1, 1, 20, "uint8", scale=0.1), "max"
        ),
    )  # fmt: skip

    def launch(self, spec: GlobalPoolingSpec, /) -> Launch:
        """Return source and geometry: one block an image and span of channels."""
        require(spec.source.h * spec.source.w, of="pixels of an image")
        width = min(8, vector_width(spec.source, spec.target))
        vectors = spec.source.c // width
        # As few channels a block as make whole sectors of memory: images of a batch of one are few.
        lanes = 1
        while lanes < min(vectors, 32) and lanes * width * spec.source.item_bytes < 32:
            lanes *= 2
        head = constants("SRC", spec.source) + constants("DST", spec.target)
        head += setting(v=width, lanes=lanes)
        head += setting(**{
            {"max": "maximum", "min": "minimum"}.get(kind, kind): int(kind == spec.kind)
            for kind in ("mean", "max", "min")
        })  # fmt: skip
        blocks = spec.source.n * -(-vectors // lanes)
        return Launch(PRELUDE + head + _SOURCE, self.name, blocks, THREADS)

    def parameters(self, spec: GlobalPoolingSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return nothing."""
        return ()

    def reference(
        self,
        spec: GlobalPoolingSpec,
        images: Sequence[Floats],
        parameters: Sequence[npt.NDArray[Any]],
        /,
    ) -> Floats:
        """Compute it as it is defined."""
        return np.asarray(_NUMPY[spec.kind](images[0], axis=(1, 2), keepdims=True), np.float64)


REGISTRY.register(GlobalPooling.name)(GlobalPooling())
