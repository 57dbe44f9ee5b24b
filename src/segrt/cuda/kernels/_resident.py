"""What the kernels with weights resident in shared memory share: Hopper.

Each block keeps the weights and walks over the image; two warpgroups take turns with tiles of
their own, so that one stores while the other computes. What the kernels in half precision and on
integers differ in are the words of the source and the way out.
"""

from __future__ import annotations

from dataclasses import dataclass

from segrt.cuda.kernels import _hopper
from segrt.cuda.kernels._base import Launch, Map
from segrt.cuda.kernels._prelude import constants, filled, setting
from segrt.cuda.kernels._window import WindowSpec

_MOST_STAGES = 8

_SOURCE = r"""
extern "C" __global__ void __launch_bounds__(384, 1) @NAME@(
        const SRC_S* __restrict__ x, const void* __restrict__ map,
        const u8* __restrict__ weights, const float* __restrict__ bias, DST_S* __restrict__ y) {
    constexpr int WIDE = 8 * SUB, TX = (DST_W + WIDE - 1) / WIDE, TY = (DST_H + 7) / 8;
    constexpr int TILES = DST_N * TX * TY, EACH = OUTPUTS / 2;
@BEGIN@
    if (group == 2) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        if (thread == 256) {
            int stage = 0;
            u32 parity = 1;
            acquire(map);
            expect(ready, CHUNKS * WEIGHTS);
            for (int chunk = 0; chunk < CHUNKS; ++chunk)
                fetch(base + chunk * WEIGHTS, weights + @CHUNK@ * WEIGHTS, WEIGHTS, ready);
            for (int tile = @BLOCK@; tile < TILES; tile += @BLOCKS@) {
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
        for (int tile = @BLOCK@ + group * @BLOCKS@; tile < TILES;
             tile += 2 * @BLOCKS@, count += 2) {
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
""".replace(
    "@BEGIN@",
    _hopper.begin(
        "2 * STAGES + 1",
        "empty = full + 8 * STAGES, ready = empty + 8 * STAGES",
        [
            "for (int s = 0; s < STAGES; ++s) { init(full + 8 * s, 1); init(empty + 8 * s, 1); }",
            "init(ready, 1);",
        ],
    ),
)

_STORE_FEW = r"""
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
class ResidentSpec(WindowSpec):
    """A convolution with stride 1 to 64 channels at a time, or at most 8.

    Each kernel says how many channels a row of shared memory holds of an image, and of one tap.
    """

    @property
    def outputs(self) -> int:
        """Columns of a product: 64, or 8 where fewer are wanted."""
        return 64 if self.target.c > 8 else 8

    @property
    def groups(self) -> int:
        """How many times `outputs` channels the target has."""
        return -(-self.target.c // self.outputs)

    @property
    def channels(self) -> int:
        """Channels that a row of 128 bytes holds."""
        return _hopper.CHANNELS

    @property
    def chunks(self) -> int:
        """Rows of 128 bytes that a pixel takes."""
        return -(-self.source.c // self.channels)

    @property
    def taps_a_row(self) -> int:
        """Taps whose weights share rows of 128 bytes."""
        return 1

    @property
    def weight_blocks(self) -> int:
        """Blocks of rows that a chunk's weights take."""
        return -(-self.window[0] * self.window[1] // self.taps_a_row)


@dataclass(frozen=True, slots=True)
class Layout:
    """How a block divides its shared memory.

    Attributes:
        sub: Squares of 8 x 8 pixels side by side in a tile.
        stages: Tiles held at a time.
        tile: Bytes of a chunk of a tile with its halo.
        weights: Bytes of a chunk's weights.
        total: Bytes of all.
    """

    sub: int
    stages: int
    tile: int
    weights: int
    total: int


def layout(spec: ResidentSpec, staging: int) -> Layout | None:
    """Return the division with the widest tiles that leaves room for three, or two, of them.

    Args:
        spec: What is asked for.
        staging: Bytes that the way out of 64 channels takes.
    """
    height, width = spec.window
    weights = spec.weight_blocks * spec.outputs * _hopper.PIXEL_BYTES
    fixed = _hopper.ALIGNMENT_BYTES + spec.chunks * weights
    fixed += staging if spec.outputs == 64 else 0
    room = max(0, _hopper.MOST_SHARED_BYTES - 1024 - fixed)
    for fewest in (3, 2):
        for sub in (4, 2, 1):
            pixels = (8 + height - 1) * (8 * sub + width - 1)
            tile = _hopper.rounded(pixels * _hopper.PIXEL_BYTES)
            stages = min(_MOST_STAGES, room // (spec.chunks * tile))
            if stages >= fewest:
                return Layout(sub, stages, tile, weights, fixed + spec.chunks * stages * tile)
    return None


def fits(spec: ResidentSpec, staging: int) -> bool:
    """Say whether window and shared memory suit; arguments are those of `layout`."""
    return max(spec.window) <= 5 and layout(spec, staging) is not None


@dataclass(frozen=True, slots=True)
class Words:
    """What a source consists of besides the common one.

    Attributes:
        name: Of the kernel.
        types: Definitions that follow the settings.
        helpers: Functions in front of the kernel.
        store: What stores 64 channels of one square of pixels.
        chunk: Which of the weights' chunks one is, in C++.
        block: A block's place among those that compute the same channels, in C++.
        blocks: How many these are, in C++.
        parts: How many sets of blocks there are.
    """

    name: str
    types: str
    helpers: str
    store: str
    chunk: str = "chunk"
    block: str = "blockIdx.x"
    blocks: str = "gridDim.x"
    parts: int = 1


def launch(spec: ResidentSpec, divided: Layout, words: Words) -> Launch:
    """Return source and geometry: a block of two warpgroups and a fetching thread."""
    source, target, sub = spec.source, spec.target, divided.sub
    rows, cols = 8 + spec.window[0] - 1, 8 * sub + spec.window[1] - 1
    head = constants("SRC", source) + constants("DST", target)
    head += setting(top=spec.before[0], left=spec.before[1], relu=int(spec.relu))
    head += setting(rows=rows, cols=cols, sub=sub, stages=divided.stages, tile=divided.tile)
    head += setting(weights=divided.weights, outputs=spec.outputs, chunks=spec.chunks)
    store = _STORE_FEW
    if spec.outputs == 64:
        store = "".join(words.store.replace("@SLOT@", str(slot)) for slot in range(sub))
    parts = {
        "@NAME@": words.name, "@CHUNK@": words.chunk, "@PRODUCTS@": products(spec, sub, cols),
        "@STORE@": store, "@BLOCK@": words.block, "@BLOCKS@": words.blocks,
    }  # fmt: skip
    text = _hopper.HELPERS + head + words.types + words.helpers + filled(_SOURCE, parts)
    tiles = target.n * -(-target.h // 8) * -(-target.w // (8 * sub))
    return Launch(
        text, words.name, tiles * words.parts, _hopper.THREADS, divided.total,
        (Map(0, (spec.channels, cols, rows)),), persistent=True, specific=True,
    )  # fmt: skip


def products(spec: ResidentSpec, sub: int, cols: int) -> str:
    """Return one product a tap and square: the same tile, begun at another pixel."""
    lines, block = [], spec.outputs * _hopper.PIXEL_BYTES
    for tap in range(spec.window[0] * spec.window[1]):
        row, part = divmod(tap, spec.taps_a_row)
        for slot in range(sub):
            image = _hopper.tap_bytes(tap, spec.window[1], cols, 8 * slot)
            lines.append(_hopper.product_call(slot, image, row * block + part * 64))
    return "\n".join(lines)
