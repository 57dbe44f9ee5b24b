"""What the kernels of tiles share: how a grid of tiles is told to them.

An image of any size goes through one kernel: what depends on the image is a parameter, int32
``height, width, rows, columns``, then where each row and each column of tiles begins. Tile ``i`` is
``divmod(i, columns)``. A second parameter of one int32 says which tile is the first of a batch.

Images with channels first are as many planes of one channel; tiles of a batch are then planes too,
those of one tile side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from segrt.cuda.views import View

Ints = npt.NDArray[np.int32]

GRID = r"""
struct Grid {
    int height, width, rows, columns;
    const int *tops, *lefts;
    __device__ __forceinline__ explicit Grid(const int* g)
        : height(g[0]), width(g[1]), rows(g[2]), columns(g[3]), tops(g + 4), lefts(g + 4 + g[2]) {}
};
"""


def grid_parameter(size: tuple[int, int], rows: Sequence[int], columns: Sequence[int]) -> Ints:
    """Return the parameter that tells a grid.

    Args:
        size: The image's (height, width).
        rows: First row of each row of tiles.
        columns: First column of each column of tiles.
    """
    return np.array([*size, len(rows), len(columns), *rows, *columns], np.int32)


def read_grid(grid: Ints) -> tuple[tuple[int, int], list[int], list[int]]:
    """Return what `grid_parameter` was given."""
    height, width, rows = (int(number) for number in grid[:3])
    return (height, width), grid[4 : 4 + rows].tolist(), grid[4 + rows :].tolist()


def example_grid(tiles: View, image: View) -> tuple[Ints, Ints]:
    """Return a grid whose tiles cover an image, and the first tile of a batch that does so alone.

    A whole row of tiles, the topmost once more, lies before that batch.
    """
    down, count = -(-image.h // tiles.h), tiles.n // image.n
    across = count // down
    tops, lefts = _spread(image.h, tiles.h, down), _spread(image.w, tiles.w, across)
    grid = grid_parameter((image.h, image.w), (tops[0], *tops), lefts)
    return grid, np.array([across], np.int32)


def _spread(length: int, tile: int, count: int) -> list[int]:
    return [max(0, length - tile) * index // max(1, count - 1) for index in range(count)]
