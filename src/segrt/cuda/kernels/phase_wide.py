"""Convolution whose outputs are the phases of an image twice as large, two phases a warpgroup.

The same as `phase_convolution`, with outputs as rows and pixels as columns of the products: one
reading of the weights serves 128 pixels. Each warpgroup computes two of the four phases, and they
swap phases from one tile to the next, for these differ in how many products they want. Each has a
ring of weights to itself, so that one computes while the other stores; where all weights fit into
shared memory, they stay there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt

from segrt.cuda.kernels import _hopper, _phases, phase_convolution
from segrt.cuda.kernels._base import REGISTRY, Floats, Launch, Map
from segrt.cuda.kernels._phases import FOUR_BY_FOUR, PHASES
from segrt.cuda.kernels._prelude import constants, filled, setting
from segrt.cuda.kernels.phase_convolution import PhaseConvolution, PhaseConvolutionSpec
from segrt.cuda.views import View

_IMAGES, _RING = 4, 7
_FEWEST_IMAGES = 3
# Together as many products as the others where a 2x2 window is merged, but for one.
_PAIRS = ((0, 3), (1, 2))

_SOURCE = r"""
extern "C" __global__ void __launch_bounds__(384, 1) phase_wide(
        const SRC_S* __restrict__ x, const void* __restrict__ map,
        const u8* __restrict__ weights, const float* __restrict__ bias, DST_S* __restrict__ y) {
    constexpr int H = DST_H / 2, W = DST_W / 2, TX = (W + 7) / 8, TY = (H + 15) / 16;
    constexpr int GROUPS = DST_C / 64, CHUNKS = SRC_C / 64, WORK = DST_N * TX * TY * GROUPS;
    constexpr int BLOCK = 8192;
@BEGIN@
    // Whose ring: a warpgroup's own; warps 0 and 1 of the third fill them, warp 2 brings images.
    int own = group == 2 ? thread % 128 / 32 : group;
    u32 ring_full = empty + 8 * (IMAGES + own * RING), ring_empty = ring_full + 16 * RING;
    u32 ring = base + IMAGES * TILE + own * RING * BLOCK, parity = 0, ring_parity = 0;
    u32 ready = empty + 8 * (IMAGES + 4 * RING);
    int slot = 0, stage = 0, pair = own;
    if (group == 2) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        if (thread % 32 == 0 && own == 2) {
            acquire(map);
            for (int work = blockIdx.x; work < WORK; work += gridDim.x) {
                int tile = work / GROUPS;
                int tx = tile % TX, ty = tile / TX % TY, n = tile / (TX * TY);
                for (int chunk = 0; chunk < CHUNKS; ++chunk) {
                    wait(empty + 8 * stage, parity ^ 1);
                    expect(full + 8 * stage, ROWS * COLS * 128);
                    fetch_box(base + stage * TILE, map, chunk * 64, tx * 8 - LEFT, ty * 16 - TOP,
                              @SLICE@, full + 8 * stage);
                    if (++stage == IMAGES) { stage = 0; parity ^= 1; }
                }
            }
        } else if (RESIDENT && thread == 256) {
            expect(ready, @ALL_CHUNKS@ * USES * BLOCK);
            for (int i = 0; i < @ALL_CHUNKS@; ++i)
                fetch(ring + i * USES * BLOCK, weights + i * USES * BLOCK, USES * BLOCK, ready);
        } else if (!RESIDENT && thread % 32 == 0 && own < 2) {
            for (int work = blockIdx.x; work < WORK; work += gridDim.x, pair ^= 1) {
                for (int chunk = 0; chunk < CHUNKS; ++chunk) {
                    u64 use = ((u64)(@SET@) * CHUNKS + chunk) * USES + (pair ? FIRST : 0);
                    const u8* from = weights + use * BLOCK;
                    for (int i = 0; i < (pair ? USES - FIRST : FIRST); ++i) {
                        u32 barrier = ring_full + 8 * slot;
                        wait(ring_empty + 8 * slot, ring_parity ^ 1);
                        expect(barrier, BLOCK);
                        fetch(ring + slot * BLOCK, from + i * BLOCK, BLOCK, barrier);
                        if (++slot == RING) { slot = 0; ring_parity ^= 1; }
                    }
                }
            }
        }
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
        constexpr u64 IMAGE = tile_of(COLS * 128), KERNEL = tile_of(1024);
        constexpr int HELD = RESIDENT ? @ALL_CHUNKS@ * USES : 2 * RING;
        u32 staging = base + IMAGES * TILE + HELD * BLOCK + group * STAGING;
        u32 held = base + IMAGES * TILE;
        float sums[128];
        if (RESIDENT) wait(ready, 0);
        // Begun together, both would store at the same time for ever.
        if (group == 1) asm volatile("bar.sync 4, 256;" ::: "memory");
        for (int work = blockIdx.x; work < WORK; work += gridDim.x, pair ^= 1) {
            int outputs = work % GROUPS, tile = work / GROUPS, last = -1, used = -1;
            int tx = tile % TX, ty = tile / TX % TY, n = tile / (TX * TY);
            float2 b = rows_of(bias + outputs * 64, thread);
#pragma unroll
            for (int i = 0; i < 128; ++i) sums[i] = 0;
            settle(sums);
            auto next = [&]() {
                products_commit();
                products_wait<1>();
                // What the products before these have read may be overwritten.
                if (thread % 128 == 0) {
                    if (!RESIDENT && last >= 0) arrive(ring_empty + 8 * last);
                    if (used >= 0) arrive(empty + 8 * used);
                }
                used = -1;
                last = slot;
                if (!RESIDENT && ++slot == RING) { slot = 0; ring_parity ^= 1; }
            };
#pragma unroll 1
            for (int chunk = 0; chunk < CHUNKS; ++chunk) {
                u32 image = base + stage * TILE;
                wait(full + 8 * stage, parity);
                if (pair == 0) {
@FIRST_LOOPS@
                } else {
@SECOND_LOOPS@
                }
                if (group == 0 && chunk == 0 && work == blockIdx.x)
                    asm volatile("bar.arrive 4, 256;" ::: "memory");
                used = stage;
                if (++stage == IMAGES) { stage = 0; parity ^= 1; }
            }
            products_wait<0>();
            settle(sums);
            if (thread % 128 == 0) {
                if (!RESIDENT) arrive(ring_empty + 8 * last);
                arrive(empty + 8 * used);
            }
@STORE@
        }
    }
}
""".replace(
    "@BEGIN@",
    _hopper.begin(
        "2 * IMAGES + 4 * RING + 1",
        "empty = full + 8 * IMAGES",
        [
            "for (int s = 0; s < IMAGES; ++s) { init(full + 8 * s, 1); init(empty + 8 * s, 2); }",
            "for (int s = 0; s <= 4 * RING; ++s) init(empty + 8 * (IMAGES + s), 1);",
        ],
        lane=False,
    ),
)

_PRODUCTS = r"""
#pragma unroll 1
                    for (int use = @BEGIN@; use < @END@; ++use) {
                        u32 kernel = ring + slot * BLOCK, from = image + PIXELS[use];
                        if (RESIDENT) kernel = held + (@CHUNK@ * USES + use) * BLOCK;
                        else wait(ring_full + 8 * slot, ring_parity);
                        products_begin();
#pragma unroll
                        for (int step = 0; step < 4; ++step)
                            product_@SLOT@(sums, at(KERNEL, kernel + step * 32),
                                           at(IMAGE, from + step * 32));
                        next();
                    }
"""

_STORE = r"""
            columns_to_staging<@FIRST@>(sums, b, staging, thread);
            meet(group);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                int pixel = i * 16 + thread % 128 / 8, phase = pair ? @PHASE_1@ : @PHASE_0@;
                int sy = ty * 16 + @ROUND@ * 8 + pixel / 8, sx = tx * 8 + pixel % 8;
                uint4 v = from_staging(staging, pixel, thread % 8);
                if (sy < H && sx < W)
                    *(uint4*)(y + (((u64)n * DST_H + 2 * sy + phase / 2) * DST_W + 2 * sx
                                   + phase % 2) * DST_PITCH + outputs * 64 + thread % 8 * 8) = v;
            }
            meet(group);
"""


def order(uses: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return (tap, phase) in the order of the pairs of phases, phase by phase."""
    return tuple(use for pair in _PAIRS for phase in pair for use in uses if use[1] == phase)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a block divides its shared memory.

    Attributes:
        images: Tiles held at a time.
        tile: Bytes of 64 channels of a tile with its halo.
        resident: Whether all weights stay.
        total: Bytes of all.
    """

    images: int
    tile: int
    resident: bool
    total: int


def _layout(spec: PhaseConvolutionSpec) -> _Layout | None:
    """Return the division with all weights, or one with rings of them; None if neither fits."""
    rows, cols = spec.halo
    tile = _hopper.rounded(rows * cols * _hopper.PIXEL_BYTES)
    blocks = spec.depth * len(spec.uses) * (spec.source.c // _hopper.CHANNELS)
    fixed = _hopper.WARPGROUPS * _hopper.STAGING_BYTES + _hopper.ALIGNMENT_BYTES
    ways = [(_FEWEST_IMAGES, True, blocks)] if spec.target.c == _hopper.CHANNELS else []
    for images, resident, held in (*ways, (_IMAGES, False, _hopper.WARPGROUPS * _RING)):
        total = fixed + images * tile + held * _hopper.BLOCK_BYTES
        if total <= _hopper.MOST_SHARED_BYTES - 1024:
            return _Layout(images, tile, resident, total)
    return None


def fits(spec: PhaseConvolutionSpec) -> bool:
    """Say whether the kernel takes these sizes."""
    every = {phase for _, phase in spec.uses} == set(range(PHASES))
    return every and phase_convolution.suits(spec) and _layout(spec) is not None


def either_fits(spec: PhaseConvolutionSpec) -> bool:
    """Say whether this kernel or `phase_convolution` takes these sizes."""
    return phase_convolution.fits(spec) or fits(spec)


class PhaseWide(PhaseConvolution):
    """Kernel ``phase_wide``; parameters: weights arranged by `order`, float32 bias (K)."""

    name = "phase_wide"
    cases = (
        *PhaseConvolution.cases,
        PhaseConvolutionSpec(
            View(9, 40, 28, 128, "fp16"), View(9, 80, 56, 64, "fp16", 128, 64),
            (2, 2), (0, 0), PhaseConvolution.cases[0].uses, True,
        ),
        # A transposed convolution's with 4x4 taps, 2x2 a phase: only weights in rings leave room.
        PhaseConvolutionSpec(
            View(5, 19, 12, 128, "bf16"), View(5, 38, 24, 128, "bf16", 256, 128), (3, 3), (1, 1),
            FOUR_BY_FOUR, True,
        ),
        # Of volumes, with all weights of both slices resident.
        PhaseConvolutionSpec(
            View(3, 19, 12, 128, "fp16"), View(6, 38, 24, 64, "fp16", 128, 64), (1, 1), (0, 0),
            PhaseConvolution.cases[3].uses, True, depth=2,
        ),
    )  # fmt: skip

    def launch(self, spec: PhaseConvolutionSpec, /) -> Launch:
        """Return source and geometry: two computing warpgroups and three fetching threads."""
        layout = _layout(spec)
        assert layout is not None
        source, target = spec.source, spec.target
        rows, cols = spec.halo
        kind = "f16" if source.dtype == "fp16" else "bf16"
        uses = order(spec.uses)
        counts = [sum(phase == wanted for _, phase in uses) for wanted in range(PHASES)]
        head = constants("SRC", source) + constants("DST", target)
        head += setting(top=spec.before[0], left=spec.before[1])
        head += setting(rows=rows, cols=cols, tile=layout.tile, images=layout.images, ring=_RING)
        head += setting(resident=int(layout.resident))
        head += setting(uses=len(uses), first=sum(counts[phase] for phase in _PAIRS[0]))
        head += setting(staging=_hopper.STAGING_BYTES) + _hopper.column_words(kind, spec.relu)
        head += _hopper.product(0, 128, kind) + _hopper.product(1, 128, kind)
        pixels = [_hopper.tap_bytes(tap, spec.window[1], cols) for tap, _ in uses]
        head += f"__constant__ int PIXELS[{len(uses)}] = {{{', '.join(map(str, pixels))}}};\n"
        first, second = ([counts[phase] for phase in pair] for pair in _PAIRS)
        parts = {
            "@STORE@": _store(),
            "@FIRST_LOOPS@": _loops(first, 0),
            "@SECOND_LOOPS@": _loops(second, sum(first)),
            "@SLICE@": _phases.slice_read(spec),
        } | _sets(spec.depth)
        text = _hopper.HELPERS + head + _hopper.COLUMNS + filled(_SOURCE, parts)
        return Launch(
            text, self.name, spec.work,
            _hopper.THREADS, layout.total, (Map(0, (_hopper.CHANNELS, cols, rows)),),
            persistent=True, specific=True,
        )  # fmt: skip

    def parameters(self, spec: PhaseConvolutionSpec, seed: int, /) -> Sequence[Any]:
        """Return weights and bias."""
        return super().parameters(replace(spec, uses=order(spec.uses)), seed)

    def reference(
        self,
        spec: PhaseConvolutionSpec,
        images: Sequence[Floats],
        parameters: Sequence[npt.NDArray[Any]],
        /,
    ) -> Floats:
        """Convolve once a phase and put the phases where they belong."""
        return super().reference(replace(spec, uses=order(spec.uses)), images, parameters)


def _sets(depth: int) -> dict[str, str]:
    """Return where a block finds the weights of the image that it makes, of ``depth`` sets."""
    if depth == 1:
        return {"@ALL_CHUNKS@": "CHUNKS", "@SET@": "work % GROUPS", "@CHUNK@": "chunk"}
    return {
        "@ALL_CHUNKS@": f"({depth} * CHUNKS)",
        "@SET@": f"work / GROUPS / (TX * TY) % {depth} * GROUPS + work % GROUPS",
        "@CHUNK@": f"(n % {depth} * CHUNKS + chunk)",
    }


def _loops(counts: Sequence[int], begin: int) -> str:
    """Return a loop over the uses of each of a pair's phases."""
    text = ""
    for slot, count in enumerate(counts):
        ends = {"@BEGIN@": begin, "@END@": begin + count, "@SLOT@": slot}
        text += filled(_PRODUCTS, {mark: str(value) for mark, value in ends.items()})
        begin += count
    return text


def _store() -> str:
    """Return what stores two phases, 64 pixels at a time."""
    text = ""
    for slot in range(2):
        for index in range(2):
            marks = {
                "@FIRST@": slot * 64 + index * 32, "@ROUND@": index,
                "@PHASE_0@": _PAIRS[0][slot], "@PHASE_1@": _PAIRS[1][slot],
            }  # fmt: skip
            text += filled(_STORE, {mark: str(value) for mark, value in marks.items()})
    return text


REGISTRY.register(PhaseWide.name)(PhaseWide())
