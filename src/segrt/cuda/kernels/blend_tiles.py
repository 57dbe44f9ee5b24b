"""Tiles put together to an image: probabilities blended, masks joined; no atomic operations.

The thread of a pixel adds all tiles of a batch that cover it, in their order, so that every run has
the same result, and the one that the same sums have on a CPU. The weights of tiles of earlier
batches are summed again: nothing but the image itself is kept between batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._base import REGISTRY, Floats, Launch
from segrt.cuda.kernels._image_launch import SOURCE_PLACE, image_launch
from segrt.cuda.kernels._tiles import GRID, example_grid, read_grid
from segrt.cuda.views import View, vector_width

_SOURCE = (
    GRID
    + r"""
// Starts from `from` up to `end` are of tiles that cover `place`; they ascend.
__device__ __forceinline__ void cover(
        const int* starts, int count, int tile, int place, int& from, int& end) {
    for (from = 0; starts[from] + tile <= place; ++from);
    for (end = from; end < count && starts[end] <= place; ++end);
}
// Neither `before` nor `after` is restricted: they may be the same memory.
extern "C" __global__ void blend_tiles(
        const SRC_S* __restrict__ tiles, const SRC2_S* before, const int* __restrict__ table,
        const int* __restrict__ first, const float* __restrict__ ramps, DST_S* after) {
    PLACE
    const Grid grid(table);
    int begin = *first, tile = begin + n / DST_N, stop = begin + SRC_N / DST_N;
    if (stop > grid.rows * grid.columns) stop = grid.rows * grid.columns;
    if (tile >= stop) return;
    int y = grid.tops[tile / grid.columns] + py, x = grid.lefts[tile % grid.columns] + px;
    if (y >= grid.height || x >= grid.width) return;
    int top, bottom, left, right;
    cover(grid.tops, grid.rows, SRC_H, y, top, bottom);
    cover(grid.lefts, grid.columns, SRC_W, x, left, right);
    u64 place = ((u64)(n % DST_N) * grid.height + y) * grid.width + x;
    float weight = 0.0f, mean[V];
    bool begun = false;
    for (int r = top; r < bottom; ++r)
        for (int c = left; c < right; ++c) {
            int other = r * grid.columns + c;
            if (other >= stop) break;
            int ty = y - grid.tops[r], tx = x - grid.lefts[c];
            // Rounded one by one: contracted to a fused step, the sums would not be the CPU's.
            float window = __fmul_rn(ramps[ty], ramps[SRC_H + tx]);
            bool nearer = window > weight;
            float sum = JOINED ? (nearer ? window : weight) : __fadd_rn(weight, window);
            if (other >= begin) {
                if (!begun) {
                    // The pixel belongs to the first tile of the batch that covers it.
                    if (other != tile) return;
                    begun = true;
#pragma unroll
                    for (int i = 0; i < V; ++i)
                        mean[i] = weight > 0.0f
                            ? SRC2_T::load(before[place * SRC2_PITCH + group * V + i]) : 0.0f;
                }
                u64 from = (u64)((other - begin) * DST_N + n % DST_N) * SRC_H + ty;
                auto v = Vec<SRC_T, V>::read(tiles + (from * SRC_W + tx) * SRC_PITCH + group * V);
#pragma unroll
                for (int i = 0; i < V; ++i) {
                    float value = SRC_T::load(v.e[i]);
                    if (!JOINED) {
                        float step = __fmul_rn(__fsub_rn(value, mean[i]), __fdiv_rn(window, sum));
                        mean[i] = __fadd_rn(mean[i], step);
                    } else if (nearer) {
                        mean[i] = value;
                    }
                }
            }
            weight = sum;
        }
#pragma unroll
    for (int i = 0; i < V; ++i) after[place * DST_PITCH + group * V + i] = DST_T::store(mean[i]);
}
""".replace("PLACE", SOURCE_PLACE)
)


@dataclass(frozen=True, slots=True)
class BlendTilesSpec:
    """A batch of ``tiles.n // target.n`` tiles, added to what earlier batches left.

    Attributes:
        tiles: Predictions, those of a tile's planes side by side.
        before: The image so far; where no tile was yet it is not read.
        target: The image with these tiles; may be the same memory. Its height and width do not
            change the kernel. Pixels that no tile of the batch covers are not written.
        joined: Each pixel is taken from the tile that weighs most there, the first of equals; else
            it is the weighted mean.
    """

    tiles: View
    before: View
    target: View
    joined: bool = False

    @property
    def sources(self) -> tuple[View, ...]:
        """Tiles and image."""
        return self.tiles, self.before


def _case(tiles: View, size: tuple[int, int], *, planes: int = 1, joined: bool = False) -> Any:
    image = View(planes, *size, tiles.c, "fp32")
    return BlendTilesSpec(tiles, image, image, joined)


class BlendTiles:
    """Kernel ``blend_tiles``; bit-equal to the same sums in float32.

    Its parameters: a grid of tiles and the batch's first one, see `segrt.cuda.kernels._tiles`; the
    weights along a tile's height, then along its width, float32, positive.
    """

    name = "blend_tiles"
    capability = (7, 5)
    cases = (
        _case(View(6, 6, 7, 1, "fp32"), (11, 15)),
        _case(View(7, 6, 5, 4, "fp16"), (11, 9)),
        _case(View(5, 8, 4, 3, "fp32"), (6, 10)),
        _case(View(8, 5, 6, 1, "fp32"), (9, 11), planes=2),
        _case(View(6, 6, 7, 1, "uint8"), (11, 15), joined=True),
    )

    def launch(self, spec: BlendTilesSpec, /) -> Launch:
        """Return source and geometry: one thread a pixel of the tiles and vector of channels."""
        sizeless = replace(
            spec,
            before=replace(spec.before, h=0, w=0),
            target=replace(spec.target, h=0, w=0),
        )
        width = vector_width(spec.tiles, spec.before, spec.target)
        settings = {"joined": int(spec.joined)}
        return image_launch(self.name, _SOURCE, sizeless, width, settings, over=spec.tiles)

    def parameters(self, spec: BlendTilesSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return a grid, its second row of tiles, and random weights."""
        rng = np.random.default_rng(seed)
        ramps = rng.uniform(0.1, 1, spec.tiles.h + spec.tiles.w).astype(np.float32)
        return (*example_grid(spec.tiles, spec.target), ramps)

    def reference(
        self,
        spec: BlendTilesSpec,
        images: Sequence[Floats],
        parameters: Sequence[npt.NDArray[Any]],
        /,
    ) -> Floats:
        """Add tile after tile."""
        grid, first, ramps = parameters
        (height, width), rows, columns = read_grid(grid)
        begin, planes = int(first.flat[0]), spec.target.n
        window = np.outer(ramps[: spec.tiles.h], ramps[spec.tiles.h :])
        weight = np.zeros((height, width), ramps.dtype)
        mean = images[1].copy()
        corners = [(y, x) for y in rows for x in columns][: begin + spec.tiles.n // planes]
        for index, (y, x) in enumerate(corners):
            place = np.s_[y : y + spec.tiles.h, x : x + spec.tiles.w]
            here = weight[place]
            own = window[: here.shape[0], : here.shape[1]]
            if index >= begin:
                tile = images[0][(index - begin) * planes :][:planes]
                tile = tile[:, : here.shape[0], : here.shape[1]]
                share = own > here if spec.joined else own / (here + own)
                # What lies where no tile was yet is no number.
                old = np.where(here[..., None] > 0, mean[:, *place], 0.0)
                mean[:, *place] = old + (tile - old) * share[..., None]
            weight[place] = np.maximum(here, own) if spec.joined else here + own
        return mean


REGISTRY.register(BlendTiles.name)(BlendTiles())
