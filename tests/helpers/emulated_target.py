"""The target ``cuda`` on the emulated GPU: built, packed, opened and run through the public API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.cuda_emulator import EmulatedGpu
from helpers.cudnn_emulator import EmulatedLibrary
from segrt.cuda import cudnn_graph, driver, tiles
from segrt.cuda.engine import Engine
from segrt.targets import _measure

_MEMORY = 1 << 24
_RUN = Engine.run
_RUN_TILES = tiles.run_tiles


def emulate(monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[EmulatedGpu]:
    """Let every session on the CUDA engine run on an emulated GPU; returns those opened."""
    opened: list[EmulatedGpu] = []

    def gpu(index: int | None = None) -> EmulatedGpu:
        opened.append(_Gpu(monkeypatch, size=_MEMORY))
        return opened[-1]

    monkeypatch.setenv("SEGRT_CACHE", str(folder))
    monkeypatch.setattr(driver, "missing", lambda: None)
    monkeypatch.setattr(driver, "Gpu", gpu)
    monkeypatch.setattr(cudnn_graph, "Library", EmulatedLibrary)
    monkeypatch.setattr(Engine, "run", _run)
    monkeypatch.setattr(tiles, "run_tiles", _run_tiles)
    # A choice by time says nothing here: the fewest rounds will do.
    monkeypatch.setattr(_measure, "_BUDGET_S", 0.0)
    return opened


class _Gpu(EmulatedGpu):
    """An emulated GPU that knows when it is closed."""

    closed = False

    @contextmanager
    def computing(self) -> Iterator[None]:
        self.tuning = False
        try:
            yield
        finally:
            self.tuning = True

    def close(self) -> None:
        assert not self.closed
        self.closed = True


def _run(engine: Engine, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Compute in a run only: what planning and tuning launch works on whatever memory holds."""
    gpu = engine._gpu
    assert isinstance(gpu, _Gpu)
    with gpu.computing():
        return _RUN(engine, arrays)


def _run_tiles(gpu: _Gpu, *arguments: Any, **ends: Any) -> np.ndarray | None:
    with gpu.computing():
        return _RUN_TILES(gpu, *arguments, **ends)  # type: ignore[arg-type]
