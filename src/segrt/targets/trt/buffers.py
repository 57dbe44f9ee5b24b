"""Memory of one input or output: on the device, and pinned on the host to copy from and to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.driver import Gpu


class Buffers:
    """A pair that grows when it has to and is reused otherwise.

    Args:
        gpu: Whose memory.
        name: Of the tensor, for messages.
    """

    def __init__(self, gpu: Gpu, name: str) -> None:
        self._gpu = gpu
        self._name = name
        self._device: Any = None
        self._pinned: Any = None
        self._host: npt.NDArray[np.uint8] = np.empty(0, np.uint8)

    @property
    def address(self) -> int:
        """Where the device memory is; 0 before `grow`."""
        return 0 if self._device is None else int(self._device.handle)

    def grow(self, size: int) -> bool:
        """Make room for ``size`` bytes; say whether the address changed.

        The old memory goes first, since both at once may be too much. If the new one cannot be
        had, there is none, and the next call tries again. The stream must be idle.

        Raises:
            EngineError: The GPU's memory does not suffice; says how much was wanted.
        """
        if self._device is not None and size <= self._host.size:
            return False
        self.free()
        size = max(size, 1)
        self._device = self._gpu.allocate(size, f"tensor {self._name!r}")
        try:
            self._pinned, self._host = self._gpu.pinned(size)
        except BaseException:
            self.free()
            raise
        return True

    def upload(self, array: npt.NDArray[Any]) -> None:
        """Put a copy of ``array`` to the device on the stream; it must be contiguous."""
        self._host[: array.nbytes] = array.reshape(-1).view(np.uint8)
        self._gpu.copy_bytes(self.address, int(self._pinned.handle), array.nbytes)

    def download(self, size: int) -> None:
        """Put a copy of the first bytes to the host on the stream; `array` reads it after that."""
        self._gpu.copy_bytes(int(self._pinned.handle), self.address, size)

    def array(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return a copy of the host's memory as an array; the stream must be idle."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        return self._host[:size].view(dtype).reshape(shape).copy()

    def free(self) -> None:
        """Give both back; freeing twice is allowed."""
        device, self._device = self._device, None
        pinned, self._pinned = self._pinned, None
        # The array only points into the pinned memory.
        self._host = np.empty(0, np.uint8)
        if device is not None:
            device.close(self._gpu.stream)
        if pinned is not None:
            pinned.close()
