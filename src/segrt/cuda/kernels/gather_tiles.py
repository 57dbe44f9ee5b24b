"""Tiles cut out of a large image; what reaches over its edges is the image mirrored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._base import REGISTRY, Floats, Launch
from segrt.cuda.kernels._image_launch import TARGET_PLACE, image_launch
from segrt.cuda.kernels._tiles import GRID, example_grid, read_grid
from segrt.cuda.views import View, vector_width

_SOURCE = (
    GRID
    + r"""
// The edge itself is not repeated: dcb|abcd|cba.
__device__ __forceinline__ int mirrored(int place, int length) {
    if (place < length) return place;
    if (length == 1) return 0;
    int period = 2 * (length - 1), folded = place % period;
    return folded < period - folded ? folded : period - folded;
}
extern "C" __global__ void gather_tiles(
        const SRC_S* __restrict__ image, const int* __restrict__ table,
        const int* __restrict__ first, DST_S* __restrict__ tiles) {
    PLACE
    const Grid grid(table);
    // A batch that is not full ends with copies of the last tile.
    int tile = *first + n / SRC_N, last = grid.rows * grid.columns - 1;
    if (tile > last) tile = last;
    int sy = mirrored(grid.tops[tile / grid.columns] + py, grid.height);
    int sx = mirrored(grid.lefts[tile % grid.columns] + px, grid.width);
    u64 source = ((u64)(n % SRC_N) * grid.height + sy) * grid.width + sx;
    auto v = Vec<SRC_T, V>::read(image + source * SRC_PITCH + group * V);
    Vec<DST_T, V> out;
#pragma unroll
    for (int i = 0; i < V; ++i) out.e[i] = DST_T::store(SRC_T::load(v.e[i]));
    out.write(tiles + (u64)pixel * DST_PITCH + group * V);
}
""".replace("PLACE", TARGET_PLACE)
)


@dataclass(frozen=True, slots=True)
class GatherTilesSpec:
    """A batch of ``target.n // source.n`` tiles of an image.

    Attributes:
        source: The image; its planes are ``n``. Its height and width do not change the kernel.
        target: The tiles, those of a tile's planes side by side.
    """

    source: View
    target: View

    @property
    def sources(self) -> tuple[View, ...]:
        """The one image."""
        return (self.source,)


class GatherTiles:
    """Kernel ``gather_tiles``; bit-equal where the types are.

    Its parameters: a grid of tiles, and the batch's first one; see `segrt.cuda.kernels._tiles`.
    """

    name = "gather_tiles"
    capability = (7, 5)
    cases = (
        GatherTilesSpec(View(1, 9, 11, 3, "fp32"), View(6, 4, 5, 3, "fp32")),
        GatherTilesSpec(View(1, 10, 7, 4, "uint8"), View(5, 6, 4, 4, "uint8")),
        # Smaller than a tile, by more than once its size.
        GatherTilesSpec(View(1, 3, 2, 1, "fp16"), View(2, 8, 7, 1, "fp16")),
        GatherTilesSpec(View(1, 1, 6, 2, "uint8"), View(3, 3, 4, 2, "fp32")),
        # Three planes: channels come first.
        GatherTilesSpec(View(3, 7, 8, 1, "fp32"), View(12, 4, 5, 1, "fp32")),
        # One tile, as large as the image.
        GatherTilesSpec(View(1, 2, 3, 8, "bf16"), View(1, 2, 3, 8, "bf16")),
    )  # fmt: skip

    def launch(self, spec: GatherTilesSpec, /) -> Launch:
        """Return source and geometry: one thread a target pixel and vector of channels."""
        width = vector_width(spec.source, spec.target)
        # Images of all sizes share the machine code.
        sizeless = replace(spec, source=replace(spec.source, h=0, w=0))
        return image_launch(self.name, _SOURCE, sizeless, width, {})

    def parameters(self, spec: GatherTilesSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return a grid and its second row of tiles."""
        return example_grid(spec.target, spec.source)

    def reference(
        self,
        spec: GatherTilesSpec,
        images: Sequence[Floats],
        parameters: Sequence[npt.NDArray[Any]],
        /,
    ) -> Floats:
        """Cut from the image padded by NumPy."""
        (height, width), rows, columns = read_grid(parameters[0])
        h, w = spec.target.h, spec.target.w
        over = [(0, 0), (0, max(0, h - height)), (0, max(0, w - width)), (0, 0)]
        padded = np.pad(images[0], over, mode="reflect")
        corners = [(y, x) for y in rows for x in columns]
        first, count = int(parameters[1].flat[0]), spec.target.n // spec.source.n
        wanted = [corners[min(first + step, len(corners) - 1)] for step in range(count)]
        return np.concatenate([padded[:, y : y + h, x : x + w] for y, x in wanted])


REGISTRY.register(GatherTiles.name)(GatherTiles())
