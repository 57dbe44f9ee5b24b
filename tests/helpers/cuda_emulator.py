"""The CUDA engine without a GPU: memory in an array, kernels by their NumPy references.

Everything between a graph and the launches is the engine's own: partition, fusion, plan, memory,
choice, parameters, recording. What a launch does is computed by the kernel's reference on the bytes
that the pointers point to, so wrong slices, lives, orders or scales show as wrong numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from segrt.cuda.kernels._base import REGISTRY, Launch
from segrt.cuda.referee import Referee
from segrt.cuda.views import ITEM_BYTES, View, decode, encode
from segrt.errors import DeviceMemoryError

_BASE = 1 << 20
_TYPES = {"fp32": "f4", "fp16": "f2", "bf16": "u2", "uint8": "u1", "int8": "i1"}


class Buffer:
    """A piece of the emulator's memory."""

    def __init__(self, gpu: EmulatedGpu, handle: int, size: int) -> None:
        self._gpu, self.handle, self.size = gpu, handle, size

    @property
    def bytes(self) -> np.ndarray:
        return self._gpu.bytes[self.handle - _BASE :][: self.size]

    def copy_from(self, other: Buffer, stream: object) -> None:
        self.bytes[: other.size] = other.bytes

    def copy_to(self, other: Buffer, stream: object) -> None:
        other.bytes[: self.size] = self.bytes

    def close(self, stream: object = None) -> None:
        self._gpu.live.pop(self.handle, None)


class _Graph:
    def __init__(self, work: list[Callable[[], None]]) -> None:
        self._work = work

    def launch(self, stream: object) -> None:
        for step in self._work:
            step()

    def close(self) -> None:
        self._work = []


class _Builder:
    def __init__(self, gpu: EmulatedGpu) -> None:
        self._gpu = gpu
        self._work: list[Callable[[], None]] = []

    def begin_building(self) -> None:
        self._gpu.recording = self._work

    def end_building(self) -> None:
        self._gpu.recording = None

    def complete(self) -> _Graph:
        return _Graph(self._work)

    def close(self) -> None:
        self._gpu.recording = None


class _Event(float):
    def sync(self) -> None:
        """Nothing runs in the background."""
        assert self >= 0


class _Stream:
    handle = 1

    def __init__(self, gpu: EmulatedGpu) -> None:
        self._gpu = gpu

    def sync(self) -> None:
        assert self._gpu.recording is None, "a wait within a recording"

    def record(self, options: object = None) -> _Event:
        return _Event(self._gpu.clock)

    def create_graph_builder(self) -> _Builder:
        return _Builder(self._gpu)


class EmulatedGpu:
    """Stands for `segrt.cuda.driver.Gpu`.

    Args:
        monkeypatch: To learn which kernel and spec a launch was made from.
        costs: Time of a launch by kernel name, and of cuDNN's plans under ``cudnn``; 5 if absent.
        capability: Which generation to be.
        size: Bytes of memory.
        trials: Whether launches are computed, and checked, before they are chosen.
    """

    name, driver, multiprocessors = "emulated", "0", 4
    # Launches only cost time while the engine tunes.
    tuning = True

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        costs: dict[str, float] | None = None,
        capability: tuple[int, int] = (9, 0),
        size: int = 1 << 28,
        *,
        trials: bool = False,
    ) -> None:
        self.capability, self.costs, self.clock = capability, costs or {}, 0.0
        # Pages that nothing is put to cost nothing.
        self.bytes = np.zeros(size, np.uint8)
        self.live: dict[int, Buffer] = {}
        self.recording: list[Callable[[], None]] | None = None
        # Whether launches that are tried one by one while the engine tunes compute.
        self.trials = trials
        if not trials:
            monkeypatch.setattr(Referee, "check", lambda self, job, choice, scratch: None)
        self.launched: list[str] = []
        self.stream = _Stream(self)
        self._next = _BASE
        self._uploads: dict[int, np.ndarray] = {}
        self._made: dict[Launch, tuple[Any, Any]] = {}
        # What is compiled in the background.
        self.begun: set[Launch] = set()
        for _, kernel in REGISTRY:
            self._watch(monkeypatch, kernel)

    def _watch(self, monkeypatch: pytest.MonkeyPatch, kernel: Any) -> None:
        original = type(kernel).launch

        def launch(this: Any, spec: Any) -> Launch:
            made = original(this, spec)
            self._made[made] = (this, spec)
            return made

        monkeypatch.setattr(type(kernel), "launch", launch)

    def use(self) -> None:
        assert self.recording is None

    def allocate(self, size: int, purpose: str) -> Buffer:
        start = -(-self._next // 1024) * 1024
        if start - _BASE + size > self.bytes.size:
            raise DeviceMemoryError(
                f"the emulated memory does not hold the {purpose}", found="emulated"
            )
        self._next = start + max(size, 1)
        self.bytes[start - _BASE : self._next - _BASE] = 0xFF
        self.live[start] = Buffer(self, start, max(size, 1))
        return self.live[start]

    def memory(self) -> tuple[int, int]:
        """Return how much is free, and how much there is."""
        return self.bytes.size - (self._next - _BASE), self.bytes.size

    def pinned(self, size: int) -> tuple[Buffer, np.ndarray]:
        buffer = self.allocate(size, "staging")
        return buffer, buffer.bytes

    def upload(self, array: np.ndarray, purpose: str) -> Buffer:
        plain = np.ascontiguousarray(array)
        buffer = self.allocate(plain.nbytes, purpose)
        buffer.bytes[: plain.nbytes] = plain.reshape(-1).view(np.uint8)
        self._uploads[buffer.handle] = plain
        return buffer

    def copy(self, address: int, source: Buffer) -> None:
        self.bytes[address - _BASE :][: source.size] = source.bytes

    def copy_bytes(self, target: int, source: int, size: int) -> None:
        self.elements(target, "uint8", (size,), (1,))[...] = self.elements(
            source, "uint8", (size,), (1,)
        )

    def compile(self, launches: Iterable[Launch]) -> None:
        begun = list(launches)
        assert all(launch in self._made for launch in begun)
        self.begun.update(begun)

    def wait_for(self, launches: Iterable[Launch]) -> None:
        assert all(launch in self._made for launch in launches)

    def stop_compiling(self) -> None:
        self.begun.clear()

    def kernel(self, launch: Launch) -> Launch:
        assert launch in self._made
        return launch

    def tensor_map(self, view: View, address: int, box: object) -> np.ndarray:
        assert address % 16 == 0
        assert view.pitch * view.item_bytes % 16 == 0
        return np.zeros(128, np.uint8)

    def configuration(self, launch: Launch) -> Launch:
        return launch

    def enqueue(self, name: str, work: Callable[[], None]) -> None:
        """Do ``work`` now, or when what is being recorded is replayed."""

        def step(*, trial: bool = False) -> None:
            self.clock += self.costs.get(name, 5.0)
            if not self.tuning:
                self.launched.append(name)
            if not self.tuning or trial:
                work()

        if self.recording is not None:
            self.recording.append(step)
        else:
            step(trial=self.trials)

    def put(self, configuration: Launch, kernel: Launch, pointers: list[int]) -> None:
        self.enqueue(kernel.entry, lambda: self._compute(kernel, list(pointers)))

    def _compute(self, launch: Launch, pointers: list[int]) -> None:
        kernel, spec = self._made[launch]
        count = len(spec.sources)
        images = [self.read(v, p) for v, p in zip(spec.sources, pointers, strict=False)]
        uploads = [self._uploaded(p) for p in pointers[count + len(launch.maps) : -1]]
        self.write(spec.target, pointers[-1], kernel.reference(spec, images, uploads))
        pooled = getattr(spec, "pooled", None)
        if pooled is not None:
            whole = self.read(spec.target, pointers[-1])
            windows = whole.reshape(pooled.n, pooled.h, 2, pooled.w, 2, pooled.c)
            self.write(pooled, pointers[1], windows.max(axis=(2, 4)))

    def _uploaded(self, address: int) -> np.ndarray:
        """Return what was uploaded to an address; flat from a place within."""
        if address in self._uploads:
            return self._uploads[address]
        start = max(handle for handle in self._uploads if handle < address)
        rest = self._uploads[start].reshape(-1)[
            (address - start) // self._uploads[start].itemsize :
        ]
        assert rest.size, f"{address:#x} is behind what was uploaded"
        return rest

    def elements(self, address: int, dtype: str, shape: Any, strides: Any) -> np.ndarray:
        """Return a strided window on memory, all of it within one live allocation."""
        width = ITEM_BYTES[dtype]
        steps = [(size - 1) * stride for size, stride in zip(shape, strides, strict=True)]
        end = address + (sum(steps) + 1) * width
        inside = [b for b in self.live.values() if b.handle <= address < b.handle + b.size]
        assert inside, f"{address:#x} is not allocated"
        assert end <= inside[0].handle + inside[0].size, "it reaches over the end"
        assert address % width == 0
        flat = self.bytes[address - _BASE : end - _BASE].view(_TYPES[dtype])
        return np.lib.stride_tricks.as_strided(flat, shape, [s * width for s in strides])

    def read(self, view: View, address: int) -> np.ndarray:
        """Return the numbers (N, H, W, C) that lie at an address."""
        found = decode(self._window(view, address), view.dtype).astype(np.float64)
        return found * float(np.float32(view.scale))

    def write(self, view: View, address: int, numbers: np.ndarray) -> None:
        """Round numbers (N, H, W, C) and put them to an address."""
        units = (numbers / float(np.float32(view.scale))).astype(np.float32)
        self._window(view, address)[...] = encode(units, view.dtype)

    def _window(self, view: View, address: int) -> np.ndarray:
        strides = (view.h * view.w * view.pitch, view.w * view.pitch, view.pitch, 1)
        return self.elements(address, view.dtype, (view.n, view.h, view.w, view.c), strides)
