"""Kernels compiled side by side in the background, while cuDNN is asked and others are timed."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

# Source, architecture and entry.
Asked: TypeAlias = tuple[str, str, str]


class Compilations:
    """What is being compiled; the compiler runs without Python's lock, so threads do.

    Args:
        compiler: Turns source, architecture and entry into machine code.
    """

    def __init__(self, compiler: Callable[[str, str, str], bytes]) -> None:
        self._compiler = compiler
        self._pool: ThreadPoolExecutor | None = None
        self._begun: dict[Asked, Future[bytes]] = {}

    def begin(self, asked: Asked) -> None:
        """Have something compiled soon, unless it is on its way already."""
        if asked in self._begun:
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(processors(), "compile")
        self._begun[asked] = self._pool.submit(self._compiler, *asked)

    def code(self, asked: Asked) -> bytes:
        """Return machine code: waits for it, or compiles here what was not begun.

        Raises:
            EngineError: The compiler refuses it; ``found`` is its log.
        """
        begun = self._begun.get(asked)
        return self._compiler(*asked) if begun is None else begun.result()

    def wait(self, asked: Asked) -> None:
        """Wait until something that was begun has been compiled, or has failed."""
        begun = self._begun.get(asked)
        if begun is not None:
            begun.exception()

    def close(self) -> None:
        """Drop what has not begun yet, and forget the rest; it can be used again."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
        self._begun.clear()


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
