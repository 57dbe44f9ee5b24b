"""The CUDA engine without a GPU: memory in an array, kernels by their NumPy references.

Everything between a graph and the launches is the engine's own: partition, fusion, plan, memory,
choice, parameters, recording. What a launch does is computed by the kernel's reference on the bytes
that the pointers point to, so wrong slices, lives, orders or scales show as wrong numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segrt.cuda.cudnn_graph import Library
from segrt.cuda.kernels._base import REGISTRY, Launch
from segrt.cuda.views import ITEM_BYTES, View, decode, encode
from segrt.errors import EngineError

_BASE = 1 << 20
_TYPES = {"fp32": "f4", "fp16": "f2", "bf16": "u2", "uint8": "u1", "int8": "i1"}


class Buffer:
    """A piece of the emulator's memory."""

    def __init__(self, gpu: EmulatedGpu, handle: int, size: int) -> None:
        self._gpu, self.handle, self.size = gpu, handle, size

    @property
    def bytes(self) -> np.ndarray:
        return self._gpu.memory[self.handle - _BASE :][: self.size]

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
    """

    name, driver, multiprocessors = "emulated", "0", 4

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        costs: dict[str, float] | None = None,
        capability: tuple[int, int] = (9, 0),
        size: int = 1 << 28,
    ) -> None:
        self.capability, self.costs, self.clock = capability, costs or {}, 0.0
        self.memory = np.full(size, 0xFF, np.uint8)
        self.live: dict[int, Buffer] = {}
        self.recording: list[Callable[[], None]] | None = None
        # Launches only cost time while the engine tunes.
        self.tuning = True
        self.launched: list[str] = []
        self.stream = _Stream(self)
        self._next = _BASE
        self._uploads: dict[int, np.ndarray] = {}
        self._made: dict[Launch, tuple[Any, Any]] = {}
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
        if start - _BASE + size > self.memory.size:
            raise EngineError(f"the emulated memory does not hold the {purpose}")
        self._next = start + max(size, 1)
        self.live[start] = Buffer(self, start, max(size, 1))
        return self.live[start]

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
        self.memory[address - _BASE :][: source.size] = source.bytes

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

        def step() -> None:
            self.clock += self.costs.get(name, 5.0)
            if not self.tuning:
                self.launched.append(name)
                work()

        if self.recording is not None:
            self.recording.append(step)
        else:
            step()

    def put(self, configuration: Launch, kernel: Launch, pointers: list[int]) -> None:
        self.enqueue(kernel.entry, lambda: self._compute(kernel, list(pointers)))

    def _compute(self, launch: Launch, pointers: list[int]) -> None:
        kernel, spec = self._made[launch]
        count = len(spec.sources)
        images = [self.read(v, p) for v, p in zip(spec.sources, pointers, strict=False)]
        uploads = [self._uploads[p] for p in pointers[count + len(launch.maps) : -1]]
        self.write(spec.target, pointers[-1], kernel.reference(spec, images, uploads))

    def elements(self, address: int, dtype: str, shape: Any, strides: Any) -> np.ndarray:
        """Return a strided window on memory, all of it within one live allocation."""
        width = ITEM_BYTES[dtype]
        steps = [(size - 1) * stride for size, stride in zip(shape, strides, strict=True)]
        end = address + (sum(steps) + 1) * width
        inside = [b for b in self.live.values() if b.handle <= address < b.handle + b.size]
        assert inside, f"{address:#x} is not allocated"
        assert end <= inside[0].handle + inside[0].size, "it reaches over the end"
        assert address % width == 0
        flat = self.memory[address - _BASE : end - _BASE].view(_TYPES[dtype])
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


class Unsupported(Exception):  # noqa: N818 - stands for cuDNN's
    """What the emulated cuDNN has no plan for."""


class EmulatedLibrary(Library):
    """Stands for cuDNN: two plans a graph, which want workspace and spoil it."""

    def __init__(self, gpu: EmulatedGpu) -> None:
        kinds = {"FLOAT": "fp32", "HALF": "fp16", "BFLOAT16": "bf16", "INT8": "int8"}
        self.module = SimpleNamespace(  # type: ignore[assignment]
            pygraph=lambda **settings: _Operations(gpu, **settings),
            data_type=SimpleNamespace(**kinds, INT32="int32"),
            heur_mode=SimpleNamespace(A=0, FALLBACK=1),
            numerical_note=SimpleNamespace(TENSOR_CORE=0, DOWN_CONVERT_INPUTS=1),
            cudnnGraphNotSupportedError=Unsupported,
        )
        self.handle, self.version = object(), 0

    def close(self) -> None:
        """Give nothing back."""
        self.handle = None


class _Tensor:
    def __init__(self, op: str, parts: tuple[Any, ...] = (), **settings: Any) -> None:
        self.op, self.parts, self.settings = op, parts, settings

    def __getattr__(self, name: str) -> Callable[[Any], _Tensor]:
        if not name.startswith("set_"):
            raise AttributeError(name)

        def put(value: Any) -> _Tensor:
            self.settings[name.removeprefix("set_")] = value
            return self

        return put


class _Operations:
    """A graph of cuDNN's, with the operations that the engine asks for."""

    workspace = 4096

    def __init__(self, gpu: EmulatedGpu, **settings: Any) -> None:
        self._gpu, self._settings = gpu, settings
        self._tensors: list[_Tensor] = []

    def _add(self, tensor: _Tensor) -> _Tensor:
        self._tensors.append(tensor)
        return tensor

    def tensor(self, **settings: Any) -> _Tensor:
        return self._add(_Tensor("tensor", (), **settings))

    def conv_fprop(self, image: _Tensor, weight: _Tensor, **settings: Any) -> _Tensor:
        return self._add(_Tensor("fprop", (image, weight), **settings))

    def conv_dgrad(self, loss: _Tensor, filter: _Tensor, **settings: Any) -> _Tensor:  # noqa: A002
        return self._add(_Tensor("dgrad", (loss, filter), **settings))

    def bias(self, input: _Tensor, bias: _Tensor) -> _Tensor:  # noqa: A002
        return self._add(_Tensor("add", (input, bias)))

    def add(self, a: _Tensor, b: _Tensor) -> _Tensor:
        return self._add(_Tensor("add", (a, b)))

    def mul(self, a: _Tensor, b: _Tensor) -> _Tensor:
        return self._add(_Tensor("mul", (a, b)))

    def relu(self, input: _Tensor) -> _Tensor:  # noqa: A002
        return self._add(_Tensor("relu", (input,)))

    def validate(self) -> None:
        for tensor in self._tensors:
            if tensor.op != "fprop":
                continue
            image, weight = (part.settings for part in tensor.parts)
            assert image["dim"][1] % weight["dim"][1] == 0
            if image["data_type"] == "int8":
                plain = tensor.settings["compute_data_type"] == "int32"
                whole = image["dim"][1] % 16 == weight["dim"][0] % 16 == 0
                if not (plain and whole and tensor.settings["data_type"] == "fp32"):
                    raise Unsupported

    def build_operation_graph(self) -> None:
        assert self._tensors

    def create_execution_plans(self, modes: list[int]) -> None:
        assert modes

    def deselect_numeric_notes(self, notes: list[int]) -> None:
        assert notes

    def check_support(self) -> None:
        assert self._tensors[-1].settings["output"]

    def get_execution_plan_count(self) -> int:
        return 2

    def get_plan_name_at_index(self, index: int) -> str:
        return f"plan{index}"

    def build_plan_at_index(self, index: int) -> None:
        assert index < 2

    def get_workspace_size_plan_at_index(self, index: int) -> int:
        return self.workspace

    def _execute_plan_at_index(
        self, pack: dict[int, int], workspace: int, index: int, handle: object
    ) -> None:
        pointers = dict(pack)
        self._gpu.enqueue("cudnn", lambda: self._compute(pointers, workspace))

    def _compute(self, pack: dict[int, int], workspace: int) -> None:
        last = self._tensors[-1]
        numbers = self._value(last, pack)
        self._gpu.elements(workspace, "uint8", (self.workspace,), (1,))[...] = 0xFF
        target = self._window(last, pack)
        target[...] = encode(numbers.astype(np.float32), last.settings["data_type"])

    def _window(self, tensor: _Tensor, pack: dict[int, int]) -> np.ndarray:
        s = tensor.settings
        return self._gpu.elements(pack[s["uid"]], s["data_type"], s["dim"], s["stride"])

    def _value(self, tensor: _Tensor, pack: dict[int, int]) -> np.ndarray:
        if tensor.op == "tensor":
            found = decode(self._window(tensor, pack), tensor.settings["data_type"])
            return found.astype(np.float64)
        parts = [self._value(part, pack) for part in tensor.parts]
        if tensor.op == "relu":
            return np.maximum(parts[0], 0)
        if tensor.op in ("add", "mul"):
            a, b = (part.astype(np.float32) for part in parts)
            return a + b if tensor.op == "add" else a * b
        compute = convolve if tensor.op == "fprop" else spread
        return compute(*parts, tensor.settings)


def convolve(image: np.ndarray, kernel: np.ndarray, settings: dict[str, Any]) -> np.ndarray:
    """Return a convolution of N C H W with O C/groups y x, as cuDNN counts its settings."""
    pads = [(0, 0), (0, 0), *zip(settings["pre_padding"], settings["post_padding"], strict=True)]
    image = np.pad(image, pads)
    (sy, sx), (dy, dx) = settings["stride"], settings["dilation"]
    outputs, inputs, height, width = kernel.shape
    h = (image.shape[2] - dy * (height - 1) - 1) // sy + 1
    w = (image.shape[3] - dx * (width - 1) - 1) // sx + 1
    groups = image.shape[1] // inputs
    result = np.zeros((image.shape[0], outputs, h, w))
    for y in range(height):
        for x in range(width):
            part = image[:, :, y * dy :, x * dx :][:, :, : (h - 1) * sy + 1 : sy]
            part = part[..., : (w - 1) * sx + 1 : sx]
            split = part.reshape(len(part), groups, inputs, h * w)
            taps = kernel[:, :, y, x].reshape(groups, -1, inputs)
            result += (taps @ split).reshape(result.shape)
    return result


def spread(image: np.ndarray, kernel: np.ndarray, settings: dict[str, Any]) -> np.ndarray:
    """Return a transposed convolution of N C H W with C O/groups y x."""
    n, _, height, width = settings["dim"]
    (sy, sx), (dy, dx) = settings["stride"], settings["dilation"]
    top, left = settings["pre_padding"]
    inputs, each, ky, kx = kernel.shape
    groups = settings["dim"][1] // each
    h, w = image.shape[2:]
    full = np.zeros((n, groups * each, (h - 1) * sy + dy * ky + height, (w - 1) * sx + dx * kx + width))
    split = image.reshape(n, groups, inputs // groups, h * w)
    for y in range(ky):
        for x in range(kx):
            taps = kernel[:, :, y, x].reshape(groups, inputs // groups, each).transpose(0, 2, 1)
            part = (taps @ split).reshape(n, groups * each, h, w)
            full[:, :, y * dy :, x * dx :][:, :, : h * sy : sy, : w * sx : sx] += part
    return full[:, :, top : top + height, left : left + width]
