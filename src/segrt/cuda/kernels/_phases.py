"""What the kernels for merged upsampling share: four phases of an image twice as large.

A tile of the small image lies in shared memory with its halo, beside all weights that its 64
channels want; each use of a tap by a phase is one product. What the kernels in half precision and
on integers differ in are the words of the source and the way out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels import _hopper
from segrt.cuda.kernels._base import Floats, Launch, Map
from segrt.cuda.kernels._prelude import constants, filled, setting
from segrt.cuda.kernels.first_convolution import convolve
from segrt.cuda.views import View

PHASES = 4
# Pixels of the small image that a block computes: two warpgroups, one above the other.
TILE_H, TILE_W = 16, 8
_STAGES = 2
# What a 2x2 window with Keras' SAME padding uses.
SAME_2X2 = tuple(
    (2 * y + x, 2 * py + px)
    for y in range(2)
    for x in range(2)
    for py in range(2)
    for px in range(2)
    if y <= py and x <= px
)
# What a transposed convolution with 4x4 taps and a border of one cut off uses of a 3x3 window.
FOUR_BY_FOUR = tuple(
    (3 * y + x, 2 * py + px)
    for y in range(3)
    for x in range(3)
    for py in range(2)
    for px in range(2)
    if py <= y <= py + 1 and px <= x <= px + 1
)
# A window of one tap that every phase uses.
EVERY_PHASE = tuple((0, phase) for phase in range(PHASES))

_SOURCE = r"""
extern "C" __global__ void __launch_bounds__(384, 1) @NAME@(
        const SRC_S* __restrict__ x, const void* __restrict__ map,
        const u8* __restrict__ weights, const float* __restrict__ bias, DST_S* __restrict__ y) {
    constexpr int H = DST_H / 2, W = DST_W / 2, TX = (W + 7) / 8, TY = (H + 15) / 16;
    constexpr int GROUPS = @GROUPS@, CHUNKS = @CHUNKS@, WORK = DST_N * TX * TY * GROUPS;
    constexpr int STAGE = TILE + WEIGHTS;
@BEGIN@
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
                    fetch_box(to, map, chunk * CHANNELS, @PLACE@, barrier);
                    fetch(to + TILE, weights + ((u64)@SET@ * CHUNKS + chunk) * WEIGHTS, WEIGHTS,
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
""".replace(
    "@BEGIN@",
    _hopper.begin(
        "2 * STAGES",
        "empty = full + 8 * STAGES",
        ["for (int s = 0; s < STAGES; ++s) { init(full + 8 * s, 1); init(empty + 8 * s, 2); }"],
    ),
)


@dataclass(frozen=True, slots=True)
class PhaseSpec:
    """A convolution with stride 1 to the phases (0, 0), (0, 1), (1, 0), (1, 1).

    Attributes:
        source: The small image.
        target: Twice as high and wide.
        window: Height and width of the kernel.
        before: Padding above and to the left.
        uses: (tap, phase) wherever weights are not all zero; taps count row by row.
        relu: Whether a ReLU follows.
        depth: Images that each one becomes, with weights of their own: slices of a volume.
    """

    source: View
    target: View
    window: tuple[int, int]
    before: tuple[int, int]
    uses: tuple[tuple[int, int], ...]
    relu: bool
    depth: int = 1

    @property
    def sources(self) -> tuple[View, ...]:
        """The one image."""
        return (self.source,)

    @property
    def halo(self) -> tuple[int, int]:
        """Rows and columns of a tile with what the window reaches beyond it."""
        return TILE_H + self.window[0] - 1, TILE_W + self.window[1] - 1

    @property
    def work(self) -> int:
        """Tiles, times the 64s of channels that are written."""
        source = self.source
        tiles = self.target.n * -(-source.h // TILE_H) * -(-source.w // TILE_W)
        return tiles * -(-self.target.c // 64)


def _sizes(spec: PhaseSpec, staging: int) -> tuple[int, int, int]:
    """Return bytes of a tile, of its weights, and of all shared memory."""
    rows, cols = spec.halo
    tile = _hopper.rounded(rows * cols * _hopper.PIXEL_BYTES)
    weights = len(spec.uses) * _hopper.BLOCK_BYTES
    return tile, weights, _STAGES * (tile + weights) + staging + _hopper.ALIGNMENT_BYTES


def fits(spec: PhaseSpec, staging: int) -> bool:
    """Say whether sizes and shared memory suit.

    Args:
        spec: What is asked for.
        staging: Bytes that the way out takes.
    """
    return suits(spec) and _sizes(spec, staging)[2] <= _hopper.MOST_SHARED_BYTES - 1024


def suits(spec: PhaseSpec) -> bool:
    """Say whether the sizes of images and window suit."""
    source, target = spec.source, spec.target
    twice = (target.h, target.w) == (2 * source.h, 2 * source.w)
    return twice and max(spec.window) <= 3 and bool(spec.uses)


@dataclass(frozen=True, slots=True)
class Words:
    """What a source consists of besides the common one.

    Attributes:
        name: Of the kernel.
        channels: Of an image that a row of shared memory holds.
        staging: Bytes that the way out takes.
        types: Definitions that follow the settings.
        helpers: Functions in front of the kernel.
        store: What stores one phase.
        groups: How many 64s of channels are written, in C++.
        chunks: How many rows a pixel takes, in C++.
    """

    name: str
    channels: int
    staging: int
    types: str
    helpers: str
    store: str
    groups: str
    chunks: str


def launch(spec: PhaseSpec, words: Words) -> Launch:
    """Return source and geometry: a block of two warpgroups and a fetching thread."""
    tile, weights, total = _sizes(spec, words.staging)
    rows, cols = spec.halo
    head = constants("SRC", spec.source) + constants("DST", spec.target)
    head += setting(top=spec.before[0], left=spec.before[1], relu=int(spec.relu))
    head += setting(rows=rows, cols=cols, stages=_STAGES, tile=tile, weights=weights)
    parts = {
        "@NAME@": words.name, "@GROUPS@": words.groups, "@CHUNKS@": words.chunks,
        "@PRODUCTS@": products(spec), "@STORE@": _store(words.store),
        "@PLACE@": f"tx * 8 - LEFT, ty * 16 - TOP, {slice_read(spec)}",
        "@SET@": "outputs" if spec.depth == 1 else f"(n % {spec.depth} * GROUPS + outputs)",
    }  # fmt: skip
    source = _hopper.HELPERS + head + words.types + words.helpers + filled(_SOURCE, parts)
    box = Map(0, (words.channels, cols, rows))
    return Launch(
        source, words.name, spec.work, _hopper.THREADS, total, (box,),
        persistent=True, specific=True,
    )  # fmt: skip


def slice_read(spec: PhaseSpec) -> str:
    """Return which image of the source image ``n`` of the target is made from, in C++."""
    return "n" if spec.depth == 1 else f"n / {spec.depth}"


def products(spec: PhaseSpec) -> str:
    """Return one product a use: the tile begun at the tap's pixel, into the phase's sums."""
    width, cols = spec.window[1], spec.halo[1]
    return "\n".join(
        _hopper.product_call(
            phase, _hopper.tap_bytes(tap, width, cols), index * _hopper.BLOCK_BYTES
        )
        for index, (tap, phase) in enumerate(spec.uses)
    )


def _store(template: str) -> str:
    """Return what stores all phases."""
    return "".join(
        filled(template, {"@SLOT@": str(p), "@Y@": str(p // 2), "@X@": str(p % 2)})
        for p in range(PHASES)
    )


def random_kernel(
    spec: PhaseSpec, draw: Callable[[tuple[int, ...]], npt.NDArray[Any]], dtype: Any
) -> npt.NDArray[Any]:
    """Return a kernel (4 K, in, y, x) with weights where they are used, zeros elsewhere."""
    kernel = np.zeros((PHASES * spec.target.c, spec.source.c, *spec.window), dtype)
    blocks = kernel.reshape(PHASES, spec.target.c, spec.source.c, -1)
    for tap, phase in spec.uses:
        blocks[phase, :, :, tap] = draw(blocks.shape[1:3])
    return kernel


def reference(
    spec: PhaseSpec,
    image: Floats,
    blocks: Sequence[Floats] | Floats,
    finish: Callable[[Floats, int], Floats],
) -> Floats:
    """Convolve once a phase and put the phases where they belong.

    Args:
        spec: The convolution.
        image: Read, N H W C.
        blocks: Weights (in, out) of each use.
        finish: What follows a phase's sums.
    """
    target, size = spec.target, (spec.source.h, spec.source.w)
    result = np.empty((target.n, target.h, target.w, target.c))
    for phase in range(PHASES):
        weights = np.zeros((spec.window[0] * spec.window[1], spec.source.c, target.c))
        for (tap, wanted), block in zip(spec.uses, blocks, strict=True):
            if wanted == phase:
                weights[tap] = block
        window = weights.reshape(*spec.window, spec.source.c, target.c)
        sums = convolve(image, window, spec.before, size)
        result[:, phase // 2 :: 2, phase % 2 :: 2] = finish(sums, phase)
    return np.maximum(result, 0) if spec.relu else result
