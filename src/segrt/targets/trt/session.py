"""Run a TensorRT engine: named tensors, one stream, pinned memory, CUDA graphs."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir

from segrt.cuda.capture import record
from segrt.cuda.devices import keeping_current
from segrt.cuda.driver import Gpu
from segrt.cuda.tune import event_us
from segrt.errors import EngineError, SegrtError
from segrt.targets._base import Array
from segrt.targets._session import CheckedSession
from segrt.targets.trt._flavour import Flavour
from segrt.targets.trt.buffers import Buffers
from segrt.targets.trt.logger import Log, engine_error
from segrt.targets.trt.runtime import LoadedEngine
from segrt.targets.trt.runtime_cache import RuntimeCache
from segrt.targets.trt.tensors import check_interface, read_inputs

_LOG = logging.getLogger(__name__)

Shapes: TypeAlias = tuple[tuple[int, ...], ...]


class TensorRtSession(CheckedSession):
    """One engine with a context, a stream and memory of its own.

    A run that fails leaves the session as it was before the first run, or closed where the GPU
    itself is lost.

    Args:
        model: The graph the engine was built from.
        plan: The engine; checked by `segrt.targets.trt.plan_header`.
        flavour: Whose engine it is.
        gpu: Makes the device and stream; called once, before TensorRT's runtime is touched.

    Raises:
        UnavailableError: There is no driver or GPU.
        PackageError: The engine is not that of ``model``.
        EngineError: TensorRT refuses the engine, or there is too little memory.
    """

    def __init__(
        self, model: ir.Model, plan: bytes, flavour: Flavour, gpu: Callable[[], Gpu] = Gpu
    ) -> None:
        super().__init__(model)
        self._flavour = flavour
        self._bound: Shapes | None = None
        self._runs_of_bound = 0
        self._graph: Any = None
        self._may_capture = not flavour.runtime_config
        self._cache_kept = self._new_kernels = False
        library = flavour.load()
        self._log = Log(library)
        self._gpu = gpu()
        with contextlib.ExitStack() as undo:
            undo.callback(self._gpu.close)
            cache = self._cache(plan, library) if flavour.runtime_config else None
            self._loaded = LoadedEngine(flavour, library, self._log, plan, cache)
            undo.callback(self._loaded.close)
            check_interface(library, self._loaded.engine, self.inputs, self.outputs)
            self._ranges = read_inputs(self._loaded.engine, self.inputs)
            undo.pop_all()
        self._sources = [Buffers(self._gpu, spec.name) for spec in self.inputs]
        self._targets = [Buffers(self._gpu, spec.name) for spec in self.outputs]
        self._shapes: Shapes = ()

    @keeping_current()
    def _infer(self, arrays: Sequence[Array]) -> Sequence[Array]:
        shapes = tuple(array.shape for array in arrays)
        for given, shape in zip(self._ranges, shapes, strict=True):
            given.check(shape)
        self._gpu.use()
        self._log.activate()
        self._log.forget()
        try:
            if shapes != self._bound:
                self._bind(shapes)
            results = self._run(arrays)
        except BaseException as error:
            self._recover(error)
            raise
        self._runs_of_bound += 1
        if not self._cache_kept:
            self._keep_cache()
        return results

    def _bind(self, shapes: Shapes) -> None:
        """Tell the context the inputs' sizes, ask it for the outputs', and give it memory."""
        self._drop_graph()
        # Nothing is bound until all is: a failure halfway must not look like success next time.
        self._bound = None
        self._runs_of_bound = 0
        context = self._loaded.context
        for spec, shape in zip(self.inputs, shapes, strict=True):
            done = context.set_input_shape(spec.name, shape)
            self._check(done, f"sizes {shape} of input {spec.name!r}")
        self._shapes = tuple(self._output_shape(spec.name) for spec in self.outputs)
        buffers = [*self._sources, *self._targets]
        ends = zip([*self.inputs, *self.outputs], [*shapes, *self._shapes], buffers, strict=True)
        for spec, shape, buffer in ends:
            buffer.grow(math.prod(shape) * np.dtype(spec.dtype).itemsize)
            done = context.set_tensor_address(spec.name, buffer.address)
            self._check(done, f"the memory of tensor {spec.name!r}")
        self._bound = shapes
        # Kept after the first run, and at the end those of other sizes too.
        self._new_kernels = self._flavour.runtime_config

    def _output_shape(self, name: str) -> tuple[int, ...]:
        shape = tuple(self._loaded.context.get_tensor_shape(name))
        if any(size < 0 for size in shape):
            raise engine_error(f"to say how large output {name!r} is", self._log.errors())
        return shape

    def _run(self, arrays: Sequence[Array]) -> list[Array]:
        for buffer, array in zip(self._sources, arrays, strict=True):
            buffer.upload(array)
        self._put()
        for buffer, shape, spec in zip(self._targets, self._shapes, self.outputs, strict=True):
            buffer.download(math.prod(shape) * np.dtype(spec.dtype).itemsize)
        self._gpu.stream.sync()
        return [
            buffer.array(shape, spec.dtype)
            for buffer, shape, spec in zip(self._targets, self._shapes, self.outputs, strict=True)
        ]

    def _put(self) -> None:
        """Put the network on the stream, as a graph from the second run of the same sizes on.

        The first run lets TensorRT do what it does once for new sizes, which cannot be recorded.
        A context belongs to one recording: once its sizes or addresses change, that is void.
        """
        if self._graph is None and self._may_capture and self._runs_of_bound > 0:
            self._capture()
        if self._graph is not None:
            self._graph.launch(self._gpu.stream)
        else:
            self._enqueue()

    @property
    def device_name(self) -> str:
        """The GPU's name."""
        return self._gpu.name

    def once_us(self) -> float:
        """Return the time of one run on the GPU alone, in microseconds, at the sizes run last."""
        with self._lock:
            if self._bound is None:
                raise EngineError("nothing was run yet, so there is nothing to time")
            self._gpu.use()
            return event_us(self._gpu, self._put)

    def _enqueue(self) -> None:
        done = self._loaded.context.execute_async_v3(int(self._gpu.stream.handle))
        self._check(done, "to run the engine")

    def _capture(self) -> None:
        """Record the network; some networks cannot be, which costs speed and is said once."""
        try:
            self._graph = record(self._gpu, self._enqueue)
        except Exception as error:  # noqa: BLE001 - the driver, TensorRT and cuda-core have their own
            self._may_capture = False
            self._log.forget()
            _LOG.warning(
                "the engine cannot be recorded as a CUDA graph and runs without: %s", error
            )

    def _check(self, done: bool, subject: str) -> None:
        """Turn a call that failed into an error with what TensorRT logged about it."""
        if not done:
            raise engine_error(subject, self._log.errors())

    def _recover(self, error: BaseException) -> None:
        """Wait for what is still on the stream; if the GPU does not answer, close the session."""
        self._drop_graph()
        self._bound = None
        try:
            self._gpu.stream.sync()
        except Exception as lost:  # noqa: BLE001 - cuda-core has errors of its own
            self._closed = True
            with contextlib.suppress(Exception):
                self._free()
            raise EngineError(
                "the GPU failed while the engine ran, and the session is closed",
                found=f"{_words(error)}; {lost}",
                hint="open a new session; other sessions of this process may be lost as well",
            ) from error

    def _drop_graph(self) -> None:
        graph, self._graph = self._graph, None
        if graph is not None:
            graph.close()

    @keeping_current()
    def _free(self) -> None:
        """Give everything back, last made first, each even if one before it fails."""
        with contextlib.ExitStack() as steps:
            steps.callback(self._gpu.close)
            for buffer in (*self._sources, *self._targets):
                steps.callback(buffer.free)
            steps.callback(self._loaded.close)
            steps.callback(self._drop_graph)
            if self._cache_kept:
                steps.callback(self._keep_cache)
            steps.callback(self._gpu.stream.sync)
            steps.callback(self._gpu.use)

    def _keep_cache(self) -> None:
        if self._new_kernels:
            self._new_kernels, self._cache_kept = False, True
            self._loaded.save_cache()

    def _cache(self, plan: bytes, library: Any) -> RuntimeCache:
        return RuntimeCache(
            hashlib.sha256(plan).hexdigest(),
            f"{self._flavour.name} {library.__version__}",
            f"{self._gpu.name}, driver {self._gpu.driver}",
        )


def _words(error: BaseException) -> str:
    if isinstance(error, SegrtError):
        return error.found or error.message
    return str(error)
