"""What the kernels on Hopper's tensor cores share: barriers, products, tiles, the way out.

They are implicit matrix products: an image tile lies in shared memory with its halo, 64 channels
(128 bytes, swizzled) a pixel, and every tap of the window is a product with the same tile begun
at another pixel. That works because the swizzle follows from the address alone: a descriptor may
begin at any pixel, with a base offset of 0, and rows may be any number of pixels apart (measured,
docs/lab/LOG.md). One thread fetches tiles by bulk tensor copies, whose boxes are zero outside the
image; warpgroups of 128 threads compute.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._prelude import PRELUDE, filled
from segrt.cuda.views import View, encode

# A block of the sm_90 may have 227 KiB of shared memory; 1 KiB of it goes into alignment.
MOST_SHARED_BYTES = 227 * 1024
ALIGNMENT_BYTES = 1024
CHANNELS = 64
PIXEL_BYTES = 128
# One tap's weights for 64 channels in and 64 out.
BLOCK_BYTES = 64 * PIXEL_BYTES
# What a warpgroup needs to turn its results round before they are stored.
STAGING_BYTES = 8192
THREADS = 384
WARPGROUPS = 2

HELPERS = (
    PRELUDE
    + r"""
__device__ __forceinline__ u32 shared_at(const void* p) { return (u32)__cvta_generic_to_shared(p); }
__device__ __forceinline__ void init(u32 barrier, u32 count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" :: "r"(barrier), "r"(count));
}
__device__ __forceinline__ void wait(u32 barrier, u32 parity) {
    asm volatile("{ .reg .pred p;\nAGAIN: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
        "@p bra DONE;\nbra AGAIN;\nDONE: }" :: "r"(barrier), "r"(parity) : "memory");
}
__device__ __forceinline__ void arrive(u32 barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" :: "r"(barrier) : "memory");
}
__device__ __forceinline__ void expect(u32 barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
        :: "r"(barrier), "r"(bytes) : "memory");
}
__device__ __forceinline__ void fetch(u32 to, const void* from, u32 bytes, u32 barrier) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
        "[%0], [%1], %2, [%3];" :: "r"(to), "l"(from), "r"(bytes), "r"(barrier) : "memory");
}
__device__ __forceinline__ void fetch_box(
        u32 to, const void* map, int c, int x, int y, int n, u32 barrier) {
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%2, %3, %4, %5}], [%6];"
        :: "r"(to), "l"(map), "r"(c), "r"(x), "r"(y), "r"(n), "r"(barrier) : "memory");
}
// The map was written by another proxy than the one that reads it here.
__device__ __forceinline__ void acquire(const void* map) {
    asm volatile("fence.proxy.tensormap::generic.acquire.gpu [%0], 128;" :: "l"(map) : "memory");
}
__device__ __forceinline__ void products_begin() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void products_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int PENDING> __device__ __forceinline__ void products_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(PENDING) : "memory");
}
template <int SIZE> __device__ __forceinline__ void settle(float (&sums)[SIZE]) {
#pragma unroll
    for (int i = 0; i < SIZE; ++i) asm volatile("" : "+f"(sums[i]) :: "memory");
}
// Descriptor of a swizzled tile: `rows` is the distance of its groups of 8 rows in bytes.
__device__ __forceinline__ constexpr u64 tile_of(u64 rows) {
    return ((u64)1 << 62) | (rows >> 4 << 32) | ((u64)1 << 16);
}
__device__ __forceinline__ u64 at(u64 tile, u32 address) {
    return tile | (u64)((address & 0x3FFFF) >> 4);
}
__device__ __forceinline__ uint4 from_staging(u32 staging, u32 row, u32 part) {
    uint4 v;
    asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];"
        : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
        : "r"(staging + row * 128 + ((part ^ (row & 7)) << 4)) : "memory");
    return v;
}
"""
)

_BEGIN = r"""    extern __shared__ u8 memory[];
    __shared__ u64 barriers[@COUNT@];
@SHARED@    u32 base = (shared_at(memory) + 1023) & ~1023u;
    u32 full = shared_at(barriers), @PLACES@;
    int thread = threadIdx.x@LANE@;
    int group = __shfl_sync(0xffffffffu, thread / 128, 0);
    if (thread == 0) {
        @INITS@
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();"""

# Results to where whole pixels can be stored: a warp's 16 pixels x 64 channels through shared
# memory. Stored as they come, 64 bytes a pixel at a time, they cost a third of the whole time.
STORE = r"""
// `sums` + 32 * SLOT holds rows lane / 4 (+ 8), columns 8 j + 2 (lane % 4) + {0, 1}.
template <int SLOT, int SIZE> __device__ __forceinline__ void to_staging(
        const float (&sums)[SIZE], const float* bias, u32 staging, int lane) {
#pragma unroll
    for (int j = 0; j < 8; j += 2) {
        u32 packed[4];
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            int first = SLOT * 32 + (j + k / 2) * 4 + k % 2 * 2;
            float2 b = *(const float2*)(bias + (j + k / 2) * 8 + lane % 4 * 2);
            float f = sums[first] + b.x, g = sums[first + 1] + b.y;
            if (RELU) { f = fmaxf(f, 0.0f); g = fmaxf(g, 0.0f); }
            asm("cvt.rn." KIND "x2.f32 %0, %1, %2;" : "=r"(packed[k]) : "f"(g), "f"(f));
        }
        u32 row = lane % 16, block = j + lane / 16;
        asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};"
            :: "r"(staging + row * 128 + ((block ^ (row & 7)) << 4)), "r"(packed[0]),
               "r"(packed[1]), "r"(packed[2]), "r"(packed[3]) : "memory");
    }
    __syncwarp();
}
"""

# The same where a product's rows are outputs and its columns pixels: then 256 pixels share one
# reading of the weights, and shared memory has to deliver a third less. Results are turned round
# on their way; a warp has 16 channels of every pixel, so whole pixels take a whole warpgroup.
COLUMNS = r"""
__device__ __forceinline__ float2 rows_of(const float* bias, int thread) {
    int row = thread % 128 / 32 * 16 + thread % 32 / 4;
    return make_float2(bias[row], bias[row + 8]);
}
__device__ __forceinline__ u32 pack_pair(float f, float g, float b) {
    u32 v;
    asm("cvt.rn." ENDING KIND "x2.f32 %0, %1, %2;" : "=r"(v) : "f"(g + b), "f"(f + b));
    return v;
}
// 64 pixels: `sums` + FIRST + 4 j + {0, 1} are pixels 8 j + 2 (lane % 4) + {0, 1} of row lane / 4
// of the warp's outputs, + {2, 3} of row lane / 4 + 8.
template <int FIRST, int SIZE> __device__ __forceinline__ void columns_to_staging(
        const float (&sums)[SIZE], float2 b, u32 staging, int thread) {
    u32 lane = thread % 32, piece = thread % 128 / 32 * 2 + lane / 8 % 2;
#pragma unroll
    for (int j = 0; j < 8; j += 2) {
        constexpr int F = FIRST;
        u32 pixel = (j + lane / 16) * 8 + lane % 8;
        asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};"
            :: "r"(staging + pixel * 128 + ((piece ^ (pixel & 7)) << 4)),
               "r"(pack_pair(sums[F + 4 * j], sums[F + 4 * j + 1], b.x)),
               "r"(pack_pair(sums[F + 4 * j + 2], sums[F + 4 * j + 3], b.y)),
               "r"(pack_pair(sums[F + 4 * j + 4], sums[F + 4 * j + 5], b.x)),
               "r"(pack_pair(sums[F + 4 * j + 6], sums[F + 4 * j + 7], b.y)) : "memory");
    }
}
__device__ __forceinline__ void meet(int group) {
    asm volatile("bar.sync %0, 128;" :: "r"(group + 1) : "memory");
}
__device__ __forceinline__ u32 largest(u32 a, u32 b) {
    // A NaN stays a NaN, as in the frameworks.
    u32 v;
    asm("max.NaN." KIND "x2 %0, %1, %2;" : "=r"(v) : "r"(a), "r"(b));
    return v;
}
__device__ __forceinline__ uint4 largest(uint4 a, uint4 b) {
    return make_uint4(largest(a.x, b.x), largest(a.y, b.y), largest(a.z, b.z), largest(a.w, b.w));
}
"""

# Sixty-four pixels (eight rows of eight) through shared memory; each thread takes two by two of
# them, 8 channels of each: that is all one pooled pixel wants.
_STORE_COLUMNS = r"""
            columns_to_staging<@ROUND@ * 32>(sums, b, staging, thread);
            meet(group);
            {
                int part = thread % 8, qx = thread / 8 % 4, qy = thread % 128 / 32;
                int top = ty * 32 + @ROUND@ * 8 + 2 * qy, left = tx * 8 + 2 * qx;
                uint4 v[4];
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    v[i] = from_staging(staging, (2 * qy + i / 2) * 8 + 2 * qx + i % 2, part);
                    int ty0 = top + i / 2, tx0 = left + i % 2;
                    if (ty0 < DST_H && tx0 < DST_W)
                        *(uint4*)(y + (((u64)n * DST_H + ty0) * DST_W + tx0) * DST_PITCH
                                  + outputs * 64 + part * 8) = v[i];
                }
@POOL@
            }
            meet(group);
"""
_STORE_POOLED = r"""
                v[0] = largest(largest(v[0], v[1]), largest(v[2], v[3]));
                if (top / 2 < POOL_H && left / 2 < POOL_W)
                    *(uint4*)(pooled + (((u64)n * POOL_H + top / 2) * POOL_W + left / 2)
                              * POOL_PITCH + outputs * 64 + part * 8) = v[0];
"""


def begin(
    count: str, places: str, inits: Sequence[str], *, shared: str = "", lane: bool = True
) -> str:
    """Return what a block begins with: its shared memory, its barriers, who a thread is.

    Args:
        count: How many barriers, in C++.
        places: Definitions of their places behind ``full``, the first one's.
        inits: Lines that initialise them.
        shared: Further lines of shared memory.
        lane: Whether to say which of its warp's a thread is.
    """
    parts = {
        "@COUNT@": count, "@SHARED@": shared, "@PLACES@": places,
        "@LANE@": ", lane = thread % 32" * lane, "@INITS@": "\n        ".join(inits),
    }  # fmt: skip
    return filled(_BEGIN, parts)


def tap_bytes(tap: int, width: int, cols: int, right: int = 0) -> int:
    """Return how far into a tile a tap's product begins.

    Args:
        tap: Counted row by row.
        width: Of the window.
        cols: Pixels of a tile's row.
        right: By how many pixels further.
    """
    return (tap // width * cols + tap % width + right) * PIXEL_BYTES


def product_call(slot: int, image: int, kernel: int) -> str:
    """Return a product's line: bytes into tile and weights where it begins."""
    return (
        f"                    product_{slot}(sums, at(IMAGE, image + {image} + step * 32), "
        f"at(KERNEL, kernel + {kernel} + step * 32));"
    )


def column_words(kind: str, relu: bool) -> str:
    """Return what the sources that store columns call the type and what is done on the way."""
    return f'#define KIND "{kind}"\n#define ENDING "{"relu." * relu}"\n'


def store_columns(rows: int, pooled: bool) -> str:
    """Return what stores a tile of ``rows`` x 8 pixels and, if asked, their pooled image."""
    text = _STORE_COLUMNS.replace("@POOL@", _STORE_POOLED if pooled else "")
    return "".join(text.replace("@ROUND@", str(index)) for index in range(rows // 8))


def words(kind: str) -> str:
    """Return what the sources call their sums and sizes in half precision."""
    return (
        f'#define KIND "{kind}"\n#define SUM float\n'
        "#define FINISH(sum, k) ((sum) + bias[k])\n"
        f"constexpr int CHANNELS = {CHANNELS}, STEPS = 4, STAGING = {STAGING_BYTES // 4};\n"
    )


def product(slot: int, width: int, kind: str) -> str:
    """Return the function ``product_<slot>``: 64 pixels x ``width`` outputs x 16 channels.

    ``sums`` holds ``width / 2`` numbers a thread and slot.
    """
    return product_function(slot, width, f"k16.f32.{kind}.{kind}", "float", "1, 1, 0, 0")


def product_function(slot: int, width: int, types: str, sums: str, settings: str = "") -> str:
    """Return a function for a product of 64 rows.

    Args:
        slot: Which of the sums; part of the function's name.
        width: Columns.
        types: End of the instruction: its depth and types.
        sums: C++ type of the sums.
        settings: Further operands of the instruction.
    """
    each, letter = width // 2, "f" if sums == "float" else "r"
    registers = ", ".join(f"%{i}" for i in range(each))
    operands = ", ".join(f'"+{letter}"(sums[{each * slot + i}])' for i in range(each))
    rest = f", {settings}" if settings else ""
    return (
        f"template <int SIZE> __device__ __forceinline__ void product_{slot}"
        f"({sums} (&sums)[SIZE], u64 image, u64 weights) {{\n"
        '    asm volatile("{ .reg .pred p; setp.ne.b32 p, 1, 0; wgmma.mma_async.sync.aligned'
        f'.m64n{width}{types} "\n'
        f'        "{{{registers}}}, %{each}, %{each + 1}, p{rest}; }}"\n'
        f'        : {operands} : "l"(image), "l"(weights));\n}}\n'
    )


def arrange(blocks: npt.NDArray[np.float64], dtype: str) -> npt.NDArray[Any]:
    """Order weights (..., rows, 64 channels in) as a swizzled tile has them in memory.

    Of each row of eight 16-byte pieces, piece ``p`` lies where ``p xor (row % 8)`` would.
    """
    # Rounded first: fewer bytes to move.
    return _swizzled(encode(blocks, dtype))


def restore(arranged: npt.NDArray[Any], dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return what `arrange` was given, rounded to ``dtype``, as float64."""
    if dtype == "bf16":
        values = (arranged.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    else:
        values = arranged.astype(np.float64)
    # Swapping the pieces twice brings each back.
    return _swizzled(values.reshape(shape))


def _swizzled(blocks: npt.NDArray[Any]) -> npt.NDArray[Any]:
    rows = np.arange(blocks.shape[-2])[:, None]
    pieces = blocks.reshape(*blocks.shape[:-1], 8, 8)
    moved = pieces[..., rows, np.arange(8)[None] ^ (rows % 8), :]
    result: npt.NDArray[Any] = moved.reshape(blocks.shape)
    return result


def fits_copy_engine(source: View) -> bool:
    """Say whether an image is half precision, in whole 64s of channels, aligned for bulk copies."""
    aligned = source.pitch % 8 == 0 and source.offset % 8 == 0
    half = source.dtype in ("fp16", "bf16")
    return half and aligned and source.c % CHANNELS == 0


def rounded(size: int) -> int:
    """Return ``size`` bytes rounded up to where a swizzled tile may begin."""
    return -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
