"""Convolution to 64, or at most 8, channels whose weights all stay in shared memory: Hopper.

Each block keeps the weights and walks over the image; two warpgroups take turns with tiles of
their own, so that one stores while the other computes. Large images with few channels are where
a library's kernels lose most: 64 to 64 channels at 256 x 256 is bound by memory and arithmetic
alike.
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
from segrt.cuda.kernels._window import WindowSpec
from segrt.cuda.kernels.first_convolution import convolve
from segrt.cuda.views import View

_MOST_STAGES = 8

SOURCE = r"""
extern "C" __global__ void __launch_bounds__(384, 1) resident_convolution(
        const SRC_S* __restrict__ x, const void* __restrict__ map,
        const u8* __restrict__ weights, const float* __restrict__ bias, DST_S* __restrict__ y) {
    constexpr int WIDE = 8 * SUB, TX = (DST_W + WIDE - 1) / WIDE, TY = (DST_H + 7) / 8;
    constexpr int TILES = DST_N * TX * TY, EACH = OUTPUTS / 2;
    extern __shared__ u8 memory[];
    __shared__ u64 barriers[2 * STAGES + 1];
    u32 base = (shared_at(memory) + 1023) & ~1023u;
    u32 full = shared_at(barriers), empty = full + 8 * STAGES, ready = empty + 8 * STAGES;
    int thread = threadIdx.x, lane = thread % 32;
    int group = __shfl_sync(0xffffffffu, thread / 128, 0);
    if (thread == 0) {
        for (int s = 0; s < STAGES; ++s) { init(full + 8 * s, 1); init(empty + 8 * s, 1); }
        init(ready, 1);
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
    if (group == 2) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        if (thread == 256) {
            int stage = 0;
            u32 parity = 1;
            acquire(map);
            expect(ready, CHUNKS * WEIGHTS);
            for (int chunk = 0; chunk < CHUNKS; ++chunk)
                fetch(base + chunk * WEIGHTS, weights + chunk * WEIGHTS, WEIGHTS, ready);
            for (int tile = blockIdx.x; tile < TILES; tile += gridDim.x) {
                int tx = tile % TX, ty = tile / TX % TY, n = tile / (TX * TY);
                u32 to = base + CHUNKS * WEIGHTS + stage * CHUNKS * TILE;
                wait(empty + 8 * stage, parity);
                expect(full + 8 * stage, CHUNKS * ROWS * COLS * 128);
                for (int chunk = 0; chunk < CHUNKS; ++chunk)
                    fetch_box(to + chunk * TILE, map, chunk * CHANNELS, tx * WIDE - LEFT,
                              ty * 8 - TOP, n, full + 8 * stage);
                if (++stage == STAGES) { stage = 0; parity ^= 1; }
            }
        }
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
        constexpr u64 IMAGE = tile_of(COLS * 128), KERNEL = tile_of(1024);
        int warp = thread % 128 / 32, count = group;
        u32 staging = base + CHUNKS * (WEIGHTS + STAGES * TILE) + thread / 32 * STAGING;
        SUM sums[EACH * SUB];
        wait(ready, 0);
        for (int tile = blockIdx.x + group * gridDim.x; tile < TILES;
             tile += 2 * gridDim.x, count += 2) {
            int stage = count % STAGES;
            int tx = tile % TX, ty = tile / TX % TY, n = tile / (TX * TY);
#pragma unroll
            for (int i = 0; i < EACH * SUB; ++i) sums[i] = 0;
            settle(sums);
            wait(full + 8 * stage, count / STAGES & 1);
#pragma unroll
            for (int chunk = 0; chunk < CHUNKS; ++chunk) {
                u32 image = base + CHUNKS * WEIGHTS + (stage * CHUNKS + chunk) * TILE;
                u32 kernel = base + chunk * WEIGHTS;
                products_begin();
#pragma unroll
                for (int step = 0; step < STEPS; ++step) {
@PRODUCTS@
                }
            }
            products_commit();
            products_wait<0>();
            settle(sums);
            if (thread % 128 == 0) arrive(empty + 8 * stage);
@STORE@
        }
    }
}
"""

_STORE_64 = r"""
            to_staging<@SLOT@>(sums, bias, staging, lane);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                int row = i * 4 + lane / 8, m = warp * 16 + row;
                int ty0 = ty * 8 + m / 8, tx0 = tx * WIDE + @SLOT@ * 8 + m % 8;
                uint4 v = from_staging(staging, row, lane % 8);
                if (ty0 < DST_H && tx0 < DST_W)
                    *(uint4*)(y + (((u64)n * DST_H + ty0) * DST_W + tx0) * DST_PITCH
                              + lane % 8 * 8) = v;
            }
            __syncwarp();
"""

STORE_FEW = r"""
#pragma unroll
            for (int i = 0; i < 4 * SUB; ++i) {
                int k = lane % 4 * 2 + i % 2, m = warp * 16 + lane / 4 + i % 4 / 2 * 8;
                int ty0 = ty * 8 + m / 8, tx0 = tx * WIDE + i / 4 * 8 + m % 8;
                if (k >= DST_C || ty0 >= DST_H || tx0 >= DST_W) continue;
                float v = FINISH(sums[i], k);
                y[(((u64)n * DST_H + ty0) * DST_W + tx0) * DST_PITCH + k] =
                    DST_T::store(RELU && v < 0.0f ? 0.0f : v);
            }
"""


@dataclass(frozen=True, slots=True)
class ResidentConvolutionSpec(WindowSpec):
    """A convolution with stride 1 in half precision.

    Attributes:
        source: A multiple of 64 channels, fp16 or bf16, aligned to 16 bytes.
        target: 64 channels of the same type, aligned likewise; or 1 to 8 of any type.
    """

    @property
    def outputs(self) -> int:
        """Columns of a product: 64, or 8 where fewer are wanted."""
        return 64 if self.target.c > 8 else 8


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a block divides its shared memory.

    Attributes:
        sub: Squares of 8 x 8 pixels side by side in a tile.
        stages: Tiles held at a time.
        tile: Bytes of 64 channels of a tile with its halo.
        weights: Bytes of the weights of 64 channels in.
        total: Bytes of all.
    """

    sub: int
    stages: int
    tile: int
    weights: int
    total: int


def _layout(spec: ResidentConvolutionSpec) -> _Layout | None:
    """Return the division with the widest tiles that leaves room for three, or two, of them."""
    height, width = spec.window
    chunks = spec.source.c // _hopper.CHANNELS
    weights = height * width * spec.outputs * _hopper.PIXEL_BYTES
    staging = _hopper.STAGING_BYTES * _hopper.WARPGROUPS if spec.outputs == 64 else 0
    room = _hopper.MOST_SHARED_BYTES - _hopper.ALIGNMENT_BYTES - 1024 - staging - chunks * weights
    for fewest in (3, 2):
        for sub in (4, 2, 1):
            pixels = (8 + height - 1) * (8 * sub + width - 1)
            tile = _hopper.rounded(pixels * _hopper.PIXEL_BYTES)
            stages = min(_MOST_STAGES, room // (chunks * tile)) if room > 0 else 0
            if stages >= fewest:
                total = chunks * (weights + stages * tile) + staging + _hopper.ALIGNMENT_BYTES
                return _Layout(sub, stages, tile, weights, total)
    return None


def fits(spec: ResidentConvolutionSpec) -> bool:
    """Say whether the kernel takes these sizes."""
    target = spec.target
    wide = target.c == 64 and target.dtype == spec.source.dtype
    wide = wide and target.pitch % 8 == 0 and target.offset % 8 == 0
    ends = _hopper.fits_copy_engine(spec.source) and (wide or target.c <= 8)
    return ends and max(spec.window) <= 5 and _layout(spec) is not None


def arrange(weights: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """Order weights (y, x, in, out) as (chunk of 64 in, y, x, out, 64), swizzled.

    Fewer than 64 outputs are filled up to 8 with zeros.
    """
    height, width, channels, outputs = weights.shape
    rows = 64 if outputs > 8 else 8
    padded = np.zeros((height * width, channels, rows))
    padded[..., :outputs] = weights.reshape(height * width, channels, outputs)
    chunks = padded.reshape(height * width, channels // 64, 64, rows).transpose(1, 0, 3, 2)
    return _hopper.arrange(chunks.reshape(channels // 64, -1, 64), dtype)


class ResidentConvolution:
    """Kernel ``resident_convolution``; parameters: `arrange`d weights, float32 bias."""

    name = "resident_convolution"
    capability = (9, 0)
    cases = (
        ResidentConvolutionSpec(
            View(3, 20, 60, 64, "fp16", 128, 64), View(3, 20, 60, 64, "fp16", 192, 64),
            (3, 3), (1, 1), True,
        ),
        ResidentConvolutionSpec(
            View(40, 24, 40, 128, "bf16"), View(40, 24, 40, 64, "bf16"), (3, 3), (1, 1), False
        ),
        ResidentConvolutionSpec(
            View(30, 17, 33, 64, "fp16"), View(30, 17, 33, 2, "fp32"), (3, 3), (1, 1), True
        ),
        ResidentConvolutionSpec(
            View(2, 9, 12, 64, "bf16"), View(2, 9, 12, 5, "bf16"), (2, 2), (0, 0), False
        ),
    )  # fmt: skip

    def launch(self, spec: ResidentConvolutionSpec, /) -> Launch:
        """Return source and geometry: a block of two warpgroups and a fetching thread."""
        layout = _layout(spec)
        assert layout is not None
        source, target = spec.source, spec.target
        (height, width), (top, left) = spec.window, spec.before
        rows, cols = 8 + height - 1, 8 * layout.sub + width - 1
        kind = "f16" if source.dtype == "fp16" else "bf16"
        head = constants("SRC", source) + constants("DST", target)
        head += setting(top=top, left=left, relu=int(spec.relu), rows=rows, cols=cols)
        head += setting(sub=layout.sub, stages=layout.stages, tile=layout.tile)
        head += setting(weights=layout.weights, outputs=spec.outputs)
        head += setting(chunks=source.c // _hopper.CHANNELS) + _hopper.words(kind)
        products = [_hopper.product(slot, spec.outputs, kind) for slot in range(layout.sub)]
        body = SOURCE.replace("@PRODUCTS@", _products(spec, layout, cols))
        store = STORE_FEW
        if spec.outputs == 64:
            store = "".join(_STORE_64.replace("@SLOT@", str(slot)) for slot in range(layout.sub))
        text = _hopper.HELPERS + head + "".join(products) + _hopper.STORE
        text += body.replace("@STORE@", store)
        tiles = target.n * -(-target.h // 8) * -(-target.w // (8 * layout.sub))
        return Launch(
            text, self.name, tiles, _hopper.THREADS, layout.total,
            (Map(0, (_hopper.CHANNELS, cols, rows)),), persistent=True, specific=True,
        )  # fmt: skip

    def parameters(self, spec: ResidentConvolutionSpec, seed: int, /) -> Sequence[Any]:
        """Return weights and bias."""
        rng = np.random.default_rng(seed)
        shape = (*spec.window, spec.source.c, spec.target.c)
        weights = rng.normal(0, 0.1, shape)
        bias = np.zeros(spec.outputs, np.float32)
        bias[: spec.target.c] = rng.normal(size=spec.target.c)
        return arrange(weights, spec.source.dtype), bias

    def reference(
        self,
        spec: ResidentConvolutionSpec,
        images: Sequence[Floats],
        parameters: Sequence[npt.NDArray[Any]],
        /,
    ) -> Floats:
        """Sum shifted images; weights are taken back from their arrangement."""
        height, width = spec.window
        chunks = spec.source.c // 64
        shape = (chunks, height * width * spec.outputs, 64)
        plain = _hopper.restore(parameters[0], spec.source.dtype, shape)
        plain = plain.reshape(chunks, height, width, spec.outputs, 64).transpose(1, 2, 0, 4, 3)
        weights = plain.reshape(height, width, spec.source.c, spec.outputs)[..., : spec.target.c]
        size = (spec.target.h, spec.target.w)
        bias = parameters[1][: spec.target.c].astype(np.float64)
        result: Floats = convolve(images[0], weights, spec.before, size) + bias
        return np.maximum(result, 0) if spec.relu else result


def _products(spec: ResidentConvolutionSpec, layout: _Layout, cols: int) -> str:
    """Return one product a tap and square: the same tile, begun at another pixel."""
    lines = []
    block = spec.outputs * _hopper.PIXEL_BYTES
    for tap in range(spec.window[0] * spec.window[1]):
        y, x = divmod(tap, spec.window[1])
        for slot in range(layout.sub):
            pixel = (y * cols + x + 8 * slot) * _hopper.PIXEL_BYTES
            lines.append(
                f"                    product_{slot}(sums, at(IMAGE, image + {pixel} + step * 32), "
                f"at(KERNEL, kernel + {tap * block} + step * 32));"
            )
    return "\n".join(lines)


REGISTRY.register(ResidentConvolution.name)(ResidentConvolution())
