"""Arrays on their way to the GPU and back, through memory of the host that the GPU reaches.

The GPU takes and gives 50 GB/s, a thread that copies about 10: large arrays go in pieces, which
several threads copy while others of them travel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.compiling import processors
from segrt.cuda.driver import Gpu
from segrt.cuda.views import HOST_TYPES, View

# Smaller ones gain nothing by being cut.
_PIECE_BYTES = 1 << 20
_MOST_PIECES = 16
_MOST_THREADS = 4


class Copiers:
    """Threads that copy pieces; they begin when there is something to do."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(min(_MOST_THREADS, processors()), "copy")

    def copy(self, target: npt.NDArray[Any], source: npt.NDArray[Any]) -> Any:
        """Begin to copy; ``result()`` of what is returned waits for it."""
        return self._pool.submit(np.copyto, target, source, "unsafe")

    def close(self) -> None:
        """Let the threads end."""
        self._pool.shutdown()


class Staged:
    """A graph input or output, and the host's side of it.

    Args:
        gpu: Where it lies.
        device: Its buffer there.
        view: How it lies there.
        copiers: Copy large ones.

    Attributes:
        address: Where it begins on the GPU.
        dtype: Its element type, as in a `View`.
    """

    def __init__(self, gpu: Gpu, device: Any, view: View, copiers: Copiers) -> None:
        self._gpu = gpu
        self._copiers = copiers
        self._device = device
        self.address = int(device.handle)
        self.dtype = view.dtype
        self._staging, memory = gpu.pinned(view.span_bytes)
        self._elements = memory.view(HOST_TYPES[view.dtype])
        self._events: list[Any] = []
        count = min(_MOST_PIECES, max(1, self._elements.nbytes // _PIECE_BYTES))
        self._pieces = list(_cut(self._elements.size, count))

    @property
    def in_pieces(self) -> bool:
        """Whether `finish_fetch` waits for the GPU by itself."""
        return len(self._pieces) > 1

    def send(self, array: npt.NDArray[Any]) -> None:
        """Put a copy of an array to the GPU on the stream."""
        plain = np.ascontiguousarray(array, self._elements.dtype).reshape(-1)
        if not self.in_pieces:
            self._elements[:] = plain
            self._device.copy_from(self._staging, stream=self._gpu.stream)
            return
        copied = [self._copiers.copy(self._elements[piece], plain[piece]) for piece in self._pieces]
        for piece, copy in zip(self._pieces, copied, strict=True):
            copy.result()
            start, size = self._bytes(piece)
            self._gpu.copy_bytes(self.address + start, int(self._staging.handle) + start, size)

    def begin_fetch(self) -> None:
        """Put a copy from the GPU on the stream."""
        if not self.in_pieces:
            self._device.copy_to(self._staging, stream=self._gpu.stream)
            return
        self._events = []
        for piece in self._pieces:
            start, size = self._bytes(piece)
            self._gpu.copy_bytes(int(self._staging.handle) + start, self.address + start, size)
            self._events.append(self._gpu.stream.record())

    def finish_fetch(self, shape: Sequence[int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return what was fetched; one that is not `in_pieces` has to be there by then."""
        if not self.in_pieces:
            return self._elements.reshape(shape).astype(dtype)
        result = np.empty(shape, dtype)
        flat, copied = result.reshape(-1), []
        for piece, event in zip(self._pieces, self._events, strict=True):
            event.sync()
            copied.append(self._copiers.copy(flat[piece], self._elements[piece]))
        for copy in copied:
            copy.result()
        return result

    def close(self) -> None:
        """Give the host's memory back."""
        self._staging.close()

    def _bytes(self, piece: slice) -> tuple[int, int]:
        each = self._elements.itemsize
        return piece.start * each, (piece.stop - piece.start) * each


def _cut(size: int, count: int) -> Iterator[slice]:
    edges = [size * index // count for index in range(count + 1)]
    return (slice(start, stop) for start, stop in pairwise(edges))
