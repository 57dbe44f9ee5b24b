"""Times of many runs, in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Times:
    """What a run took, in milliseconds.

    Attributes:
        p50: The median.
        p90: Nine runs in ten took no longer.
        p99: 99 in a hundred did.
        fastest: The shortest run.
        runs: How many there were.
    """

    p50: float
    p90: float
    p99: float
    fastest: float
    runs: int


def summarise(samples_ms: Sequence[float]) -> Times:
    """Return the figures of some runs; needs one at least."""
    ordered = sorted(samples_ms)
    return Times(
        percentile(ordered, 50),
        percentile(ordered, 90),
        percentile(ordered, 99),
        ordered[0],
        len(ordered),
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return a percentile, linear between neighbours (NumPy's default definition).

    Args:
        ordered: From the smallest to the largest, one at least.
        percent: 0 to 100.
    """
    place = (len(ordered) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
