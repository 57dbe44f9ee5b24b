"""Tests that need a GPU, run without one as far as they come: ``pytest --emulate-gpu``.

What tests need a GPU for goes stale unseen where none is: renamed helpers, changed signatures,
fixtures that no longer fit. With this every session, and every `Gpu` that a test opens itself, is
an emulated one. A test that then reaches for the driver has come to the boundary, and is skipped.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segrt._optional import is_installed
from segrt.errors import UnavailableError

_BOUNDARY = ("DriverReachedError", "DynamicLibNotFoundError", "CUDAError", "NvrtcError")
_MEMORY = 1 << 31
_DEVICES = 2
_EMULATED: list[bool] = []


class DriverReachedError(Exception):
    """A test asks for the driver itself."""


class _Reached:
    def __getattr__(self, name: str) -> None:
        raise DriverReachedError(name)


def here_times_count() -> None:
    """Say that what follows is about times, which an emulated GPU does not have."""
    if _EMULATED:
        raise DriverReachedError("times")


def begin() -> pytest.MonkeyPatch:
    """Put emulated GPUs in the place of real ones, until what is returned is undone."""
    from helpers import emulated_target
    from segrt.cuda import driver
    from segrt.cuda.engine import Engine
    from segrt.cuda.tune import Tuner

    patch = pytest.MonkeyPatch()
    _EMULATED.append(True)
    patch.setattr(emulated_target, "_MEMORY", _MEMORY)
    emulated_target.emulate(patch, Path(tempfile.mkdtemp(prefix="segrt-emulated-")))
    patch.setattr(emulated_target.GPU, "tuning", False)
    patch.setattr(driver, "count", lambda: _DEVICES)
    patch.setattr(driver, "Gpu", _counted(driver.Gpu))
    if is_installed("cuda.core"):
        # Without a driver a second call of it waits for ever.
        patch.setattr("cuda.core.ObjectCode", _Reached())
    # What is planned and timed works on whatever memory holds; the rest is to be right.
    patch.setattr(Engine, "__init__", _tuning(Engine.__init__, lambda arguments: arguments[3]))
    patch.setattr(Tuner, "time_us", _tuning(Tuner.time_us, lambda arguments: arguments[0]._gpu))
    return patch


def _counted(make: Callable[..., Any]) -> Callable[..., Any]:
    """Return what makes GPUs as long as there are some."""

    def gpu(index: int | None = None) -> Any:
        if index is not None and index >= _DEVICES:
            raise UnavailableError(
                f"CUDA device {index} cannot be used", wanted=f"0 to {_DEVICES - 1}"
            )
        return make(index)

    return gpu


def _tuning(work: Callable[..., Any], gpu_of: Callable[[tuple[Any, ...]], Any]) -> Any:
    """Return ``work`` for a GPU on which launches cost time and compute nothing meanwhile."""

    @functools.wraps(work)
    def tuned(*arguments: Any) -> Any:
        gpu = gpu_of(arguments)
        before, gpu.tuning = gpu.tuning, True
        try:
            return work(*arguments)
        finally:
            gpu.tuning = before

    return tuned


def is_boundary(error: BaseException | None) -> bool:
    """Say whether an error, or one that it was raised for, comes from the absence of a driver."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if type(error).__name__ in _BOUNDARY:
            return True
        error = error.__cause__ or error.__context__
    return False
