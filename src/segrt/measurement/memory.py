"""How much memory something on the host takes: by how much the process has grown."""

from __future__ import annotations

import gc
from pathlib import Path
from types import TracebackType
from typing import Self

_STATUS = Path("/proc/self/status")


def resident_bytes() -> int | None:
    """Return the process's resident memory, None where the system does not tell."""
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return None


class Growth:
    """By how much the process grows between entering and leaving.

    What was freed before and is used again does not count, so what comes later in a process may
    seem to need less: good for sizes of megabytes, not for bytes.

    Attributes:
        grown_bytes: At least 0; None before leaving, and where the system does not tell.
    """

    def __init__(self) -> None:
        self.grown_bytes: int | None = None
        self._before: int | None = None

    def __enter__(self) -> Self:
        gc.collect()
        self._before = resident_bytes()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        after = resident_bytes()
        if self._before is not None and after is not None:
            self.grown_bytes = max(0, after - self._before)
