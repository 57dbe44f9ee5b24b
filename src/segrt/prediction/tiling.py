"""Where the tiles of an image lie.

Tiles are of one size and lie on a grid. They are spread evenly, so that the last one ends at the
image's edge and neighbours overlap by at least what was asked. Where the image is smaller than a
tile, the tile reaches over its right and lower edge; what lies there is the image mirrored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segrt.errors import UsageError
from segrt.graph.size_ranges import nearest_in_range
from segrt.prediction.picture import Pixels
from segrt.types import ShapeProfile

Size = tuple[int, int]
# A side that a network fixes, the range it limits it to, or None where it is free.
Fixed = int | ShapeProfile | None

# Without a wish, larger images go through a free-size network in tiles: a level of 64 channels
# in fp32 takes 256 MB at this size, and a network keeps several of them.
WHOLE_PIXELS = 1024 * 1024


@dataclass(frozen=True, slots=True)
class TilePlan:
    """The tiles of one image.

    Attributes:
        size: The image's (height, width).
        tile: A tile's (height, width).
        overlap: What was asked for, (vertical, horizontal); neighbours share at least this.
        rows: First row of each row of tiles, ascending, from 0.
        columns: First column of each column of tiles, ascending, from 0.
    """

    size: Size
    tile: Size
    overlap: Size
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of tiles."""
        return len(self.rows) * len(self.columns)

    def cut(self, pixels: Pixels, index: int) -> Pixels:
        """Return tile ``index`` (row-major) of ``(height, width, ...)`` pixels."""
        row, column = divmod(index, len(self.columns))
        y, x = self.rows[row], self.columns[column]
        height, width = self.tile
        if y + height <= self.size[0] and x + width <= self.size[1]:
            return pixels[y : y + height, x : x + width]
        rows = mirrored(np.arange(y, y + height), self.size[0])
        columns = mirrored(np.arange(x, x + width), self.size[1])
        return np.asarray(pixels[rows[:, None], columns])


def plan_tiles(size: Size, tile: Size, overlap: Size) -> TilePlan:
    """Cover an image with tiles.

    Args:
        size: The image's (height, width).
        tile: The tiles' (height, width).
        overlap: Least (vertical, horizontal) overlap of neighbours.

    Raises:
        UsageError: An overlap is negative or not smaller than the tile.
    """
    for asked, side in zip(overlap, tile, strict=True):
        if not 0 <= asked < side:
            raise UsageError(
                "the overlap does not fit the tile",
                found=f"overlap {asked}, tile {side}",
                wanted=f"an overlap from 0 to {side - 1}",
            )
    rows, columns = (
        _starts(length, side, asked)
        for length, side, asked in zip(size, tile, overlap, strict=True)
    )
    return TilePlan(size, tile, overlap, rows, columns)


def choose_tile(
    size: Size,
    fixed: tuple[Fixed, Fixed],
    multiple: Size,
    asked: int | None,
    *,
    whole_pixels: int = WHOLE_PIXELS,
) -> Size:
    """Choose the tile for one image.

    Args:
        size: The image's (height, width).
        fixed: The network's input size, its range, or None where it is free.
        multiple: What free sizes must be multiples of.
        asked: The wished side; rounded up to the multiple.
        whole_pixels: Images up to this size go through a free-size network whole.

    Raises:
        UsageError: A tile was asked for that the network cannot take.
    """
    if asked is not None and (asked < 1 or not all(_takes(side, asked) for side in fixed)):
        raise UsageError(
            "the tile does not fit the network",
            found=f"tile {asked}",
            wanted=" x ".join(map(_describe, fixed)),
            hint="leave the tile out: it follows from the network",
        )
    padded = [_round_up(length, step) for length, step in zip(size, multiple, strict=True)]
    side = asked
    if asked is None and math.prod(padded) > whole_pixels:
        side = math.isqrt(whole_pixels)
    height, width = (
        own
        if isinstance(own, int)
        else _within(own, min(length, _side(side, length, step, asked)), step)
        for own, length, step in zip(fixed, padded, multiple, strict=True)
    )
    return height, width


def mirrored(index: npt.NDArray[np.int64], length: int) -> npt.NDArray[np.int64]:
    """Fold indices beyond an axis back into it, the edge itself not repeated (``dcb|abcd|cba``)."""
    if length == 1:
        return np.zeros_like(index)
    period = 2 * (length - 1)
    folded = index % period
    return np.asarray(np.minimum(folded, period - folded))


def _starts(length: int, tile: int, overlap: int) -> tuple[int, ...]:
    if length <= tile:
        return (0,)
    count = math.ceil((length - overlap) / (tile - overlap))
    return tuple(index * (length - tile) // (count - 1) for index in range(count))


def _takes(fixed: Fixed, asked: int) -> bool:
    if isinstance(fixed, ShapeProfile):
        return fixed.minimum <= asked <= fixed.maximum
    return fixed in (None, asked)


def _describe(fixed: Fixed) -> str:
    if isinstance(fixed, ShapeProfile):
        return f"{fixed.minimum} to {fixed.maximum}"
    return "any" if fixed is None else str(fixed)


def _within(allowed: ShapeProfile | None, side: int, step: int) -> int:
    """Return the size of the range that is nearest to ``side``, a multiple where there is one."""
    nearest = nearest_in_range(side, allowed)
    if allowed is None or nearest % step == 0:
        return nearest
    inside = _round_up(nearest, step) if side < nearest else nearest - nearest % step
    return inside if allowed.minimum <= inside <= allowed.maximum else allowed.usual


def _side(side: int | None, padded: int, step: int, asked: int | None) -> int:
    if side is None:
        return padded
    return _round_up(side, step) if asked is not None else max(step, side - side % step)


def _round_up(length: int, step: int) -> int:
    return -(-length // step) * step
