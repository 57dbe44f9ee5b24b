"""Weights on the device, as long as something uses them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from segrt.cuda.driver import Gpu


class Parameters:
    """Buffers with parameters of choices.

    Args:
        gpu: Where they lie.
    """

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._buffers: list[Any] = []

    @property
    def bytes(self) -> int:
        """Bytes on the device."""
        return sum(int(buffer.size) for buffer in self._buffers)

    def upload(self, array: npt.NDArray[Any]) -> int:
        """Copy an array to the device; return its address."""
        self._buffers.append(self._gpu.upload(array, "weights"))
        return int(self._buffers[-1].handle)

    def release(self, addresses: Sequence[int]) -> None:
        """Free parameters that a choice not taken has uploaded."""
        for buffer in [one for one in self._buffers if int(one.handle) in addresses]:
            self._buffers = [one for one in self._buffers if one is not buffer]
            buffer.close(self._gpu.stream)

    def close(self) -> None:
        """Free all."""
        for buffer in self._buffers:
            buffer.close(self._gpu.stream)
        self._buffers.clear()
