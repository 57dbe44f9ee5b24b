"""Time several contenders fairly: in turns, after a warm-up, for as long as was asked.

Each turn runs one contender several times in a row and forgets the first of them: its caches are
cold then, and threads of the contender before may still be spinning. Whatever else the machine
does in the meantime meets all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from segrt.measurement.statistics import Times, summarise

# Runs before anything counts: libraries load kernels, choose among them and grow their memory.
_WARM_UP = 3
_TURNS = 5
_FEWEST = 5

K = TypeVar("K", bound=Hashable)
# Runs once, or a fixed number of times, and returns how long one run took, in milliseconds.
Sample = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure.

    Attributes:
        seconds: About so long for each contender, five runs at least.
        rounds: So many runs instead; None: as many as the seconds allow.
    """

    seconds: float = 2.0
    rounds: int | None = None


def host_sample(run: Callable[[], object]) -> Sample:
    """Return a sample of a function by the host's clock; it must wait for its result."""

    def sample() -> float:
        before = time.perf_counter()
        run()
        return (time.perf_counter() - before) * 1e3

    return sample


def time_in_turns(contenders: Mapping[K, Sample], effort: Effort) -> dict[K, Times]:
    """Time contenders against one another.

    Args:
        contenders: What to time.
        effort: For how long.
    """
    counts = {key: _runs_a_turn(sample, effort) for key, sample in contenders.items()}
    samples: dict[K, list[float]] = {key: [] for key in contenders}
    for _ in range(_TURNS):
        for key, sample in contenders.items():
            missing = _wanted(effort, counts[key]) - len(samples[key])
            if missing > 0:
                sample()
                samples[key] += [sample() for _ in range(min(missing, counts[key]))]
    return {key: summarise(values) for key, values in samples.items()}


def _runs_a_turn(sample: Sample, effort: Effort) -> int:
    """Warm a contender up and return how many runs fill a fifth of the time."""
    if effort.rounds is not None:
        for _ in range(_WARM_UP):
            sample()
        return -(-effort.rounds // _TURNS)
    # The clock around the sample: what a run costs may be more than what it reports.
    spent = []
    for _ in range(_WARM_UP):
        before = time.perf_counter()
        sample()
        spent.append(time.perf_counter() - before)
    return max(1, int(effort.seconds / _TURNS / max(min(spent), 1e-6)) - 1)


def _wanted(effort: Effort, count: int) -> int:
    return max(_FEWEST, count * _TURNS) if effort.rounds is None else effort.rounds
