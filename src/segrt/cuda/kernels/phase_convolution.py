"""Convolution whose outputs are the four phases of an image twice as large: Hopper.

What nearest upsampling and the convolution behind it become when they are merged: a convolution
of the small image to 4 K channels, and a pixel shuffle. Here no product is spent on weights that
are zero (a 2x2 window has 9 of 16 that are not), the large image is written once, and nothing lies
between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels import _hopper
from segrt.cuda.kernels._base import REGISTRY, Floats, Launch, Map
from segrt.cuda.kernels._prelude import constants, setting
from segrt.cuda.kernels.first_convolution import convolve
from segrt.cuda.views import View

PHASES = 4
# Pixels of the small image that a block computes: two warpgroups, one above the other.
TILE_H, TILE_W = 16, 8
_STAGES = 2

SOURCE = r"""
extern "C" __global__ void __launch_bounds__(384, 1) phase_convolution(
        const SRC_S* __restrict__ x, const void* __restrict__ map,
        const u8* __restrict__ weights, const float* __restrict__ bias, DST_S* __restrict__ y) {
    constexpr int H = DST_H / 2, W = DST_W / 2, TX = (W + 7) / 8, TY = (H + 15) / 16;
    constexpr int GROUPS = DST_C / 64, CHUNKS = SRC_C / CHANNELS, WORK = DST_N * TX * TY * GROUPS;
    constexpr int STAGE = TILE + WEIGHTS;
    extern __shared__ u8 memory[];
    __shared__ u64 barriers[2 * STAGES];
    u32 base = (shared_at(memory) + 1023) & ~1023u;
    u32 full = shared_at(barriers), empty = full + 8 * STAGES;
    int thread = threadIdx.x, lane = thread % 32;
    int group = __shfl_sync(0xffffffffu, thread / 128, 0);
    if (thread == 0) {
        for (int s = 0; s < STAGES; ++s) { init(full + 8 * s, 1); init(empty + 8 * s, 2); }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
    int stage = 0;
    if (group == 2) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        if (thread == 256) {
            u32 parity = 1;
            acquire(map);
            for (int work = blockIdx.x; work < WORK; work += gridDim.x) {
                int outputs = work % GROUPS, tile = work / GROUPS;
                int tx = tile % TX, ty = tile / TX % TY, n = tile / (TX * TY);
                for (int chunk = 0; chunk < CHUNKS; ++chunk) {
                    u32 to = base + stage * STAGE, barrier = full + 8 * stage;
                    wait(empty + 8 * stage, parity);
                    expect(barrier, WEIGHTS + ROWS * COLS * 128);
                    fetch_box(to, map, chunk * CHANNELS, tx * 8 - LEFT, ty * 16 - TOP, n, barrier);
                    fetch(to + TILE, weights + ((u64)outputs * CHUNKS + chunk) * WEIGHTS, WEIGHTS,
                          barrier);
                    if (++stage == STAGES) { stage = 0; parity ^= 1; }
                }
            }
        }
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
        constexpr u64 IMAGE = tile_of(COLS * 128), KERNEL = tile_of(1024);
        u32 parity = 0, staging = base + STAGES * STAGE + thread / 32 * STAGING;
        int warp = thread % 128 / 32;
        SUM sums[128];
        for (int work = blockIdx.x; work < WORK; work += gridDim.x) {
            int outputs = work % GROUPS, tile = work / GROUPS, before = 0;
            int tx = tile % TX, ty = tile / TX % TY, n = tile / (TX * TY);
#pragma unroll
            for (int i = 0; i < 128; ++i) sums[i] = 0;
            settle(sums);
            for (int chunk = 0; chunk < CHUNKS; ++chunk) {
                u32 image = base + stage * STAGE + group * 8 * COLS * 128;
                u32 kernel = base + stage * STAGE + TILE;
                wait(full + 8 * stage, parity);
                products_begin();
#pragma unroll
                for (int step = 0; step < 4; ++step) {
@PRODUCTS@
                    if (step == 0 || step == 3) products_commit();
                    // Products wait at their issue: only behind the first step, not the last, is
                    // the stage before given back while there is still something to compute.
                    if (step == 0 && chunk) {
                        products_wait<1>();
                        if (thread % 128 == 0) arrive(empty + 8 * before);
                    }
                }
                before = stage;
                if (++stage == STAGES) { stage = 0; parity ^= 1; }
            }
            products_wait<0>();
            settle(sums);
            if (thread % 128 == 0) arrive(empty + 8 * before);
@STORE@
        }
    }
}
"""

_STORE = r"""
            to_staging<@SLOT@>(sums, bias + outputs * 64, staging, lane);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                int row = i * 4 + lane / 8, m = warp * 16 + row;
                int sy = ty * 16 + group * 8 + m / 8, sx = tx * 8 + m % 8;
                uint4 v = from_staging(staging, row, lane % 8);
                if (sy < H && sx < W)
                    *(uint4*)(y + (((u64)n * DST_H + 2 * sy + @Y@) * DST_W + 2 * sx + @X@)
                              * DST_PITCH + outputs * 64 + lane % 8 * 8) = v;
            }
            __syncwarp();
"""


@dataclass(frozen=True, slots=True)
class PhaseConvolutionSpec:
    """A convolution with stride 1 to the phases (0, 0), (0, 1), (1, 0), (1, 1).

    Attributes:
        source: The small image: a multiple of 64 channels, fp16 or bf16, aligned to 16 bytes.
        target: Twice as high and wide: a multiple of 64 channels of the same type.
        window: Height and width of the kernel.
        before: Padding above and to the left.
        uses: (tap, phase) wherever weights are not all zero; taps count row by row.
        relu: Whether a ReLU follows.
    """

    source: View
    target: View
    window: tuple[int, int]
    before: tuple[int, int]
    uses: tuple[tuple[int, int], ...]
    relu: bool

    @property
    def sources(self) -> tuple[View, ...]:
        """The one image."""
        return (self.source,)

    @property
    def halo(self) -> tuple[int, int]:
        """Rows and columns of a tile with what the window reaches beyond it."""
        return TILE_H + self.window[0] - 1, TILE_W + self.window[1] - 1


def used(kernel: npt.NDArray[Any]) -> tuple[tuple[int, int], ...]:
    """Return (tap, phase) wherever a kernel (4 K, in, y, x) has weights other than zero."""
    outputs, channels, height, width = kernel.shape
    blocks = kernel.reshape(PHASES, outputs // PHASES * channels, height * width)
    return tuple(
        (tap, phase)
        for tap in range(height * width)
        for phase in range(PHASES)
        if np.any(blocks[phase, :, tap])
    )


def _sizes(spec: PhaseConvolutionSpec) -> tuple[int, int, int]:
    """Return bytes of a tile, of its weights, and of all shared memory."""
    rows, cols = spec.halo
    tile = _hopper.rounded(rows * cols * _hopper.PIXEL_BYTES)
    weights = len(spec.uses) * _hopper.BLOCK_BYTES
    staging = _hopper.STAGING_BYTES * _hopper.WARPGROUPS
    return tile, weights, _STAGES * (tile + weights) + staging + _hopper.ALIGNMENT_BYTES


def fits(spec: PhaseConvolutionSpec) -> bool:
    """Say whether the kernel takes these sizes."""
    target = spec.target
    ends = _hopper.fits_copy_engine(spec.source) and target.dtype == spec.source.dtype
    aligned = target.c % 64 == 0 and target.pitch % 8 == 0 and target.offset % 8 == 0
    twice = (target.h, target.w) == (2 * spec.source.h, 2 * spec.source.w)
    small = _sizes(spec)[2] <= _hopper.MOST_SHARED_BYTES - 1024
    return ends and aligned and twice and small and max(spec.window) <= 3 and bool(spec.uses)


def arrange(
    kernel: npt.NDArray[Any], uses: Sequence[tuple[int, int]], dtype: str
) -> npt.NDArray[Any]:
    """Order a kernel (4 K, in, y, x) as (64 outputs, 64 in, use, out, in), swizzled."""
    outputs, channels, height, width = kernel.shape
    each = outputs // PHASES
    split = kernel.reshape(PHASES, each // 64, 64, channels // 64, 64, height * width)
    blocks = np.stack([split[phase, ..., tap] for tap, phase in uses])
    ordered = blocks.transpose(1, 3, 0, 2, 4).astype(np.float64)
    return _hopper.arrange(ordered.reshape(each // 64, channels // 64, -1, 64), dtype)


_SAME_2X2 = tuple(
    (2 * y + x, 2 * py + px)
    for y in range(2)
    for x in range(2)
    for py in range(2)
    for px in range(2)
    if y <= py and x <= px
)


class PhaseConvolution:
    """Kernel ``phase_convolution``; parameters: `arrange`d weights, float32 bias (K)."""

    name = "phase_convolution"
    capability = (9, 0)
    cases: tuple[PhaseConvolutionSpec, ...] = (
        PhaseConvolutionSpec(
            View(13, 40, 28, 192, "fp16"), View(13, 80, 56, 128, "fp16", 256, 128),
            (2, 2), (0, 0), _SAME_2X2, True,
        ),
        PhaseConvolutionSpec(
            View(3, 9, 12, 64, "bf16", 128, 64), View(3, 18, 24, 64, "bf16"),
            (2, 2), (1, 1), ((0, 0), (1, 1), (2, 2), (3, 3), (3, 0)), False,
        ),
    )  # fmt: skip

    def launch(self, spec: PhaseConvolutionSpec, /) -> Launch:
        """Return source and geometry: a block of two warpgroups and a fetching thread."""
        tile, weights, total = _sizes(spec)
        source, target = spec.source, spec.target
        rows, cols = spec.halo
        kind = "f16" if source.dtype == "fp16" else "bf16"
        head = constants("SRC", source) + constants("DST", target)
        head += setting(top=spec.before[0], left=spec.before[1], relu=int(spec.relu))
        head += setting(rows=rows, cols=cols, stages=_STAGES, tile=tile, weights=weights)
        head += _hopper.words(kind)
        products = "".join(_hopper.product(phase, 64, kind) for phase in range(PHASES))
        store = "".join(
            _STORE.replace("@SLOT@", str(p)).replace("@Y@", str(p // 2)).replace("@X@", str(p % 2))
            for p in range(PHASES)
        )
        body = SOURCE.replace("@PRODUCTS@", _products(spec, cols)).replace("@STORE@", store)
        tiles = source.n * -(-source.h // TILE_H) * -(-source.w // TILE_W) * (target.c // 64)
        return Launch(
            _hopper.HELPERS + head + products + _hopper.STORE + body, self.name, tiles,
            _hopper.THREADS, total, (Map(0, (_hopper.CHANNELS, cols, rows)),),
            persistent=True, specific=True,
        )  # fmt: skip

    def parameters(self, spec: PhaseConvolutionSpec, seed: int, /) -> Sequence[Any]:
        """Return weights and bias."""
        rng = np.random.default_rng(seed)
        kernel = np.zeros((PHASES * spec.target.c, spec.source.c, *spec.window))
        blocks = kernel.reshape(PHASES, spec.target.c, spec.source.c, -1)
        for tap, phase in spec.uses:
            blocks[phase, :, :, tap] = rng.normal(0, 0.1, blocks.shape[1:3])
        bias = rng.normal(size=spec.target.c).astype(np.float32)
        return arrange(kernel, spec.uses, spec.source.dtype), bias

    def reference(
        self,
        spec: PhaseConvolutionSpec,
        images: Sequence[Floats],
        parameters: Sequence[npt.NDArray[Any]],
        /,
    ) -> Floats:
        """Convolve once a phase and put the phases where they belong."""
        k, c = spec.target.c, spec.source.c
        shape = (k // 64, c // 64, len(spec.uses) * 64, 64)
        plain = _hopper.restore(parameters[0], spec.source.dtype, shape)
        plain = plain.reshape(k // 64, c // 64, len(spec.uses), 64, 64).transpose(2, 1, 4, 0, 3)
        blocks = plain.reshape(len(spec.uses), c, k)
        result = np.empty((spec.target.n, spec.target.h, spec.target.w, k))
        for phase in range(PHASES):
            weights = np.zeros((spec.window[0] * spec.window[1], c, k))
            for (tap, wanted), block in zip(spec.uses, blocks, strict=True):
                if wanted == phase:
                    weights[tap] = block
            window = weights.reshape(*spec.window, c, k)
            size = (spec.source.h, spec.source.w)
            part = convolve(images[0], window, spec.before, size)
            result[:, phase // 2 :: 2, phase % 2 :: 2] = part
        result += parameters[1]
        return np.maximum(result, 0) if spec.relu else result


def _products(spec: PhaseConvolutionSpec, cols: int) -> str:
    """Return one product a use: the tile begun at the tap's pixel, into the phase's sums."""
    lines = []
    for index, (tap, phase) in enumerate(spec.uses):
        y, x = divmod(tap, spec.window[1])
        pixel = (y * cols + x) * _hopper.PIXEL_BYTES
        lines.append(
            f"                    product_{phase}(sums, at(IMAGE, image + {pixel} + step * 32), "
            f"at(KERNEL, kernel + {index * _hopper.BLOCK_BYTES} + step * 32));"
        )
    return "\n".join(lines)


REGISTRY.register(PhaseConvolution.name)(PhaseConvolution())
