"""Convolution to whole 64s of channels, and the pooling behind it: Hopper.

A block computes 512 pixels of 64 channels, a warpgroup 256 of them: products have outputs as rows
and pixels as columns, so that one reading of the weights serves 256 pixels and one tile of the
image all taps. Weights come through a ring, a tap at a time. One warpgroup is kept a few taps
behind the other: each computes alone while the other stores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels import _hopper, _pooled, _ring
from segrt.cuda.kernels._base import REGISTRY, Floats, Launch, Map
from segrt.cuda.kernels._prelude import filled, setting
from segrt.cuda.kernels.first_convolution import convolve
from segrt.cuda.views import View

# Pixels of a block: two warpgroups side by side.
TILE_H, TILE_W = 32, 16
# How many taps the second warpgroup stays behind the first.
_BEHIND = 3

_SOURCE = r"""
extern "C" __global__ void __launch_bounds__(384, 1) wide_convolution(
        const SRC_S* __restrict__ x, @POOLED@const void* __restrict__ map,
        const u8* __restrict__ weights, const float* __restrict__ bias, DST_S* __restrict__ y) {
    constexpr int TX = (DST_W + 15) / 16, TY = (DST_H + 31) / 32, GROUPS = DST_C / 64;
    constexpr int CHUNKS = SRC_C / 64, WORK = DST_N * TX * TY * GROUPS, BLOCK = 8192;
@BEGIN@
    int slot = 0, stage = 0;
    if (group == 2) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        if (thread == 256) {
            u32 parity = 1, ring_parity = 1;
            acquire(map);
            for (int work = blockIdx.x; work < WORK; work += gridDim.x) {
                int outputs = work % GROUPS, tile = work / GROUPS;
                int tx = tile % TX, ty = tile / TX % TY, n = tile / (TX * TY);
                for (int chunk = 0; chunk < CHUNKS; ++chunk) {
                    wait(empty + 8 * stage, parity);
                    expect(full + 8 * stage, ROWS * COLS * 128);
                    fetch_box(base + stage * TILE, map, chunk * 64, tx * 16 - LEFT, ty * 32 - TOP,
                              n, full + 8 * stage);
                    if (++stage == IMAGES) { stage = 0; parity ^= 1; }
                    const u8* from = weights + ((u64)outputs * CHUNKS + chunk) * TAPS * BLOCK;
                    for (int tap = 0; tap < TAPS; ++tap) {
                        wait(ring_empty + 8 * slot, ring_parity);
                        expect(ring_full + 8 * slot, BLOCK);
                        fetch(ring + slot * BLOCK, from + tap * BLOCK, BLOCK, ring_full + 8 * slot);
                        if (++slot == RING) { slot = 0; ring_parity ^= 1; }
                    }
                }
            }
        }
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
        constexpr u64 IMAGE = tile_of(COLS * 128), KERNEL = tile_of(1024);
        u32 parity = 0, ring_parity = 0;
        u32 staging = ring + RING * BLOCK + group * STAGING;
        float sums[128];
        if (group == 1) asm volatile("bar.sync 4, 256;" ::: "memory");
        for (int work = blockIdx.x; work < WORK; work += gridDim.x) {
            int outputs = work % GROUPS, tile = work / GROUPS;
            int tx = tile % TX * 2 + group, ty = tile / TX % TY, n = tile / (TX * TY);
            int last = -1, used = -1;
            float2 b = rows_of(bias + outputs * 64, thread);
#pragma unroll
            for (int i = 0; i < 128; ++i) sums[i] = 0;
            settle(sums);
#pragma unroll 1
            for (int chunk = 0; chunk < CHUNKS; ++chunk) {
                u32 image = base + stage * TILE + group * 1024;
                wait(full + 8 * stage, parity);
#pragma unroll 1
                for (int tap = 0; tap < TAPS; ++tap) {
                    u32 kernel = ring + slot * BLOCK;
                    u32 from = image + (tap / WIDTH * COLS + tap % WIDTH) * 128;
                    wait(ring_full + 8 * slot, ring_parity);
                    products_begin();
#pragma unroll
                    for (int step = 0; step < 4; ++step)
                        product_0(sums, at(KERNEL, kernel + step * 32),
                                  at(IMAGE, from + step * 32));
                    products_commit();
                    products_wait<1>();
                    // What the products before this tap's have read may be overwritten.
                    if (thread % 128 == 0) {
                        if (last >= 0) arrive(ring_empty + 8 * last);
                        if (tap == 0 && used >= 0) arrive(empty + 8 * used);
                    }
                    if (tap == BEHIND - 1 && group == 0 && chunk == 0 && work == blockIdx.x)
                        asm volatile("bar.arrive 4, 256;" ::: "memory");
                    last = slot;
                    if (++slot == RING) { slot = 0; ring_parity ^= 1; }
                }
                used = stage;
                if (++stage == IMAGES) { stage = 0; parity ^= 1; }
            }
            products_wait<0>();
            settle(sums);
            if (thread % 128 == 0) { arrive(ring_empty + 8 * last); arrive(empty + 8 * used); }
@STORE@
        }
    }
}
""".replace(
    "@BEGIN@",
    _ring.BEGIN,
)


@dataclass(frozen=True, slots=True)
class WideConvolutionSpec:
    """A convolution with stride 1, and max pooling by two.

    Attributes:
        source: A multiple of 64 channels, fp16 or bf16, aligned to 16 bytes.
        target: Likewise, of the same type.
        pooled: Half as high and wide as the target, likewise; None where no pooling follows.
        window: Height and width of the kernel.
        before: Padding above and to the left.
        relu: Whether a ReLU follows.
    """

    source: View
    target: View
    pooled: View | None
    window: tuple[int, int]
    before: tuple[int, int]
    relu: bool

    @property
    def sources(self) -> tuple[View, ...]:
        """The image, and the pooled one, which is written."""
        return _pooled.sources(self)

    @property
    def halo(self) -> tuple[int, int]:
        """Rows and columns of a tile with what the window reaches beyond it."""
        return TILE_H + self.window[0] - 1, TILE_W + self.window[1] - 1


def fits(spec: WideConvolutionSpec) -> bool:
    """Say whether the kernel takes these sizes."""
    ends = _hopper.fits_copy_engine(spec.source) and spec.target.dtype == spec.source.dtype
    taps = spec.window[0] * spec.window[1]
    small = max(spec.window) <= 3 and taps >= _BEHIND and _ring.sizes(spec.halo)[1] > _BEHIND
    return ends and _pooled.fits(spec) and small


def arrange(weights: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """Order weights (y, x, in, out) as (64 out, 64 in, tap, out, in), swizzled."""
    height, width, channels, outputs = weights.shape
    split = weights.reshape(height * width, channels // 64, 64, outputs // 64, 64)
    return _hopper.arrange(split.transpose(3, 1, 0, 4, 2).astype(np.float64), dtype)


class WideConvolution:
    """Kernel ``wide_convolution``; parameters: `arrange`d weights, float32 bias."""

    name = "wide_convolution"
    capability = (9, 0)
    cases = (
        WideConvolutionSpec(
            View(3, 40, 52, 128, "fp16", 192, 64), View(3, 40, 52, 128, "fp16", 256, 128),
            View(3, 20, 26, 128, "fp16"), (3, 3), (1, 1), True,
        ),
        WideConvolutionSpec(
            View(20, 70, 50, 64, "bf16"), View(20, 70, 50, 192, "bf16"), None,
            (3, 3), (1, 1), True,
        ),
        WideConvolutionSpec(
            View(2, 21, 37, 64, "fp16"), View(2, 20, 36, 64, "fp16"), View(2, 10, 18, 64, "fp16"),
            (2, 2), (0, 0), False,
        ),
        # Smaller than a tile.
        WideConvolutionSpec(
            View(1, 3, 5, 64, "fp16"), View(1, 3, 5, 64, "fp16", 72, 8), None, (3, 3), (1, 1), False
        ),
        WideConvolutionSpec(
            View(1, 2, 2, 64, "bf16"), View(1, 2, 2, 64, "bf16"), View(1, 1, 1, 64, "bf16", 72, 8),
            (3, 3), (1, 1), True,
        ),
    )  # fmt: skip

    def launch(self, spec: WideConvolutionSpec, /) -> Launch:
        """Return source and geometry: two computing warpgroups and a fetching thread."""
        tile, ring, total = _ring.sizes(spec.halo)
        target, (rows, cols) = spec.target, spec.halo
        kind = "f16" if target.dtype == "fp16" else "bf16"
        head = _pooled.views(spec)
        head += setting(top=spec.before[0], left=spec.before[1])
        head += setting(taps=spec.window[0] * spec.window[1], width=spec.window[1])
        head += setting(rows=rows, cols=cols, tile=tile, images=_ring.IMAGES, ring=ring)
        head += setting(staging=_hopper.STAGING_BYTES, behind=_BEHIND)
        head += _hopper.column_words(kind, spec.relu) + _hopper.product(0, 256, kind)
        text = filled(_SOURCE, _pooled.parts(spec, TILE_H))
        tiles = target.n * -(-target.h // TILE_H) * -(-target.w // TILE_W) * (target.c // 64)
        return Launch(
            _hopper.HELPERS + head + _hopper.COLUMNS + text, self.name, tiles,
            _hopper.THREADS, total, (Map(0, (_hopper.CHANNELS, cols, rows)),),
            persistent=True, specific=True,
        )  # fmt: skip

    def parameters(self, spec: WideConvolutionSpec, seed: int, /) -> Sequence[Any]:
        """Return weights and bias."""
        rng = np.random.default_rng(seed)
        weights = rng.normal(0, 0.1, (*spec.window, spec.source.c, spec.target.c))
        bias = rng.normal(size=spec.target.c).astype(np.float32)
        return arrange(weights, spec.source.dtype), bias

    def reference(
        self,
        spec: WideConvolutionSpec,
        images: Sequence[Floats],
        parameters: Sequence[npt.NDArray[Any]],
        /,
    ) -> Floats:
        """Sum shifted images; weights are taken back from their arrangement."""
        taps, c, k = spec.window[0] * spec.window[1], spec.source.c, spec.target.c
        shape = (k // 64, c // 64, taps, 64, 64)
        plain = _hopper.restore(parameters[0], spec.source.dtype, shape)
        weights = plain.transpose(2, 1, 4, 0, 3).reshape(*spec.window, c, k)
        size = (spec.target.h, spec.target.w)
        result: Floats = convolve(images[0], weights, spec.before, size) + parameters[1]
        return np.maximum(result, 0) if spec.relu else result


REGISTRY.register(WideConvolution.name)(WideConvolution())
