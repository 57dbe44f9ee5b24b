"""The target ``cuda`` on the emulated GPU: built, packed, opened and run through the public API."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.cuda_emulator import EmulatedGpu
from helpers.cudnn_emulator import EmulatedLibrary
from segrt.cuda import cudnn_graph, driver, tiles
from segrt.cuda import devices as cuda_devices
from segrt.cuda.devices import chosen_device
from segrt.cuda.engine import Engine
from segrt.targets import _measure

_MEMORY = 1 << 24
_ON_CURRENT = ("stream", "allocate", "upload", "memory", "copy", "kernel", "put", "enqueue")
_RUN = Engine.run
_RUN_TILES = tiles.run_tiles


def emulate(
    monkeypatch: pytest.MonkeyPatch, folder: Path, devices: Devices | None = None
) -> list[EmulatedGpu]:
    """Let every session on the CUDA engine run on an emulated GPU; returns those opened.

    With ``devices``, each call is checked to be made where the right one is current.
    """
    opened: list[EmulatedGpu] = []

    def gpu(index: int | None = None) -> EmulatedGpu:
        index = chosen_device() if index is None else index
        made: _Gpu = _Gpu(monkeypatch, size=_MEMORY)
        if devices is not None:
            made = _CheckedGpu(monkeypatch, size=_MEMORY)
            made.index, made.devices = index, devices
            made.use()
        opened.append(made)
        return made

    monkeypatch.setenv("SEGRT_CACHE", str(folder))
    monkeypatch.setattr(driver, "missing", lambda: None)
    monkeypatch.setattr(driver, "Gpu", gpu)
    library = EmulatedLibrary if devices is None else _CheckedLibrary
    monkeypatch.setattr(cudnn_graph, "Library", library)
    monkeypatch.setattr(Engine, "run", _run)
    monkeypatch.setattr(tiles, "run_tiles", _run_tiles)
    # A choice by time says nothing here: the fewest rounds will do.
    monkeypatch.setattr(_measure, "_BUDGET_S", 0.0)
    return opened


class _Gpu(EmulatedGpu):
    """An emulated GPU that knows when it is closed."""

    closed = False
    index = 0

    @contextmanager
    def computing(self) -> Iterator[None]:
        before, self.tuning = self.tuning, False
        try:
            yield
        finally:
            self.tuning = before

    def close(self) -> None:
        assert not self.closed
        self.closed = True


GPU = _Gpu


class Devices:
    """Which device is current for each thread, as CUDA keeps it; stands for the driver too."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._threads = threading.local()
        monkeypatch.setattr(cuda_devices, "_driver", lambda: self)

    @property
    def current(self) -> int | None:
        """The calling thread's."""
        return getattr(self._threads, "index", None)

    @current.setter
    def current(self, index: int | None) -> None:
        self._threads.index = index

    def cuCtxGetCurrent(self) -> tuple[int, int]:
        return 0, 0 if self.current is None else self.current + 1

    def cuCtxSetCurrent(self, context: int) -> None:
        self.current = context - 1


class _CheckedGpu(_Gpu):
    """An emulated GPU that minds being used while another one is current."""

    devices: Devices | None = None

    def __getattribute__(self, name: str) -> Any:
        """Check what only the current device can do: memory, kernels, its stream."""
        if name in _ON_CURRENT and (devices := object.__getattribute__(self, "devices")):
            own = object.__getattribute__(self, "index")
            assert devices.current == own, f"{name} of device {own} on {devices.current}"
        return object.__getattribute__(self, name)

    def use(self) -> None:
        super().use()
        assert self.devices is not None
        self.devices.current = self.index


class _CheckedLibrary(EmulatedLibrary):
    """An emulated cuDNN that minds the same."""

    def __init__(self, gpu: EmulatedGpu) -> None:
        assert isinstance(gpu.stream, object)
        super().__init__(gpu)
        self._gpu = gpu

    def close(self) -> None:
        assert isinstance(self._gpu.stream, object)
        super().close()


def _run(engine: Engine, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Compute in a run only: what planning and tuning launch works on whatever memory holds."""
    gpu = engine._gpu
    if not isinstance(gpu, _Gpu):
        # A test's own, which says itself when it computes.
        return _RUN(engine, arrays)
    with gpu.computing():
        return _RUN(engine, arrays)


def _run_tiles(gpu: _Gpu, *arguments: Any, **ends: Any) -> np.ndarray | None:
    with gpu.computing():
        return _RUN_TILES(gpu, *arguments, **ends)  # type: ignore[arg-type]
