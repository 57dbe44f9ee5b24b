"""The first two convolutions, and the pooling behind them, in one pass: Hopper.

A network's first layer makes 64 channels of one: what it writes and the second reads again takes
longer than both compute. Here one warpgroup computes the first layer's tile straight into shared
memory, where two others take turns with it as in `resident_convolution`; the skip and the pooled
image are written together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels import _affine, _first_products, _hopper, _pooled
from segrt.cuda.kernels._base import REGISTRY, Floats, Launch
from segrt.cuda.kernels._prelude import filled, setting
from segrt.cuda.kernels.first_convolution import convolve
from segrt.cuda.kernels.resident_convolution import arrange as arrange_resident
from segrt.cuda.views import View, decode, encode

TILE_H, TILE_W = 32, 8
_STAGES = 3

_SOURCE = r"""
extern "C" __global__ void __launch_bounds__(384, 1) opening(
        const SRC_S* __restrict__ x, @POOLED@const u8* __restrict__ first,
        const u8* __restrict__ weights, const float* __restrict__ bias, DST_S* __restrict__ y) {
    constexpr int TX = (DST_W + 7) / 8, TY = (DST_H + 31) / 32, TILES = DST_N * TX * TY;
    constexpr int PIXELS = IMAGE_ROWS * IMAGE_COLS, LOADS = (PIXELS + 127) / 128;
@BEGIN@
    if (group == 2) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 120;");
        int local = thread - 256, q = lane % 4;
        u32 kernel = base + WEIGHTS + STAGES * TILE + 2 * STAGING;
        if (local == 0) {
            expect(ready, WEIGHTS + FIRST_BYTES);
            fetch(base, weights, WEIGHTS, ready);
            fetch(kernel, first, FIRST_BYTES, ready);
        }
        int one[4], two[4], how[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            one[j] = ONE[4 * j + q]; two[j] = TWO[4 * j + q]; how[j] = HOW[4 * j + q];
        }
        float pixels[LOADS], d[32] = {};
        auto load = [&](int tile) {
            int tx = tile % TX, ty = tile / TX % TY, n = tile / (TX * TY);
#pragma unroll
            for (int e = 0; e < LOADS; ++e) {
                int i = local + 128 * e;
                int sy = ty * 32 + i / IMAGE_COLS - TOP_FIRST - TOP;
                int sx = tx * 8 + i % IMAGE_COLS - LEFT_FIRST - LEFT;
                bool inside = i < PIXELS && sy >= 0 && sy < SRC_H && sx >= 0 && sx < SRC_W;
                pixels[e] = inside ? SRC_T::load(x[(((u64)n * SRC_H + sy) * SRC_W + sx)
                                                   * SRC_PITCH]) : 0.0f;
            }
        };
        // Rows of 64 bytes, swizzled in fours.
        constexpr u64 KERNEL_FIRST = ((u64)2 << 62) | ((u64)(512 >> 4) << 32) | ((u64)1 << 16);
        int stage = 0, turn = 0;
        u32 parity = 1;
        load(blockIdx.x);
        wait(ready, 0);
        for (int tile = blockIdx.x; tile < TILES; tile += gridDim.x, turn ^= 1) {
            int tx = tile % TX, ty = tile / TX % TY;
#pragma unroll
            for (int e = 0; e < LOADS; ++e)
                if (local + 128 * e < PIXELS) images[turn][local + 128 * e] = split(pixels[e]);
            // Whoever is here has read all of the image before the last: it may be overwritten.
            asm volatile("bar.sync 3, 128;" ::: "memory");
            if (tile + gridDim.x < TILES) load(tile + gridDim.x);
            u32 image = shared_at(images[turn]), to = base + WEIGHTS + stage * TILE;
            wait(empty + 8 * stage, parity);
            auto gather = [&](int m, u32 (&a)[8], u32 (&keep)[2]) {
                u32 from[2];
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    int place = min(m * 64 + local / 32 * 16 + lane / 4 + 8 * h, HALO - 1);
                    int row = place / COLS, col = place % COLS;
                    int my = ty * 32 + row - TOP, mx = tx * 8 + col - LEFT;
                    from[h] = image + (row * IMAGE_COLS + col) * 4;
                    // Outside the image the second layer reads zeros, not the first one's bias.
                    keep[h] = my >= 0 && my < MID_H && mx >= 0 && mx < MID_W ? 0xffffffffu : 0;
                }
#pragma unroll
                for (int i = 0; i < 8; ++i) {
                    int j = i / 2;
                    a[i] = load_shared(from[i % 2] + one[j]);
                    if (MIXED >> j & 1)
                        a[i] = __byte_perm(a[i], load_shared(from[i % 2] + two[j]), how[j]);
                    if (BIAS_PAIR / 4 == j && q == BIAS_PAIR % 4) a[i] = 0x3f803f80u;
                }
            };
            auto multiply = [&](const u32 (&a)[8]) {
                products_begin();
                first_product(d, a[0], a[1], a[2], a[3], at(KERNEL_FIRST, kernel));
                more_product(d, a[4], a[5], a[6], a[7], at(KERNEL_FIRST, kernel + 32));
                products_commit();
            };
            auto put = [&](int m, const u32 (&keep)[2]) {
                products_wait<0>();
                settle(d);
                // Rows behind the tile's last pixel go to what fills it up, which nobody reads.
                u32 row = min(m * 64 + local / 32 * 16 + lane % 16, TILE / 128 - 1);
#pragma unroll
                for (int n = 0; n < 32; n += 8) {
                    u32 block = n / 4 + lane / 16;
                    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};"
                        :: "r"(to + row * 128 + ((block ^ (row & 7)) << 4)),
                           "r"(pack_first(d[n], d[n + 1], keep[0])),
                           "r"(pack_first(d[n + 2], d[n + 3], keep[1])),
                           "r"(pack_first(d[n + 4], d[n + 5], keep[0])),
                           "r"(pack_first(d[n + 6], d[n + 7], keep[1])) : "memory");
                }
            };
            // What is gathered must not lie where products in flight still read: two sets.
            u32 a[8], keep[2], next[8], keep_next[2];
            gather(0, a, keep);
#pragma unroll 1
            for (int m = 0; m < (HALO + 63) / 64; m += 2) {
                multiply(a);
                gather(m + 1, next, keep_next);
                put(m, keep);
                multiply(next);
                gather(m + 2, a, keep);
                put(m + 1, keep_next);
            }
            asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
            __syncwarp();
            if (lane == 0) arrive(full + 8 * stage);
            if (++stage == STAGES) { stage = 0; parity ^= 1; }
        }
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 192;");
        constexpr u64 IMAGE = tile_of(COLS * 128), KERNEL = tile_of(1024);
        int count = group;
        u32 staging = base + WEIGHTS + STAGES * TILE + group * STAGING;
        @ROWS@
        float sums[128];
        wait(ready, 0);
        for (int tile = blockIdx.x + group * gridDim.x; tile < TILES;
             tile += 2 * gridDim.x, count += 2) {
            int stage = count % STAGES;
            int tx = tile % TX, ty = tile / TX % TY, n = tile / (TX * TY), outputs = 0;
#pragma unroll
            for (int i = 0; i < 128; ++i) sums[i] = 0;
            settle(sums);
            u32 image = base + WEIGHTS + stage * TILE, kernel = base;
            wait(full + 8 * stage, count / STAGES & 1);
            products_begin();
#pragma unroll
            for (int step = 0; step < 4; ++step) {
@PRODUCTS@
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
            "// A tile is full when each of the four warps that compute it says so.",
            "for (int s = 0; s < STAGES; ++s) { init(full + 8 * s, 4); init(empty + 8 * s, 1); }",
            "init(ready, 1);",
        ],
        shared="    __shared__ u32 images[2][PIXELS];\n",
    ),
)


@dataclass(frozen=True, slots=True)
class OpeningSpec:
    """Two convolutions with stride 1, and max pooling by two.

    Attributes:
        source: One channel of any type.
        target: What the second writes: 64 channels, fp16 or bf16, aligned to 16 bytes.
        pooled: Half as high and wide, likewise; None where no pooling follows.
        middle: Height and width of what the first makes.
        windows: Height and width of both kernels.
        befores: Padding of both above and to the left.
        relus: Whether ReLUs follow.
        affine: Whether factors and shifts follow the second, in front of the pooling.
    """

    source: View
    target: View
    pooled: View | None
    middle: tuple[int, int]
    windows: tuple[tuple[int, int], tuple[int, int]]
    befores: tuple[tuple[int, int], tuple[int, int]]
    relus: tuple[bool, bool]
    affine: bool = False

    @property
    def sources(self) -> tuple[View, ...]:
        """The image, and the pooled one, which is written."""
        return _pooled.sources(self)

    @property
    def halo(self) -> tuple[int, int]:
        """Rows and columns of the second layer's tile with what its window reaches beyond it."""
        height, width = self.windows[1]
        return TILE_H + height - 1, TILE_W + width - 1


def _sizes(spec: OpeningSpec) -> tuple[int, int, int]:
    """Return bytes of a tile, of the second layer's weights, and of all dynamic shared memory."""
    rows, cols = spec.halo
    # One row more than there are pixels: see where the first layer's results are stored.
    tile = _hopper.rounded((rows * cols + 1) * _hopper.PIXEL_BYTES)
    weights = spec.windows[1][0] * spec.windows[1][1] * _hopper.BLOCK_BYTES
    staging = _hopper.STAGING_BYTES * _hopper.WARPGROUPS
    fixed = weights + staging + _first_products.FIRST_BYTES + _hopper.ALIGNMENT_BYTES
    return tile, weights, fixed + _STAGES * tile


def fits(spec: OpeningSpec) -> bool:
    """Say whether the kernel takes these sizes."""
    channels = spec.source.c == 1 and spec.target.c == 64
    windows = all(max(window) <= 3 for window in spec.windows)
    rows, cols = spec.halo
    images = 8 * (rows + spec.windows[0][0] - 1) * (cols + spec.windows[0][1] - 1)
    small = _sizes(spec)[2] + images + 256 <= _hopper.MOST_SHARED_BYTES
    return _pooled.fits(spec) and channels and windows and small


class Opening:
    """Kernel ``opening``.

    Parameters: the first layer's as `_first_products.arrange` makes them, then weights as
    `resident_convolution` has them and bias (64); where factors and shifts follow, these stand
    behind the bias: (3, 64).
    """

    name = "opening"
    capability = (9, 0)
    cases = (
        OpeningSpec(
            View(3, 40, 52, 1, "fp32"), View(3, 40, 52, 64, "fp16", 128, 0),
            View(3, 20, 26, 64, "fp16", 128, 64),
            (40, 52), ((3, 3), (3, 3)), ((1, 1), (1, 1)), (True, True),
        ),
        OpeningSpec(
            View(70, 33, 70, 1, "fp32"), View(70, 33, 70, 64, "bf16"), None,
            (33, 70), ((3, 3), (3, 3)), ((1, 1), (1, 1)), (True, True),
        ),
        OpeningSpec(
            View(2, 21, 37, 1, "uint8"), View(2, 18, 34, 64, "fp16"), View(2, 9, 17, 64, "fp16"),
            (20, 36), ((2, 2), (3, 3)), ((0, 0), (0, 0)), (False, False),
        ),
        # Smaller than a tile.
        OpeningSpec(
            View(1, 5, 3, 1, "fp32", 3, 1), View(1, 5, 3, 64, "fp16", 192, 64), None,
            (5, 3), ((3, 3), (3, 3)), ((1, 1), (1, 1)), (True, False),
        ),
        OpeningSpec(
            View(1, 2, 2, 1, "fp16"), View(1, 2, 2, 64, "bf16"), View(1, 1, 1, 64, "bf16", 72, 8),
            (2, 2), ((3, 3), (3, 3)), ((1, 1), (1, 1)), (True, True),
        ),
        OpeningSpec(
            View(2, 38, 22, 1, "fp32"), View(2, 38, 22, 64, "fp16", 128, 64),
            View(2, 19, 11, 64, "fp16"),
            (38, 22), ((3, 3), (3, 3)), ((1, 1), (1, 1)), (True, True), affine=True,
        ),
    )  # fmt: skip

    def launch(self, spec: OpeningSpec, /) -> Launch:
        """Return source and geometry: two warpgroups for the second layer, one for the first."""
        tile, weights, total = _sizes(spec)
        target, (rows, cols) = spec.target, spec.halo
        image_cols = cols + spec.windows[0][1] - 1
        kind = "f16" if target.dtype == "fp16" else "bf16"
        head = _pooled.views(spec)
        head += setting(top=spec.befores[1][0], left=spec.befores[1][1])
        head += setting(top_first=spec.befores[0][0], left_first=spec.befores[0][1])
        head += setting(mid_h=spec.middle[0], mid_w=spec.middle[1], halo=rows * cols, cols=cols)
        head += setting(image_rows=rows + spec.windows[0][0] - 1, image_cols=image_cols)
        head += setting(stages=_STAGES, tile=tile, weights=weights, staging=_hopper.STAGING_BYTES)
        head += _affine.words(kind, spec.relus[1], spec.affine)
        head += f'#define RELU_FIRST "{"relu." * spec.relus[0]}"\n'
        head += _first_products.tables(spec.windows[0], image_cols)
        head += _first_products.HELPERS + _first_products.products()
        head += _hopper.product(0, 256, kind)
        parts = {"@PRODUCTS@": _products(spec), **_affine.parts(spec, TILE_H, "bias")}
        text = filled(_SOURCE, parts)
        tiles = target.n * -(-target.h // TILE_H) * -(-target.w // TILE_W)
        return Launch(
            _hopper.HELPERS + head + _hopper.COLUMNS + text, self.name, tiles,
            _hopper.THREADS, total, persistent=True, specific=True,
        )  # fmt: skip

    def parameters(self, spec: OpeningSpec, seed: int, /) -> Sequence[Any]:
        """Return weights and biases."""
        rng = np.random.default_rng(seed)
        scale = 1 / 255 if spec.source.dtype == "uint8" else 1.0
        first = rng.normal(0, 0.3 * scale, (*spec.windows[0], 1, 64))
        second = rng.normal(0, 0.1, (*spec.windows[1], 64, 64))
        biases = rng.normal(size=(2, 64)).astype(np.float32)
        arranged = arrange_resident(second, spec.target.dtype)
        last = rng.normal(size=(3, 64)).astype(np.float32) if spec.affine else biases[1]
        return _first_products.arrange(first, biases[0]), arranged, last

    def reference(
        self, spec: OpeningSpec, images: Sequence[Floats], parameters: Sequence[npt.NDArray[Any]], /
    ) -> Floats:
        """Sum shifted images, twice; what lies between is rounded."""
        dtype = spec.target.dtype
        weights, bias = _first_products.restore(parameters[0], spec.windows[0])
        middle = convolve(images[0], weights, spec.befores[0], spec.middle) + bias
        middle = np.maximum(middle, 0) if spec.relus[0] else middle
        middle = decode(encode(middle, dtype), dtype).astype(np.float64)
        height, width = spec.windows[1]
        plain = _hopper.restore(parameters[1], dtype, (height * width * 64, 64))
        taps = plain.reshape(height, width, 64, 64).transpose(0, 1, 3, 2)
        size = (spec.target.h, spec.target.w)
        sums = convolve(middle, taps, spec.befores[1], size)
        return _affine.finish(sums, parameters[2], relu=spec.relus[1], affine=spec.affine)


def _products(spec: OpeningSpec) -> str:
    """Return one product a tap: all outputs by all pixels, the tile begun at the tap's pixel."""
    lines = []
    for tap in range(spec.windows[1][0] * spec.windows[1][1]):
        pixel = _hopper.tap_bytes(tap, spec.windows[1][1], spec.halo[1])
        lines.append(
            f"                product_0(sums, at(KERNEL, kernel + {tap * _hopper.BLOCK_BYTES} "
            f"+ step * 32), at(IMAGE, image + {pixel} + step * 32));"
        )
    return "\n".join(lines)


REGISTRY.register(Opening.name)(Opening())
