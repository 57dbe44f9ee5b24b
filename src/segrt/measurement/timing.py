"""Time several contenders fairly: in turns, after a warm-up, for as long as was asked.

Each turn runs one contender several times in a row and forgets the first of them: its caches are
cold then, and threads of the contender before may still be spinning. Whatever else the machine
does in the meantime meets all of them.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from segrt.errors import SegrtError
from segrt.measurement.statistics import Times, summarise

# Runs before anything counts: libraries load kernels, choose among them and grow their memory.
_WARM_UP = 3
_TURNS = 5
_FEWEST = 5
# Beside runs of so many seconds, what cold caches and spinning threads cost is nothing: of such
# contenders each run counts, and few are enough.
_LONG_S = 0.5
_WARM_UP_OF_LONG = 2
_FEWEST_OF_LONG = 3

K = TypeVar("K", bound=Hashable)
# Runs once, or a fixed number of times, and returns how long one run took, in milliseconds.
Sample = Callable[[], float]


class Series(ABC):
    """A sample that is taken several times at once, such as by another process."""

    @abstractmethod
    def several(self, count: int) -> list[float]:
        """Run so many times in a row and return how long each run took, in milliseconds."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure.

    Attributes:
        seconds: About so long for each contender, five runs at least; three of those that take
            half a second and more.
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


def time_in_turns(contenders: Mapping[K, Sample | Series], effort: Effort) -> dict[K, Times]:
    """Time contenders against one another.

    Args:
        contenders: What to time.
        effort: For how long.
    """
    turns: Turns[K] = Turns(effort)
    for key, sample in contenders.items():
        turns.add(key, sample)
    for error in turns.finish().values():
        raise error
    return turns.times()


class Turns(Generic[K]):
    """Contenders that take turns; each has its first as soon as it is there.

    Should one that comes later never be ready, there is something to tell of those before it.

    Args:
        effort: For how long.
    """

    def __init__(self, effort: Effort) -> None:
        self._effort = effort
        self._clocked: dict[K, _Clocked] = {}

    def add(self, key: K, sample: Sample | Series) -> None:
        """Warm a contender up and let it have its first turn."""
        made = _Clocked(sample, self._effort)
        made.turn()
        self._clocked[key] = made

    def finish(self) -> dict[K, SegrtError]:
        """Let them have the other turns; return the errors of those that fail and drop out."""
        failed: dict[K, SegrtError] = {}
        for _ in range(_TURNS - 1):
            for key, contender in list(self._clocked.items()):
                try:
                    contender.turn()
                except SegrtError as error:
                    failed[key] = error
                    del self._clocked[key]
        return failed

    def times(self) -> dict[K, Times]:
        """Return the figures of those that ran, in the order they came, finished or not."""
        return {key: summarise(made.taken) for key, made in self._clocked.items()}


@dataclass(slots=True)
class _Clocked:
    """One contender's runs.

    Attributes:
        taken: What those that count took, in milliseconds.
    """

    sample: Sample | Series
    effort: Effort
    taken: list[float] = field(default_factory=list)
    _a_turn: int = field(init=False)
    _wanted: int = field(init=False)
    _forgotten: int = field(init=False)

    def __post_init__(self) -> None:
        seconds = self._warmed()
        long = seconds > _LONG_S
        self._forgotten = 0 if long else 1
        if self.effort.rounds is not None:
            self._wanted = self.effort.rounds
            self._a_turn = -(-self._wanted // _TURNS)
            return
        self._a_turn = max(1, int(self.effort.seconds / _TURNS / seconds) - self._forgotten)
        fewest = _FEWEST_OF_LONG if long else _FEWEST
        self._wanted = fewest if self._a_turn == 1 else self._a_turn * _TURNS

    def _warmed(self) -> float:
        """Warm it up and return the seconds that a run costs."""
        # The clock around the sample: what a run costs may be more than what it reports.
        spent: list[float] = []
        while len(spent) < _WARM_UP:
            before = time.perf_counter()
            self._several(1)
            spent.append(time.perf_counter() - before)
            if len(spent) == _WARM_UP_OF_LONG and min(spent) > _LONG_S:
                break
        return max(min(spent), 1e-6)

    def turn(self) -> None:
        """Run as often as a turn allows; none if there is nothing left to do."""
        count = min(self._wanted - len(self.taken), self._a_turn)
        if count > 0:
            self.taken += self._several(self._forgotten + count)[self._forgotten :]

    def _several(self, count: int) -> list[float]:
        if isinstance(self.sample, Series):
            return self.sample.several(count)
        return [self.sample() for _ in range(count)]
