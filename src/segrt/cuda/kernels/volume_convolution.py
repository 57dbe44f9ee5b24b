"""Convolution of volumes that reads slices where they lie: Hopper.

As `wide_convolution`, whose loop over channels goes over the slices that a window meets too; those
outside are left out. A product has 64 rows of outputs. Where a slice has fewer, they are those of
neighbouring slices, for which the same pixels are fetched once: then a few weights are zeros. Where
channels are no whole 64s, four steps of 16 that there are make one block of weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels import _hopper, _ring, _volume_products
from segrt.cuda.kernels._base import REGISTRY, Floats, Launch, Map
from segrt.cuda.kernels._prelude import constants, filled, setting
from segrt.cuda.kernels._volume_products import (
    CHUNK_PRODUCTS,
    ROWS,
    STEPS,
    arrange,
    arrange_bias,
    chunks,
    outputs_of,
)
from segrt.cuda.kernels.first_convolution import convolve
from segrt.cuda.views import View

# Pixels of a block, as of `wide_convolution`.
TILE_H, TILE_W = 32, 16
# How many blocks of weights the second warpgroup stays behind the first, at most.
_BEHIND = 3

_SOURCE = r"""
extern "C" __global__ void __launch_bounds__(384, 1) volume_convolution(
        const SRC_S* __restrict__ x, const void* __restrict__ map,
        const u8* __restrict__ weights, const float* __restrict__ bias, DST_S* __restrict__ y) {
    constexpr int TX = (DST_W + 15) / 16, TY = (DST_H + 31) / 32, BLOCK = 8192;
    constexpr int TZ = (DST_DEPTH + SHARING - 1) / SHARING;
    constexpr int WORK = DST_N / DST_DEPTH * TZ * TY * TX * GROUPS;
@BEGIN@
    int stage = 0;
    if (group == 2) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        if (thread == 256) {
            int slot = 0;
            u32 parity = 1, ring_parity = 1;
            acquire(map);
            for (int work = blockIdx.x; work < WORK; work += gridDim.x) {
                @PLACE@
                int tx = tile % TX;
                for (int slice = first; slice < end; ++slice) {
                    const u8* from = weights + ((u64)outputs * SLICES + slice) * BLOCKS * BLOCK;
                    for (int chunk = 0; chunk < WHOLE + (LAST > 0); ++chunk) {
                        wait(empty + 8 * stage, parity);
                        expect(full + 8 * stage, ROWS * COLS * 128);
                        fetch_box(base + stage * TILE, map, chunk * 64, tx * 16 - LEFT,
                                  ty * 32 - TOP, volume * SRC_DEPTH + z - FRONT + slice,
                                  full + 8 * stage);
                        if (++stage == IMAGES) { stage = 0; parity ^= 1; }
                        int blocks = chunk < WHOLE ? TAPS : (TAPS * LAST + 3) / 4;
                        for (int block = 0; block < blocks; ++block) {
                            wait(ring_empty + 8 * slot, ring_parity);
                            expect(ring_full + 8 * slot, BLOCK);
                            fetch(ring + slot * BLOCK, from, BLOCK, ring_full + 8 * slot);
                            from += BLOCK;
                            if (++slot == RING) { slot = 0; ring_parity ^= 1; }
                        }
                    }
                }
            }
        }
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
        u32 parity = 0, staging = ring + RING * BLOCK + group * STAGING;
        Ring read = {ring, ring_full, ring_empty, 0, 0, -1, 0};
        float sums[128];
        if (group == 1) asm volatile("bar.sync 4, 256;" ::: "memory");
        for (int work = blockIdx.x; work < WORK; work += gridDim.x) {
            @PLACE@
            int tx = tile % TX * 2 + group;
            // The barrier of the tile before, once there is one.
            u32 before = 0;
            float2 b = rows_of(bias + outputs * 64, thread);
            read.last = -1;
#pragma unroll
            for (int i = 0; i < 128; ++i) sums[i] = 0;
            settle(sums);
#pragma unroll 1
            for (int slice = first; slice < end; ++slice) {
@CHUNKS@
            }
            products_wait<0>();
            settle(sums);
            if (thread % 128 == 0) { arrive(ring_empty + 8 * read.last); arrive(before); }
@STORE@
        }
        // The other group waits for this one, however little there is to do.
        if (group == 0 && read.begun < BEHIND) asm volatile("bar.arrive 4, 256;" ::: "memory");
    }
}
"""

# What a block works at: outputs of some slices, from `z` on, and the slices that these meet.
_PLACE = """int outputs = work % GROUPS, tile = work / GROUPS, ty = tile / TX % TY;
                int z = tile / (TX * TY) % TZ * SHARING, volume = tile / (TX * TY * TZ);
                int first = z < FRONT ? FRONT - z : 0, rest = SRC_DEPTH + FRONT - z;
                int end = rest < SLICES ? rest : SLICES;"""

_CALL = r"""
                    wait(full + 8 * stage, parity);
                    chunk_products<@STEPS@>(sums, read, base + stage * TILE + group * 1024, before,
                                            thread, group);
                    before = empty + 8 * stage;
                    if (++stage == IMAGES) { stage = 0; parity ^= 1; }"""
_WHOLE = """#pragma unroll 1
                for (int chunk = 0; chunk < WHOLE; ++chunk) {@CALL@
                }
"""
_LAST = """                {@CALL@
                }
"""

# Sixty-four pixels (eight rows of eight) through shared memory; a thread takes 8 outputs of each
# of four: those of a slice's neighbour lie behind its own.
_STORE = r"""
            columns_to_staging<@ROUND@ * 32>(sums, b, staging, thread);
            meet(group);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                int pixel = thread % 128 / 8 + i * 16, part = thread % 8;
                int own = z + part / PIECES, c = outputs * OUTPUTS + part % PIECES * 8;
                int py = ty * 32 + @ROUND@ * 8 + pixel / 8, px = tx * 8 + pixel % 8;
                uint4 v = from_staging(staging, pixel, part);
                if (own < DST_DEPTH && c < DST_C && py < DST_H && px < DST_W)
                    *(uint4*)(y + (((u64)(volume * DST_DEPTH + own) * DST_H + py) * DST_W + px)
                                  * DST_PITCH + c) = v;
            }
            meet(group);
"""


@dataclass(frozen=True, slots=True)
class VolumeConvolutionSpec:
    """A convolution of volumes with stride 1.

    Attributes:
        source: Volumes, a multiple of 8 channels, fp16 or bf16, aligned to 16 bytes.
        target: Likewise, of the same type.
        window: Depth, height and width of the kernel.
        before: Padding in front, above and to the left.
        relu: Whether a ReLU follows.
    """

    source: View
    target: View
    window: tuple[int, int, int]
    before: tuple[int, int, int]
    relu: bool

    @property
    def sources(self) -> tuple[View, ...]:
        """The volumes."""
        return (self.source,)

    @property
    def halo(self) -> tuple[int, int]:
        """Rows and columns of a tile with what the window reaches beyond it."""
        return TILE_H + self.window[1] - 1, TILE_W + self.window[2] - 1

    @property
    def taps(self) -> int:
        """Of a slice."""
        return self.window[1] * self.window[2]

    @property
    def outputs(self) -> int:
        """Outputs of a slice in a product."""
        return outputs_of(self.target.c, self.window[0])


def fits(spec: VolumeConvolutionSpec) -> bool:
    """Say whether the kernel takes these sizes."""
    source, target, depth = spec.source, spec.target, spec.window[0]
    half = source.dtype == target.dtype in ("fp16", "bf16")
    wide = all(v.c % 8 == v.pitch % 8 == v.offset % 8 == 0 for v in (source, target))
    if not half or not wide or min(source.depth, target.depth) < 1 or max(spec.window) > 3:
        return False
    # Every slice made meets one that there is.
    meets = spec.before[0] < depth and target.depth <= source.depth + spec.before[0]
    return meets and source.n * target.depth == target.n * source.depth


class VolumeConvolution:
    """Kernel ``volume_convolution``; parameters: `arrange`d weights and bias."""

    name = "volume_convolution"
    capability = (9, 0)
    cases = (
        VolumeConvolutionSpec(
            View(6, 37, 13, 96, "fp16", 160, 32, depth=3),
            View(6, 37, 13, 32, "fp16", 64, 32, depth=3), (3, 3, 3), (1, 1, 1), True,
        ),
        # More work than a GPU has multiprocessors, twice.
        VolumeConvolutionSpec(
            View(49, 33, 66, 32, "bf16", 96, 64, depth=7), View(49, 33, 66, 32, "bf16", depth=7),
            (3, 3, 3), (1, 1, 1), True,
        ),
        VolumeConvolutionSpec(
            View(3, 40, 15, 128, "fp16", depth=3), View(3, 40, 15, 64, "fp16", 96, 16, depth=3),
            (3, 3, 3), (1, 1, 1), False,
        ),
        # Fewer channels than a step; four slices share what they read.
        VolumeConvolutionSpec(
            View(9, 35, 18, 8, "fp16", 24, 8, depth=3), View(9, 35, 18, 16, "fp16", depth=3),
            (3, 3, 3), (1, 1, 1), False,
        ),
        # No padding; outputs of which the last are few.
        VolumeConvolutionSpec(
            View(8, 12, 20, 64, "bf16", depth=4), View(4, 10, 18, 96, "bf16", 104, 8, depth=2),
            (3, 3, 3), (0, 0, 0), True,
        ),
        # One slice a volume, and padding on one side.
        VolumeConvolutionSpec(
            View(3, 9, 8, 48, "fp16", depth=1), View(3, 9, 8, 32, "fp16", depth=1),
            (3, 3, 3), (1, 1, 1), True,
        ),
        VolumeConvolutionSpec(
            View(8, 34, 17, 80, "fp16", depth=4), View(6, 34, 17, 24, "fp16", depth=3),
            (2, 3, 2), (0, 1, 1), False,
        ),
        # Windows of one slice, and of one pixel.
        VolumeConvolutionSpec(
            View(2, 33, 20, 64, "fp16", depth=1), View(2, 33, 20, 128, "fp16", depth=1),
            (1, 3, 3), (0, 1, 1), True,
        ),
        VolumeConvolutionSpec(
            View(8, 20, 33, 32, "bf16", depth=4), View(12, 20, 33, 64, "bf16", depth=6),
            (3, 1, 1), (2, 0, 0), False,
        ),
    )  # fmt: skip

    def launch(self, spec: VolumeConvolutionSpec, /) -> Launch:
        """Return source and geometry: two computing warpgroups and a fetching thread."""
        tile, ring, total = _ring.sizes(spec.halo)
        source, target, (rows, cols) = spec.source, spec.target, spec.halo
        kind = "f16" if target.dtype == "fp16" else "bf16"
        parts = list(chunks(source.c, spec.taps))
        whole, last = sum(steps == STEPS for _, steps, _ in parts), parts[-1][1] % STEPS
        sharing, groups = ROWS // spec.outputs, -(-target.c // spec.outputs)
        front, top, left = spec.before
        head = constants("SRC", source) + constants("DST", target)
        head += setting(src_depth=source.depth, dst_depth=target.depth)
        head += setting(front=front, top=top, left=left, taps=spec.taps, width=spec.window[2])
        head += setting(rows=rows, cols=cols, tile=tile, images=_ring.IMAGES, ring=ring)
        head += setting(outputs=spec.outputs, pieces=spec.outputs // 8, sharing=sharing)
        head += setting(groups=groups, slices=sharing + spec.window[0] - 1)
        head += setting(whole=whole, last=last)
        head += setting(blocks=sum(blocks for *_, blocks in parts), staging=_hopper.STAGING_BYTES)
        # No more than there are before a tile has to be given back.
        behind = min(_BEHIND, _ring.IMAGES * min(blocks for *_, blocks in parts))
        head += setting(behind=behind)
        head += _hopper.column_words(kind, spec.relu) + _hopper.product(0, 256, kind)
        stores = (_STORE.replace("@ROUND@", str(i)) for i in range(TILE_H // 8))
        calls = [_WHOLE.replace("@CALL@", _CALL.replace("@STEPS@", "4"))] if whole else []
        calls += [_LAST.replace("@CALL@", _CALL.replace("@STEPS@", str(last)))] if last else []
        text = filled(_SOURCE, {
            "@BEGIN@": _ring.BEGIN, "@PLACE@": _PLACE, "@CHUNKS@": "".join(calls),
            "@STORE@": "".join(stores),
        })  # fmt: skip
        tiles = target.n // target.depth * -(-target.depth // sharing) * groups
        tiles *= -(-target.h // TILE_H) * -(-target.w // TILE_W)
        return Launch(
            _hopper.HELPERS + head + _hopper.COLUMNS + CHUNK_PRODUCTS + text, self.name, tiles,
            _hopper.THREADS, total, (Map(0, (_hopper.CHANNELS, cols, rows)),),
            persistent=True, specific=True,
        )  # fmt: skip

    def parameters(self, spec: VolumeConvolutionSpec, seed: int, /) -> Sequence[Any]:
        """Return weights and bias."""
        rng = np.random.default_rng(seed)
        weights = rng.normal(0, 0.1, (*spec.window, spec.source.c, spec.target.c))
        bias = rng.normal(size=spec.target.c).astype(np.float32)
        return arrange(weights, spec.source.dtype), arrange_bias(bias, spec.window[0])

    def reference(
        self,
        spec: VolumeConvolutionSpec,
        images: Sequence[Floats],
        parameters: Sequence[npt.NDArray[Any]],
        /,
    ) -> Floats:
        """Sum convolutions of shifted slices; weights are taken back from their arrangement."""
        source, target = spec.source, spec.target
        weights = _volume_products.restore(
            parameters[0], source.dtype, spec.window, source.c, target.c
        )
        volumes = images[0].reshape(-1, spec.source.depth, *images[0].shape[1:])
        z = np.arange(target.depth) - spec.before[0]
        result = np.zeros((target.n, target.h, target.w, target.c))
        for tap in range(spec.window[0]):
            there = (z + tap >= 0) & (z + tap < spec.source.depth)
            met = np.where(there[:, None, None, None], volumes[:, (z + tap) * there], 0)
            flat = met.reshape(-1, *images[0].shape[1:])
            result += convolve(flat, weights[tap], spec.before[1:], (target.h, target.w))
        result += parameters[1].reshape(-1, ROWS)[:, : spec.outputs].reshape(-1)[: target.c]
        return np.maximum(result, 0) if spec.relu else result


REGISTRY.register(VolumeConvolution.name)(VolumeConvolution())
