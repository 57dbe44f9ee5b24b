"""Convolution of one to four channels: the first layer, bound by what it writes.

Reads the image in whatever type it came and brings pixels to the network's range on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._base import REGISTRY, THREADS, Floats, Launch, blocks_for
from segrt.cuda.kernels._prelude import PRELUDE, constants, setting
from segrt.cuda.kernels._window import WindowSpec
from segrt.cuda.views import View

# Each thread holds 8 neighbouring pixels times 8 channels: a weight read from shared memory
# serves 8 products, and a store is 16 bytes in half precision.
_SOURCE = r"""
extern "C" __global__ void __launch_bounds__(256) first_convolution(
        const SRC_S* __restrict__ x, const float* __restrict__ weights,
        const float* __restrict__ bias, const float* __restrict__ scale_shift,
        DST_S* __restrict__ y) {
    __shared__ alignas(16) float shared[KY * KX * SRC_C * DST_C];
    for (int i = threadIdx.x; i < KY * KX * SRC_C * DST_C; i += 256) shared[i] = weights[i];
    __syncthreads();
    u32 id = blockIdx.x * 256 + threadIdx.x;
    if (id >= TOTAL) return;
    constexpr int G = DST_C / 8, STRIPS = (DST_W + P - 1) / P;
    u32 group = id % G, strip = id / G;
    int tx = (strip % STRIPS) * P, row = strip / STRIPS;
    int ty = row % DST_H, n = row / DST_H;
    float acc[P][8];
#pragma unroll
    for (int k = 0; k < 8; ++k) {
        float b = bias[group * 8 + k];
#pragma unroll
        for (int p = 0; p < P; ++p) acc[p][k] = b;
    }
#pragma unroll
    for (int ky = 0; ky < KY; ++ky) {
        int sy = ty + ky - TOP;
        if (sy < 0 || sy >= SRC_H) continue;
        const SRC_S* line = x + ((u64)n * SRC_H + sy) * SRC_W * SRC_PITCH;
#pragma unroll
        for (int c = 0; c < SRC_C; ++c) {
            float in[P + KX - 1];
            float scale = scale_shift[c], shift = scale_shift[SRC_C + c];
#pragma unroll
            for (int p = 0; p < P + KX - 1; ++p) {
                int sx = tx + p - LEFT;
                // Padding is zero after the change of range, not before.
                in[p] = sx < 0 || sx >= SRC_W
                    ? 0.0f : SRC_T::load(line[sx * SRC_PITCH + c]) * scale + shift;
            }
#pragma unroll
            for (int kx = 0; kx < KX; ++kx) {
                const float4* w =
                    (const float4*)(shared + ((ky * KX + kx) * SRC_C + c) * DST_C + group * 8);
                float4 a = w[0], b = w[1];
                float v[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
                for (int p = 0; p < P; ++p)
#pragma unroll
                    for (int k = 0; k < 8; ++k) acc[p][k] = fmaf(in[p + kx], v[k], acc[p][k]);
            }
        }
    }
#pragma unroll
    for (int p = 0; p < P; ++p) {
        if (tx + p >= DST_W) break;
        constexpr int HALF = DST_V;
        DST_S* place = y + (((u64)n * DST_H + ty) * DST_W + tx + p) * DST_PITCH + group * 8;
#pragma unroll
        for (int part = 0; part < 8; part += HALF) {
            Vec<DST_T, HALF> out;
#pragma unroll
            for (int k = 0; k < HALF; ++k) {
                float v = acc[p][part + k];
                out.e[k] = DST_T::store(RELU && v < 0.0f ? 0.0f : v);
            }
            out.write(place + part);
        }
    }
}
"""
_STORE = "out.e[k] = DST_T::store(RELU && v < 0.0f ? 0.0f : v);"
_AFFINE = """\
const float* rows = bias + DST_C + group * 8 + part + k;
                if (RELU) v = v < 0.0f ? 0.0f : v;
                out.e[k] = DST_T::store(fmaf(v, rows[0], rows[DST_C]));"""


@dataclass(frozen=True, slots=True)
class FirstConvolutionSpec(WindowSpec):
    """A convolution with stride 1.

    Attributes:
        source: 1 to 4 channels, any type; pixels become ``pixel * scale + shift``.
        target: A multiple of 8 channels, aligned to 16 bytes.
        affine: Whether factors and shifts of channels follow the ReLU.
    """

    affine: bool = False


def fits(spec: FirstConvolutionSpec) -> bool:
    """Say whether the kernel takes these sizes."""
    target = spec.target
    aligned = target.c % 8 == 0 and target.pitch % 8 == 0 and target.offset % 8 == 0
    weights = spec.window[0] * spec.window[1] * spec.source.c * target.c
    return spec.source.c <= 4 and aligned and weights * 4 <= 48 * 1024 and max(spec.window) <= 7


class FirstConvolution:
    """Kernel ``first_convolution``.

    Its parameters, all float32: weights (y, x, in, out), bias (out), and scale and shift
    (2, in). Where factors and shifts follow, these stand behind the bias: (3, out).
    """

    name = "first_convolution"
    capability = (7, 5)
    cases = (
        FirstConvolutionSpec(
            View(2, 9, 13, 1, "fp32"), View(2, 9, 13, 16, "fp16", 32, 16), (3, 3), (1, 1), True
        ),
        FirstConvolutionSpec(
            View(1, 8, 16, 3, "uint8"), View(1, 8, 16, 8, "bf16"), (3, 3), (1, 1), False
        ),
        FirstConvolutionSpec(
            View(1, 8, 10, 2, "fp16"), View(1, 8, 10, 24, "fp32"), (2, 2), (0, 0), True
        ),
        FirstConvolutionSpec(
            View(1, 8, 10, 1, "fp32"),
            View(1, 8, 10, 16, "int8", 32, 16, 0.02),
            (3, 3),
            (1, 1),
            True,
        ),
        # Smaller than the window.
        FirstConvolutionSpec(
            View(3, 2, 3, 4, "bf16", 6, 1), View(3, 2, 3, 8, "fp16", 24, 8), (5, 5), (2, 2), False
        ),
        FirstConvolutionSpec(
            View(1, 1, 1, 1, "uint8", 3, 1), View(1, 1, 1, 8, "uint8", 16, 8, 0.02), (3, 3), (1, 1),
            True,
        ),
        FirstConvolutionSpec(
            View(2, 9, 13, 3, "fp32"), View(2, 9, 13, 24, "fp16", 32, 8), (3, 3), (1, 1), True,
            affine=True,
        ),
    )  # fmt: skip

    def launch(self, spec: FirstConvolutionSpec, /) -> Launch:
        """Return source and geometry: one thread a strip of 8 pixels and 8 channels."""
        # Four channels in shared registers of the window would spill with 8 pixels.
        strip = 8 if spec.source.c * spec.window[1] <= 9 else 4
        strips = (spec.target.w + strip - 1) // strip
        total = spec.target.n * spec.target.h * strips * (spec.target.c // 8)
        head = constants("SRC", spec.source) + constants("DST", spec.target)
        head += setting(p=strip, total=total, ky=spec.window[0], kx=spec.window[1])
        head += setting(top=spec.before[0], left=spec.before[1], relu=int(spec.relu))
        head += setting(dst_v=16 // spec.target.item_bytes if spec.target.item_bytes > 1 else 8)
        text = _SOURCE.replace(_STORE, _AFFINE) if spec.affine else _SOURCE
        source = PRELUDE + head + text
        return Launch(source, self.name, blocks_for(total), THREADS)

    def parameters(self, spec: FirstConvolutionSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return weights, bias, scale and shift."""
        rng = np.random.default_rng(seed)
        weights = rng.normal(0, 0.3, (*spec.window, spec.source.c, spec.target.c))
        scale = 1 / 255 if spec.source.dtype == "uint8" else 1.5
        ranges = np.stack([np.full(spec.source.c, scale), rng.normal(size=spec.source.c)])
        bias = rng.normal(size=(3, spec.target.c) if spec.affine else spec.target.c)
        return tuple(array.astype(np.float32) for array in (weights, bias, ranges))

    def reference(
        self,
        spec: FirstConvolutionSpec,
        images: Sequence[Floats],
        parameters: Sequence[npt.NDArray[Any]],
        /,
    ) -> Floats:
        """Sum shifted images."""
        weights, bias, ranges = (array.astype(np.float64) for array in parameters)
        image = images[0] * ranges[0] + ranges[1]
        before, *others = bias if spec.affine else (bias,)
        result = convolve(image, weights, spec.before, (spec.target.h, spec.target.w)) + before
        result = np.maximum(result, 0) if spec.relu else result
        return result * others[0] + others[1] if spec.affine else result


def convolve(
    image: Floats, weights: Floats, before: tuple[int, int], size: tuple[int, int]
) -> Floats:
    """Convolve N H W C with (y, x, in, out) at stride 1, zeros outside; for references."""
    (ky, kx), (h, w) = weights.shape[:2], size
    pads = [(p, max(0, s + k - 1 - p - i)) for p, s, k, i in zip(
        before, size, (ky, kx), image.shape[1:3], strict=True)]  # fmt: skip
    padded = np.pad(image, [(0, 0), *pads, (0, 0)])
    result: Floats = np.zeros((image.shape[0], h, w, weights.shape[3]))
    for y in range(ky):
        for x in range(kx):
            result += padded[:, y : y + h, x : x + w] @ weights[y, x]
    return result


REGISTRY.register(FirstConvolution.name)(FirstConvolution())
