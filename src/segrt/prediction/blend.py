"""Putting overlapping tiles together, in bounded memory: probabilities blended, masks joined.

Each tile's prediction counts most in its middle: its weight is a product of two raised-cosine
ramps as wide as the overlap, so that two neighbours that share exactly that overlap have weights
that sum to 1. Any other overlap is normalised by the sum of weights.

The sum is kept as a weighted running mean, ``mean += (tile - mean) * weight / weight so far``:
where all tiles agree the result is their common value, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segrt.prediction.tiling import TilePlan
from segrt.types import TileGrid

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Band:
    """Finished rows of an image.

    Attributes:
        first_row: Where they begin.
        values: float32 ``(rows, width, channels)``.
    """

    first_row: int
    values: FloatArray


def ramp(tile: int, overlap: int) -> FloatArray:
    """Return the positive weights of a tile's positions along one axis; float32 ``(tile,)``.

    With ``overlap <= tile / 2``, weights of two tiles that lie ``tile - overlap`` apart sum to 1
    wherever both are. A larger overlap ramps over half the tile.
    """
    width = min(overlap, tile // 2)
    weights = np.ones(tile, dtype=np.float64)
    rise = np.sin(np.pi / 2 * (np.arange(width) + 0.5) / max(width, 1)) ** 2
    weights[:width] = rise
    weights[tile - width :] = rise[::-1]
    return weights.astype(np.float32)


def grid_of(plan: TilePlan, *, joined: bool = False) -> TileGrid:
    """Return a plan with the weights that `Blender` (or, ``joined``, `Mosaic`) gives its tiles."""
    ramps = [ramp(tile, overlap) for tile, overlap in zip(plan.tile, plan.overlap, strict=True)]
    weights = (tuple(ramps[0].tolist()), tuple(ramps[1].tolist()))
    return TileGrid(plan.size, plan.tile, plan.rows, plan.columns, weights, joined)


class Blender:
    """Takes an image's tiles in row-major order and gives its rows back as they are finished.

    Never holds more than one row of tiles.

    Args:
        plan: The tiles.
        channels: Channels of a prediction.
    """

    def __init__(self, plan: TilePlan, channels: int) -> None:
        self._plan = plan
        self._window = np.outer(
            ramp(plan.tile[0], plan.overlap[0]), ramp(plan.tile[1], plan.overlap[1])
        )
        rows, width = min(plan.tile[0], plan.size[0]), plan.size[1]
        self._mean = np.zeros((rows, width, channels), dtype=np.float32)
        self._weight = np.zeros((rows, width), dtype=np.float32)
        self._next = 0

    def add(self, tile: FloatArray) -> Band | None:
        """Add the next tile, ``(tile height, tile width, channels)``.

        Returns:
            The rows that no later tile touches, after the last tile of a row of tiles.
        """
        row, column = divmod(self._next, len(self._plan.columns))
        self._next += 1
        height = len(self._mean)
        left = self._plan.columns[column]
        width = min(self._plan.tile[1], self._plan.size[1] - left)
        place = np.s_[:, left : left + width]
        self._merge(
            self._mean[place], self._weight[place], tile[:height, :width],
            self._window[:height, :width],
        )  # fmt: skip
        return self._finish(row) if column == len(self._plan.columns) - 1 else None

    def _merge(
        self, mean: FloatArray, weight: FloatArray, tile: FloatArray, window: FloatArray
    ) -> None:
        """Add a tile where it lies; ``mean`` and ``weight`` are changed."""
        weight += window
        # At most 1 up to rounding; exactly 1 where this tile is the first.
        mean += (tile - mean) * (window / weight)[..., None]

    def _finish(self, row: int) -> Band:
        rows = self._plan.rows
        if row == len(rows) - 1:
            return Band(rows[row], self._mean)
        done = rows[row + 1] - rows[row]
        band = Band(rows[row], self._mean[:done].copy())
        for array in (self._mean, self._weight):
            array[: len(array) - done] = array[done:].copy()
            array[len(array) - done :] = 0
        return band


class Mosaic(Blender):
    """Puts masks together: each pixel is taken from the tile that has it nearest to its middle.

    Numbers of classes cannot be averaged, so nothing is blended. The seam of two tiles runs through
    the middle of what they share, as far from both edges as it can.
    """

    def _merge(
        self, mean: FloatArray, weight: FloatArray, tile: FloatArray, window: FloatArray
    ) -> None:
        """Put in the part of a tile that no tile before it has nearer to its middle."""
        nearer = window > weight
        mean[nearer] = tile[nearer]
        weight[nearer] = window[nearer]
