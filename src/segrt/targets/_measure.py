"""Time sessions against one another, fairly: in turns, by medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import onnx_ir as ir

from segrt.graph.size_multiple import needed_multiple
from segrt.graph.size_ranges import nearest_in_range, range_of
from segrt.graph.specs import image_axes, input_specs, spatial_axes
from segrt.targets._base import Array, Session

_WARM_UP = 2
_MOST_ROUNDS = 40
_FEWEST_ROUNDS = 3
_BUDGET_S = 4.0
# Side of the trial image where the network leaves it free.
_SIDE = 256

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Timing:
    """Times of one session."""

    median_ms: float
    fastest_ms: float
    rounds: int


def measure(sessions: Mapping[K, Session], feeds: Mapping[str, Array]) -> dict[K, Timing]:
    """Run the sessions in turns, so that whatever else the machine does meets all of them.

    Stops after 40 rounds, or after four seconds but not before three rounds.
    """
    if len(sessions) > 1:
        for session in sessions.values():
            for _ in range(_WARM_UP):
                session.run(feeds)
    times: dict[K, list[float]] = {key: [] for key in sessions}
    started = time.perf_counter()
    for count in range(_MOST_ROUNDS):
        if count >= _FEWEST_ROUNDS and time.perf_counter() - started > _BUDGET_S:
            break
        for key, session in sessions.items():
            before = time.perf_counter()
            session.run(feeds)
            times[key].append((time.perf_counter() - before) * 1e3)
    return {
        key: Timing(round(statistics.median(values), 3), round(min(values), 3), len(values))
        for key, values in times.items()
    }


def sample_feeds(model: ir.Model, *, side: int = _SIDE, seed: int = 0) -> dict[str, Array]:
    """Make an input per graph input: batch 1 and about ``side`` pixels where sizes are free.

    A volume gets about as many pixels as an image of that side. Where a range limits them, the
    size of it that comes nearest.

    Values are multiples of 1/255 in 0..1, like scaled 8-bit images, or 8-bit images themselves;
    other types get small whole numbers.
    """
    generator = np.random.default_rng(seed)
    specs = input_specs(model)
    free = any(None in spec.shape[1:] for spec in specs)
    multiple = (needed_multiple(model) or 1) if free else 1
    feeds: dict[str, Array] = {}
    for spec in specs:
        axes = spatial_axes(spec)
        length = side if axes is None or len(axes) < 3 else round(side ** (2 / 3))
        other = 1 if axes is None else max(multiple, length // multiple * multiple)
        shape = [
            size or nearest_in_range(1 if axis == 0 else other, range_of(spec, axis))
            for axis, size in enumerate(spec.shape)
        ]
        values = generator.integers(0, 256, size=shape)
        dtype = np.dtype(spec.dtype)
        pixels = dtype == np.uint8 and image_axes(spec) is not None
        whole = values if pixels else values % 2
        feeds[spec.name] = (values / 255 if dtype.kind == "f" else whole).astype(dtype)
    return feeds
