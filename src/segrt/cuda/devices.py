"""Which GPU sessions are opened on, and leaving the caller's own choice as it was.

CUDA keeps a current device for every thread. Sessions make theirs current while they work; a
program that uses another one, through PyTorch for instance, must find that one again afterwards.
"""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import ModuleType

from segrt.errors import UsageError

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Chosen:
    """A device that was asked for.

    Attributes:
        index: As CUDA counts devices, from 0.
        used: Whether anything was opened on it.
    """

    index: int
    used: bool = False


_CHOSEN: ContextVar[Chosen | None] = ContextVar("segrt_cuda_device", default=None)


@contextmanager
def on_device(index: int) -> Iterator[Chosen]:
    """Open sessions on this GPU, for the calling thread and within the ``with`` block.

    Sessions stay on the GPU that they were opened on, whichever thread runs or closes them.

    Args:
        index: As CUDA counts devices, from 0; ``CUDA_VISIBLE_DEVICES`` changes what it counts.

    Raises:
        UsageError: It is negative.
    """
    if index < 0:
        raise UsageError("there is no such device", found=str(index), wanted="0 or more")
    chosen = Chosen(index)
    token = _CHOSEN.set(chosen)
    try:
        yield chosen
    finally:
        _CHOSEN.reset(token)


def chosen_device() -> int:
    """Return the device to open a session on: 0 where none was asked for."""
    chosen = _CHOSEN.get()
    if chosen is None:
        return 0
    chosen.used = True
    return chosen.index


@contextmanager
def keeping_current() -> Iterator[None]:
    """Make what was current for this thread current again, if anything was."""
    driver = _driver()
    status, before = driver.cuCtxGetCurrent() if driver is not None else (1, 0)
    try:
        yield
    finally:
        if driver is not None and int(status) == 0 and int(before) != 0:
            driver.cuCtxSetCurrent(before)


@functools.cache
def _driver() -> ModuleType | None:
    """Return the driver's functions; None where there is no driver that answers."""
    try:
        found = importlib.import_module("cuda.bindings.driver")
        found.cuCtxGetCurrent()
    except Exception as error:  # noqa: BLE001 - each layer below has errors of its own
        _LOG.debug("no driver: %s", error)
        return None
    return found
