"""What the Hopper kernels on integers of eight bits share beyond `_hopper`: products, the way out.

A row of a tile is 128 bytes as in half precision, so 128 channels; the copy engine fills what an
image does not have of them up with zeros. Of 64 channels or fewer only the first half of a row is
multiplied, and two taps share a row of weights. Images may be signed or not, weights are signed.
Results leave as they are rounded, four channels of one pixel in a register: weights are ordered so
that a thread's sums are neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._hopper import product_function
from segrt.cuda.views import INTEGERS, View

CHANNELS = 128
STEP_BYTES = 32
# A warp's 16 pixels x 64 channels.
STAGING_BYTES = 1024

HELPERS = r"""
template <int SIZE> __device__ __forceinline__ void settle(int (&sums)[SIZE]) {
#pragma unroll
    for (int i = 0; i < SIZE; ++i) asm volatile("" : "+r"(sums[i]) :: "memory");
}
// Unsigned ones are packed 128 lower, where saturation is the ReLU, and turned back all at once:
// what the compiler makes of a ReLU before packing to unsigned integers is an illegal instruction.
__device__ __forceinline__ int finished(int sum, float factor, float bias) {
    float v = fmaf((float)sum, factor, bias);
    if (UNSIGNED) return __float2int_rn(v - 128.0f);
    return __float2int_rn(RELU ? fmaxf(v, 0.0f) : v);
}
// `sums` + 32 * SLOT holds rows lane / 4 (+ 8); of columns 8 j + 2 (lane % 4) + {0, 1}, those of
// j = 2 m and 2 m + 1 are channels 16 m + 4 (lane % 4) + {0, 1, 2, 3}.
template <int SLOT, int SIZE> __device__ __forceinline__ void to_staging_int8(
        const int (&sums)[SIZE], const float* factors, const float* bias, u32 staging, int lane) {
#pragma unroll
    for (int m = 0; m < 4; m += 2) {
        u32 packed[4];
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            int first = SLOT * 32 + (m + k / 2) * 8 + k % 2 * 2;
            float4 f = *(const float4*)(factors + (m + k / 2) * 16 + lane % 4 * 4);
            float4 b = *(const float4*)(bias + (m + k / 2) * 16 + lane % 4 * 4);
            int v0 = finished(sums[first], f.x, b.x), v1 = finished(sums[first + 1], f.y, b.y);
            int v2 = finished(sums[first + 4], f.z, b.z), v3 = finished(sums[first + 5], f.w, b.w);
            asm("{ .reg .u32 high;\ncvt.pack.sat.s8.s32.b32 high, %4, %3, 0;\n"
                "cvt.pack.sat.s8.s32.b32 %0, %2, %1, high; }"
                : "=r"(packed[k]) : "r"(v0), "r"(v1), "r"(v2), "r"(v3));
            if (UNSIGNED) packed[k] ^= 0x80808080u;
        }
        u32 row = lane % 16, block = m + lane / 16;
        asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};"
            :: "r"(staging + row * 64 + ((block ^ (row / 2 & 3)) << 4)), "r"(packed[0]),
               "r"(packed[1]), "r"(packed[2]), "r"(packed[3]) : "memory");
    }
    __syncwarp();
}
__device__ __forceinline__ uint4 from_staging_int8(u32 staging, u32 row, u32 part) {
    uint4 v;
    asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];"
        : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
        : "r"(staging + row * 64 + ((part ^ (row / 2 & 3)) << 4)) : "memory");
    return v;
}
"""


def words(target: View, steps: int, row: int) -> str:
    """Return what the sources call their sums and sizes.

    Args:
        target: Written.
        steps: Products over the channels of a row.
        row: Numbers in a row of factors.
    """
    scale = float(np.float32(target.scale)).hex()
    return (
        "#define SUM int\n"
        f"#define FINISH(sum, k) (fmaf((float)(sum), bias[k], bias[{row} + k]) * {scale}f)\n"
        f"constexpr int CHANNELS = {CHANNELS}, STEPS = {steps}, STAGING = {STAGING_BYTES};\n"
        f"constexpr bool UNSIGNED = {int(target.dtype == 'uint8')};\n"
    )


def product(slot: int, width: int, source: View) -> str:
    """Return the function ``product_<slot>``: 64 pixels x ``width`` outputs x 32 channels."""
    kind = "u8" if source.dtype == "uint8" else "s8"
    return product_function(slot, width, f"k32.s32.{kind}.s8", "int")


def order() -> npt.NDArray[np.intp]:
    """Return which of 64 channels stands in each column of a product."""
    column = np.arange(64)
    group, thread, odd = column // 8, column % 8 // 2, column % 2
    return group // 2 * 16 + thread * 4 + group % 2 * 2 + odd


def swizzled(blocks: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Order rows of 128 bytes as they lie in memory; twice brings each piece back.

    Of each row of eight 16-byte pieces, piece ``p`` lies where ``p xor (row % 8)`` would.
    """
    rows = np.arange(blocks.shape[-2])[:, None]
    pieces = blocks.reshape(*blocks.shape[:-1], 8, 16)
    moved = pieces[..., rows, np.arange(8)[None] ^ (rows % 8), :]
    return np.ascontiguousarray(moved.reshape(blocks.shape))


def fits_copy_engine(source: View) -> bool:
    """Say whether an image is of integers, in whole 16s of channels, aligned for bulk copies."""
    aligned = source.pitch % 16 == 0 and source.offset % 16 == 0
    return source.dtype in INTEGERS and aligned and source.c % 16 == 0


def fits_way_out(target: View) -> bool:
    """Say whether 16 channels at a time can be stored as integers."""
    aligned = target.pitch % 16 == 0 and target.offset % 16 == 0
    return target.dtype in INTEGERS and aligned and target.c % 16 == 0


def padded(array: npt.NDArray[Any], axis: int, unit: int) -> npt.NDArray[Any]:
    """Return an array with zeros behind, so that an axis is a multiple of ``unit`` long."""
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, -array.shape[axis] % unit)
    return np.pad(array, widths)
