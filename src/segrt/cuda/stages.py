"""Where the time goes while an engine is made: seconds by stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stages:
    """Adds up seconds by stage; a stage within another one is counted once, as the inner one.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: dict[str, float] = {}
        self._clock = clock
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time within to ``name``; may be entered as often as wanted."""
        self._count()
        self._open.append(name)
        try:
            yield
        finally:
            self._count()
            self._open.pop()

    def _count(self) -> None:
        """Give the time since the last change of stages to the one that is open."""
        now = self._clock()
        if self._open:
            name = self._open[-1]
            self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now

    def __str__(self) -> str:
        """Return the sum and the parts, the longest first: ``3.1 s: 2.0 s plans, 1.1 s timing``."""
        parts = sorted(self.seconds.items(), key=lambda part: -part[1])
        listed = ", ".join(f"{seconds:.2f} s {name}" for name, seconds in parts)
        return f"{sum(self.seconds.values()):.2f} s: {listed}"
