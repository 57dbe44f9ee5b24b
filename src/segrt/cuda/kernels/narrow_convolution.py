"""Convolution to at most 8 channels, on the tensor cores: bound by what it reads.

A library's tiles waste most of their work here: they compute 32 or more channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._base import REGISTRY, Floats, Launch
from segrt.cuda.kernels._integers import finish, random_numbers, random_weights
from segrt.cuda.kernels._prelude import PRELUDE, constants, setting
from segrt.cuda.kernels._window import WindowSpec
from segrt.cuda.kernels.first_convolution import convolve
from segrt.cuda.views import View, decode, encode

TILE_H, TILE_W = 8, 32

# Eight warps, a row of 32 target pixels each: two products of 16 pixels x 16 channels x 8.
# The rows of the tile in shared memory are CHUNK + 8 elements apart: with 80 (or 48) bytes the
# eight rows that ldmatrix reads at once lie in different banks. Integers of eight bits go through
# all of it in pairs: a product of 32 of them has its bytes where one of 16 halves has them.
_SOURCE = r"""
__device__ __forceinline__ void product(SUM (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned." MMA " "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : REGISTER(d[0]), REGISTER(d[1]), REGISTER(d[2]), REGISTER(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
extern "C" __global__ void __launch_bounds__(256) narrow_convolution(
        const SRC_S* __restrict__ x, const uint2* __restrict__ weights,
        const float* __restrict__ bias, DST_S* __restrict__ y) {
    constexpr int ROWS = 8 + KY - 1, COLS = 32 + KX - 1, PITCH = CHUNK + 8;
    constexpr int TILES_X = (DST_W + 31) / 32, TILES_Y = (DST_H + 7) / 8;
    __shared__ alignas(16) u16 tile[ROWS * COLS * PITCH];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int bx = blockIdx.x % TILES_X, rest = blockIdx.x / TILES_X;
    int by = rest % TILES_Y, n = rest / TILES_Y;
    SUM acc[2][4] = {};
    for (int chunk = 0; chunk < SRC_C / UNIT / CHUNK; ++chunk) {
        constexpr int PARTS = CHUNK / 8;
        if (chunk) __syncthreads();
        for (int i = threadIdx.x; i < ROWS * COLS * PARTS; i += 256) {
            int part = i % PARTS, at = i / PARTS;
            int sx = bx * 32 + at % COLS - LEFT, sy = by * 8 + at / COLS - TOP;
            uint4 v = make_uint4(0, 0, 0, 0);
            if (sx >= 0 && sx < SRC_W && sy >= 0 && sy < SRC_H)
                v = *(const uint4*)(x + (((u64)n * SRC_H + sy) * SRC_W + sx) * SRC_PITCH
                                    + (chunk * CHUNK + part * 8) * UNIT);
            *(uint4*)(tile + at * PITCH + part * 8) = v;
        }
        __syncthreads();
#pragma unroll
        for (int ky = 0; ky < KY; ++ky)
#pragma unroll
            for (int kx = 0; kx < KX; ++kx)
#pragma unroll
                for (int step = 0; step < CHUNK / 16; ++step) {
                    uint2 b = weights[((ky * KX + kx) * (SRC_C / UNIT / 16) + chunk * (CHUNK / 16)
                                       + step) * 32 + lane];
#pragma unroll
                    for (int half = 0; half < 2; ++half) {
                        int pixel = (warp + ky) * COLS + half * 16 + lane % 16 + kx;
                        u32 place = (u32)__cvta_generic_to_shared(
                            tile + pixel * PITCH + step * 16 + lane / 16 * 8);
                        u32 a[4];
                        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                            : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3]) : "r"(place));
                        product(acc[half], a, b.x, b.y);
                    }
                }
    }
    int ty = by * 8 + warp;
    if (ty >= DST_H) return;
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            int k = lane % 4 * 2 + i % 2, tx = bx * 32 + half * 16 + lane / 4 + i / 2 * 8;
            if (k >= DST_C || tx >= DST_W) continue;
            float v = FINISH(acc[half][i], k);
            y[(((u64)n * DST_H + ty) * DST_W + tx) * DST_PITCH + k] =
                DST_T::store(RELU && v < 0.0f ? 0.0f : v);
        }
}
"""


@dataclass(frozen=True, slots=True)
class NarrowConvolutionSpec(WindowSpec):
    """A convolution with stride 1 in half precision or eight bits.

    Attributes:
        source: A multiple of 16 channels, fp16 or bf16, or of 32, int8; aligned to 16 bytes.
        target: 1 to 8 channels.
    """


def fits(spec: NarrowConvolutionSpec) -> bool:
    """Say whether the kernel takes these sizes."""
    source = spec.source
    unit = _unit(source)
    aligned = source.c % (16 * unit) == 0
    aligned = aligned and source.pitch % (8 * unit) == 0 and source.offset % (8 * unit) == 0
    known = source.dtype in ("fp16", "bf16", "int8")
    return aligned and known and spec.target.c <= 8 and max(spec.window) <= 5


def _unit(source: View) -> int:
    return 2 if source.dtype == "int8" else 1


def _inputs(step: int) -> npt.NDArray[np.intp]:
    """Return which inputs of a step of 16 (32 in eight bits) each of 32 lanes holds."""
    each = step // 8
    first = np.arange(each)
    inputs = (np.arange(32) % 4 * each)[:, None] + np.concatenate([first, first + step // 2])
    return np.asarray(inputs, np.intp)


def arrange(weights: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """Order weights (y, x, in, out) as the product wants them: (tap, step, lane, 4 or 8).

    Lane ``l`` holds channel ``l / 4`` of the output, and inputs ``2 (l % 4)`` + 0, 1, 8, 9 of a
    step of 16; ``4 (l % 4)`` + 0 to 3, 16 to 19 of a step of 32 in eight bits.
    """
    ky, kx, channels, outputs = weights.shape
    step = 32 if dtype == "int8" else 16
    padded = np.zeros((ky * kx, channels // step, step, 8), np.float32)
    padded[..., :outputs] = weights.reshape(ky * kx, channels // step, step, outputs)
    return encode(padded[:, :, _inputs(step), (np.arange(32) // 4)[:, None]], dtype)


class NarrowConvolution:
    """Kernel ``narrow_convolution``; parameters: `arrange`d weights, float32 bias (out).

    In eight bits: factors of the sums and bias, (2, out), in units of the target.
    """

    name = "narrow_convolution"
    # Products of 16 x 16 x 8 begin with sm_80.
    capability = (8, 0)
    cases = (
        NarrowConvolutionSpec(
            View(2, 11, 37, 64, "fp16"), View(2, 11, 37, 2, "fp16"), (3, 3), (1, 1), True
        ),
        NarrowConvolutionSpec(
            View(1, 9, 33, 16, "bf16", 32, 16), View(1, 9, 33, 5, "fp32"), (2, 2), (0, 0), False
        ),
        NarrowConvolutionSpec(
            View(1, 8, 64, 48, "fp16"), View(1, 8, 64, 8, "fp16"), (1, 1), (0, 0), False
        ),
        NarrowConvolutionSpec(
            View(2, 11, 37, 64, "int8", 128, 64, 0.02),
            View(2, 11, 37, 2, "fp32"),
            (3, 3),
            (1, 1),
            True,
        ),
        NarrowConvolutionSpec(
            View(1, 9, 33, 96, "int8", scale=0.03),
            View(1, 9, 33, 5, "int8", 8, 3, 0.1),
            (2, 2),
            (0, 0),
            False,
        ),
        # Smaller than a tile and than the window.
        NarrowConvolutionSpec(
            View(1, 3, 2, 16, "fp16"), View(1, 3, 2, 1, "bf16", 3, 1), (5, 5), (2, 2), True
        ),
        NarrowConvolutionSpec(
            View(1, 1, 1, 32, "int8", scale=0.03), View(1, 1, 1, 7, "uint8", 9, 1, 0.1), (3, 3),
            (1, 1), True,
        ),
    )  # fmt: skip

    def launch(self, spec: NarrowConvolutionSpec, /) -> Launch:
        """Return source and geometry: one block of eight warps a tile of 8 x 32 pixels."""
        t = spec.target
        blocks = t.n * -(-t.h // TILE_H) * -(-t.w // TILE_W)
        head = constants("SRC", spec.source) + constants("DST", t)
        head += setting(ky=spec.window[0], kx=spec.window[1], relu=int(spec.relu))
        head += setting(top=spec.before[0], left=spec.before[1])
        unit = _unit(spec.source)
        head += setting(chunk=32 if spec.source.c // unit % 32 == 0 else 16, unit=unit)
        head += _words(spec.source.dtype, spec.target.scale)
        return Launch(PRELUDE + head + _SOURCE, self.name, blocks, 256)

    def parameters(self, spec: NarrowConvolutionSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return weights and bias."""
        weights, bias = self._plain(spec, seed)
        return arrange(weights, spec.source.dtype), bias

    def reference(
        self,
        spec: NarrowConvolutionSpec,
        images: Sequence[Floats],
        parameters: Sequence[npt.NDArray[Any]],
        /,
    ) -> Floats:
        """Sum shifted images; weights are taken back from their arrangement."""
        arranged, bias = parameters
        values = decode(arranged, spec.source.dtype).astype(np.float64)
        taps, steps = values.shape[:2]
        step = 4 * values.shape[3]
        weights = np.zeros((taps, steps, step, 8))
        weights[:, :, _inputs(step), (np.arange(32) // 4)[:, None]] = values
        plain = weights.reshape(*spec.window, spec.source.c, 8)[..., : spec.target.c]
        size = (spec.target.h, spec.target.w)
        sums = convolve(images[0] / spec.source.scale, plain, spec.before, size)
        integers = spec.source.dtype == "int8"
        result: Floats = finish(sums, bias, spec.target) if integers else sums + bias
        return np.maximum(result, 0) if spec.relu else result

    def _plain(
        self, spec: NarrowConvolutionSpec, seed: int
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        rng = np.random.default_rng(seed)
        shape = (*spec.window, spec.source.c, spec.target.c)
        if spec.source.dtype == "int8":
            terms = spec.window[0] * spec.window[1] * spec.source.c
            return random_weights(shape, rng), random_numbers(2, terms, spec.target, rng)
        weights = rng.normal(0, 0.1, shape)
        return weights.astype(np.float32), rng.normal(size=spec.target.c).astype(np.float32)


def _words(dtype: str, scale: float) -> str:
    """Return what the source calls its sums, its product, and what follows the sums."""
    if dtype == "int8":
        return (
            '#define SUM int\n#define REGISTER(v) "+r"(v)\n'
            '#define MMA "m16n8k32.row.col.s32.s8.s8.s32"\n'
            "#define FINISH(sum, k) (fmaf((float)(sum), bias[k], bias[DST_C + k]) * "
            f"{float(np.float32(scale)).hex()}f)\n"
        )
    kind = "f16" if dtype == "fp16" else "bf16"
    return (
        '#define SUM float\n#define REGISTER(v) "+f"(v)\n'
        f'#define MMA "m16n8k16.row.col.f32.{kind}.{kind}.f32"\n'
        "#define FINISH(sum, k) ((sum) + bias[k])\n"
    )


REGISTRY.register(NarrowConvolution.name)(NarrowConvolution())
