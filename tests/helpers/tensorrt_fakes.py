"""A driver and a TensorRT runtime that record what is asked of them, and can fail at each step.

Only the GPU and TensorRT's runtime, engine and context are fakes. The stream is as lazy as a real
one: copies and the network are done when it is waited for, in the order they were put on it, so a
result that is read too early, or memory that is changed or freed too early, shows. The network
computes ``2 x + 1``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np


class World:
    """The record, the memory that is alive, and what is to fail.

    Attributes:
        calls: What was asked for, in order.
        fail: Calls that fail, by name: raise, or return what TensorRT returns then.
        memory: Address -> what is alive there.
        streams: Handle -> stream.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fail: dict[str, Any] = {}
        self.memory: dict[int, np.ndarray] = {}
        self.streams: dict[int, FakeStream] = {}
        self.logger: Any = None

    def call(self, name: str, detail: object = "") -> None:
        """Record a call; raise if it is to fail by raising."""
        self.calls.append(f"{name} {detail}".strip())
        wanted = self.fail.get(name)
        if isinstance(wanted, BaseException):
            raise wanted

    def answer(self, name: str, good: Any, detail: object = "") -> Any:
        """Record a call; return ``good``, or what it returns if it is to fail, with a message."""
        self.call(name, detail)
        if name in self.fail:
            self.logger.log(self.logger.error, f"{name} was told to fail")
            return self.fail[name]
        return good

    def names(self) -> list[str]:
        """The calls without details."""
        return [call.split(" ")[0] for call in self.calls]

    def view(self, address: int, size: int) -> np.ndarray:
        """Return the memory at an address; it must be alive and large enough."""
        array = self.memory[address]
        assert size <= array.size, "beyond the end of a buffer"
        return array[:size]


class FakeBuffer:
    def __init__(self, world: World, size: int, kind: str) -> None:
        self._world, self._kind, self.size = world, kind, size
        # Never zero by chance: what is read before it is written shows.
        self._array = np.full(size, 0xCD, np.uint8)
        self.handle = self._array.ctypes.data
        world.memory[self.handle] = self._array

    def close(self, stream: Any = None) -> None:
        self._world.call(f"free_{self._kind}", self.size)
        del self._world.memory[self.handle]


class FakeGraph:
    def __init__(self, world: World, work: list[Callable[[], None]]) -> None:
        self._world, self._work = world, work

    def launch(self, stream: Any) -> None:
        self._world.call("graph_launch")
        stream.work.extend(self._work)

    def close(self) -> None:
        self._world.call("graph_close")


class FakeBuilder:
    def __init__(self, world: World, stream: FakeStream) -> None:
        self._world, self._stream = world, stream

    def begin_building(self) -> None:
        self._world.call("begin_building")
        self._outside, self._stream.work = self._stream.work, []

    def end_building(self) -> None:
        self._world.call("end_building")
        self._recorded, self._stream.work = self._stream.work, self._outside

    def complete(self) -> FakeGraph:
        self._world.call("complete")
        return FakeGraph(self._world, self._recorded)

    def close(self) -> None:
        pass


class FakeEvent:
    """A mark on a stream; any two are 7 ms apart."""

    def __init__(self, stream: FakeStream) -> None:
        self._stream = stream

    def sync(self) -> None:
        self._stream.finish()

    def __sub__(self, other: FakeEvent) -> float:
        return 7.0


class FakeStream:
    def __init__(self, world: World) -> None:
        self._world = world
        self.work: list[Callable[[], None]] = []
        self.handle = 77 + len(world.streams)
        world.streams[self.handle] = self

    def create_graph_builder(self) -> FakeBuilder:
        return FakeBuilder(self._world, self)

    def record(self, options: object = None) -> FakeEvent:
        self._world.call("event")
        return FakeEvent(self)

    def sync(self) -> None:
        self._world.call("sync")
        self.finish()

    def finish(self) -> None:
        """Do what was put on it."""
        work, self.work = self.work, []
        for step in work:
            step()


class FakeGpu:
    """Has what the session uses of `segrt.cuda.driver.Gpu`."""

    name, driver, capability = "Fake RTX", "13.0", (8, 9)

    def __init__(self, world: World) -> None:
        world.call("open_gpu")
        self._world = world
        self.stream = FakeStream(world)

    def use(self) -> None:
        self._world.call("use")

    def allocate(self, size: int, purpose: str) -> FakeBuffer:
        self._world.call("allocate", size)
        return FakeBuffer(self._world, size, "device")

    def pinned(self, size: int) -> tuple[FakeBuffer, np.ndarray]:
        self._world.call("pinned", size)
        buffer = FakeBuffer(self._world, size, "pinned")
        memory = (ctypes.c_uint8 * size).from_address(buffer.handle)
        return buffer, np.ctypeslib.as_array(memory)

    def copy_bytes(self, target: int, source: int, size: int) -> None:
        self._world.call("copy", size)

        def copy() -> None:
            self._world.view(target, size)[:] = self._world.view(source, size)

        self.stream.work.append(copy)

    def close(self) -> None:
        self._world.call("close_gpu")


class FakeTensorRt:
    """Stands where the module does.

    Args:
        rtx: Whether it is TensorRT for RTX, which has more.
        shape: Of the input ``x`` and the output ``y``, -1 where free.
        profile: Smallest, usual and largest shape, where one is free.
        dtype: NumPy's, of both.
    """

    __version__ = "1.7.1.116"

    def __init__(
        self,
        *,
        rtx: bool = True,
        shape: tuple[int, ...] = (1, 4, 4, 1),
        profile: tuple[tuple[int, ...], ...] = (),
        dtype: Any = np.float32,
    ) -> None:
        self.world = World()
        self.rtx, self.shape, self.profile, self.dtype = rtx, shape, profile, dtype
        self.TensorIOMode = SimpleNamespace(
            INPUT="TensorIOMode.INPUT", OUTPUT="TensorIOMode.OUTPUT"
        )
        self.TensorLocation = SimpleNamespace(DEVICE="device", HOST="host")
        if rtx:
            self.CudaGraphStrategy = SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole graph")
            self.EngineValidity = SimpleNamespace(VALID=0, INVALID=2)
            self.EngineInvalidityDiagnostics = SimpleNamespace(
                __members__={"VERSION_MISMATCH": 1, "UNSUPPORTED_CC": 2}
            )

    class ILogger:
        """As TensorRT's: Python classes inherit from it."""

        Severity = SimpleNamespace(
            INTERNAL_ERROR="internal", ERROR="error", WARNING="warning", INFO="info",
            VERBOSE="verbose",
        )  # fmt: skip
        error = "error"

        def __init__(self) -> None:
            pass

    def gpu(self) -> FakeGpu:
        """Open the GPU."""
        return FakeGpu(self.world)

    def nptype(self, dtype: Any) -> Any:
        return dtype

    def Runtime(self, logger: Any) -> Any:
        self.world.logger = logger
        made = self.classes()["Runtime"](self)
        return self.world.answer("runtime", made)

    def classes(self) -> dict[str, type]:
        """The classes that have only what the real ones have."""
        if self.rtx:
            return {
                "Runtime": RtxRuntime, "ICudaEngine": RtxEngine, "IExecutionContext": Context,
                "IRuntimeConfig": Config, "IRuntimeCache": Cache,
            }  # fmt: skip
        return {"Runtime": Runtime, "ICudaEngine": Engine, "IExecutionContext": Context}


class Runtime:
    def __init__(self, library: FakeTensorRt) -> None:
        self._library, self._world = library, library.world
        self._host_code, self._files = True, 3

    @property
    def engine_host_code_allowed(self) -> bool:
        return self._host_code

    @engine_host_code_allowed.setter
    def engine_host_code_allowed(self, value: bool) -> None:
        if self._world.answer("engine_host_code_allowed", True, value) is not None:
            self._host_code = value

    @property
    def tempfile_control_flags(self) -> int:
        return self._files

    @tempfile_control_flags.setter
    def tempfile_control_flags(self, value: int) -> None:
        if self._world.answer("tempfile_control_flags", True, value) is not None:
            self._files = value

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        engine = self._library.classes()["ICudaEngine"](self._library)
        return self._world.answer("deserialize", engine)

    def __del__(self) -> None:
        self._world.calls.append("del_runtime")


class RtxRuntime(Runtime):
    def get_engine_validity(self, buffer: bytes) -> tuple[int, int]:
        self._world.call("validity")
        return self._world.fail.get("validity", (0, 0))


class Engine:
    device_memory_size_v2 = 3 << 20

    def __init__(self, library: FakeTensorRt) -> None:
        self._library, self._world = library, library.world

    @property
    def num_io_tensors(self) -> int:
        return 2

    def get_tensor_name(self, index: int) -> str:
        return ("x", "y")[index]

    def get_tensor_mode(self, name: str) -> str:
        modes = self._library.TensorIOMode
        return modes.INPUT if name == "x" else modes.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return self._library.dtype

    def get_tensor_location(self, name: str) -> Any:
        return self._library.TensorLocation.DEVICE

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._library.shape

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> Any:
        assert profile_index == 0
        assert name == "x"
        return list(self._library.profile)

    def create_execution_context(self) -> Any:
        return self._world.answer("context", Context(self._library))

    def __del__(self) -> None:
        self._world.calls.append("del_engine")


class RtxEngine(Engine):
    def create_runtime_config(self) -> Any:
        return self._world.answer("config", Config(self._library))

    def create_execution_context(self, runtime_config: Any) -> Any:
        assert runtime_config.cuda_graph_strategy == "whole graph"
        return self._world.answer("context", Context(self._library))


class Config:
    cuda_graph_strategy = "disabled"

    def __init__(self, library: FakeTensorRt) -> None:
        self._library, self._world = library, library.world

    def create_runtime_cache(self) -> Any:
        return self._world.answer("create_cache", Cache(self._library))

    def set_runtime_cache(self, cache: Any) -> bool:
        return self._world.answer("set_cache", True)


class Cache:
    def __init__(self, library: FakeTensorRt) -> None:
        self._world = library.world

    def deserialize(self, blob: bytes) -> bool:
        return self._world.answer("cache_deserialize", True, bytes(blob).decode())

    def serialize(self) -> Any:
        return self._world.answer("cache_serialize", b"kernels")


class Context:
    def __init__(self, library: FakeTensorRt) -> None:
        self._library, self._world = library, library.world
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = shape
        return self._world.answer("set_input_shape", True, f"{name} {shape}")

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._world.answer("get_tensor_shape", self._shapes["x"], name)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return self._world.answer("set_tensor_address", True, name)

    def execute_async_v3(self, stream_handle: int) -> bool:
        shape, addresses = self._shapes["x"], dict(self._addresses)
        dtype = np.dtype(self._library.dtype)
        size = int(np.prod(shape)) * dtype.itemsize

        def compute() -> None:
            x = self._world.view(addresses["x"], size).view(dtype)
            self._world.view(addresses["y"], size).view(dtype)[:] = 2 * x + 1

        self._world.streams[stream_handle].work.append(compute)
        return self._world.answer("execute", True)

    def __del__(self) -> None:
        self._world.calls.append("del_context")
