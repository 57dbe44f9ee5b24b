"""Which of a library's plans are worth building: most of the time of tuning goes into building.

Plans of one kind come in the order that the library expects them to be fast in. A kind is given up
when its first plans are far behind the best way known, or when several in a row were no better than
one before them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_TRIED_FIRST = 2
_HOPELESS = 1.5
_PATIENCE = 3


@dataclass(slots=True)
class _Kind:
    best: float = math.inf
    timed: int = 0
    since_best: int = 0


class Race:
    """The times of one operation's ways.

    Args:
        thorough: Give nothing up.
    """

    def __init__(self, *, thorough: bool = False) -> None:
        self._thorough = thorough
        self._kinds: dict[str, _Kind] = {}
        self._best = math.inf

    def is_open(self, kind: str) -> bool:
        """Say whether another plan of this kind is to be tried; "" is what is no plan: always."""
        known = self._kinds.get(kind)
        if not kind or known is None or self._thorough:
            return True
        behind = known.timed >= _TRIED_FIRST and known.best > _HOPELESS * self._best
        return not behind and known.since_best < _PATIENCE

    def note(self, kind: str, time_us: float) -> None:
        """Note the time of a way that works."""
        known = self._kinds.setdefault(kind, _Kind())
        known.timed += 1
        known.since_best = 0 if time_us < known.best else known.since_best + 1
        known.best = min(known.best, time_us)
        self._best = min(self._best, time_us)
