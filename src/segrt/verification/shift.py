"""Is the candidate the reference, moved by a pixel?

A wrong rounding rule of an upsampling layer moves every pixel by one or by a half; the usual
error figures only say "different". Here the candidate is compared with the reference moved by
every step of one and of half a pixel, and a step is reported if it explains the difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Step: TypeAlias = tuple[float, float]

_WHOLE: tuple[Step, ...] = tuple((dy, dx) for dy in (-1.0, 0.0, 1.0) for dx in (-1.0, 0.0, 1.0))
_HALF: tuple[Step, ...] = tuple((dy / 2, dx / 2) for dy, dx in _WHOLE if (dy, dx) != (0.0, 0.0))
# A step must leave less than this share of the squared difference. Noise is lowered by averaging
# two pixels to three quarters at best, a real shift to nearly nothing.
_EXPLAINS = 0.5
# Squared difference below this share of the reference's variance is rounding, not a shift.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Shift:
    """A shift that explains the difference.

    Attributes:
        dy: Pixels the candidate lies below the reference; a half is a hint at half a pixel.
        dx: Pixels it lies to the right.
        residual: Squared difference that is left after the shift, as a share of that before.
    """

    dy: float
    dx: float
    residual: float


class ShiftDetector:
    """Gathers the evidence over pieces of a batch.

    Args:
        channel_axis: Axis of the channels, 1 or -1; the other two behind the batch are y and x.
        most_channels: At most so many channels are looked at, evenly spread.
    """

    def __init__(self, *, channel_axis: int = -1, most_channels: int = 16) -> None:
        self._channel_axis = channel_axis
        self._most_channels = most_channels
        self._squares = dict.fromkeys((*_WHOLE, *_HALF), 0.0)
        self._variance = 0.0

    def update(self, reference: Array, candidate: Array) -> None:
        """Add a piece; arrays that are no images of at least 4 x 4 pixels are left alone."""
        if reference.ndim != 4 or reference.shape != candidate.shape or reference.size == 0:
            return
        for ref, cand in self._planes(reference, candidate):
            if not (np.isfinite(ref).all() and np.isfinite(cand).all()):
                continue
            self._variance += float(np.sum((ref - ref.mean()) ** 2))
            for step in self._squares:
                self._squares[step] += _square(_inner(ref, step), cand)

    def _planes(self, reference: Array, candidate: Array) -> Iterator[tuple[Array, Array]]:
        """Yield (height, width) float64 planes of both, one a channel and image."""
        ref, cand = (np.moveaxis(x, self._channel_axis, 1) for x in (reference, candidate))
        if min(ref.shape[2:]) < 4:
            return
        spread = np.linspace(0, ref.shape[1] - 1, min(ref.shape[1], self._most_channels))
        for image, channel in product(range(len(ref)), spread.round().astype(int)):
            plane = (image, channel)
            yield ref[plane].astype(np.float64), cand[plane].astype(np.float64)

    def result(self) -> Shift | None:
        """Return the shift that explains the difference, None if none does."""
        still = self._squares[(0.0, 0.0)]
        if still <= _ROUNDING * self._variance:
            return None
        least = min(self._squares.values())
        # Along stripes several steps explain equally much: the shortest is the honest answer.
        close = [step for step, left in self._squares.items() if left <= least + 1e-6 * still]
        best = min(close, key=lambda step: (abs(step[0]) + abs(step[1]), step))
        left = self._squares[best]
        if left >= _EXPLAINS * still:
            return None
        # A blur also agrees better with half steps, but with those to both sides alike.
        if best in _HALF and left > 0.5 * self._squares[(-best[0], -best[1])]:
            return None
        return Shift(best[0], best[1], left / still)


def find_shift(reference: Array, candidate: Array, *, channel_axis: int = -1) -> Shift | None:
    """Look for a shift between two batches of images in one go; see `ShiftDetector`."""
    detector = ShiftDetector(channel_axis=channel_axis)
    detector.update(reference, candidate)
    return detector.result()


def _inner(plane: Array, step: Step) -> Array:
    """Return the plane moved by ``step``, without its outermost pixels (they have no partner)."""
    total: Array = np.zeros((plane.shape[0] - 2, plane.shape[1] - 2))
    parts = list(product(_parts(step[0]), _parts(step[1])))
    for dy, dx in parts:
        total = total + plane[1 - dy : plane.shape[0] - 1 - dy, 1 - dx : plane.shape[1] - 1 - dx]
    return total / len(parts)


def _parts(step: float) -> tuple[int, ...]:
    """Return the whole steps whose mean is ``step``: a half lies between 0 and 1."""
    return (int(step),) if step == int(step) else (0, int(2 * step))


def _square(moved: Array, candidate: Array) -> float:
    difference = candidate[1:-1, 1:-1] - moved
    return float(np.sum(difference * difference))
