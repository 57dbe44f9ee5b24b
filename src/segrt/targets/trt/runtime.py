"""From a plan's bytes to an execution context, with every door shut that a plan could use.

A plan is a program: to deserialize one is to run it. So the bytes given to TensorRT are those that
were checked, and the runtime is told beforehand to run no host code of a plan and to write no
library out of one. With its default settings TensorRT for RTX loads such a library while it
deserializes, whatever is said about host code.
"""

from __future__ import annotations

from typing import Any

from segrt.errors import EngineError
from segrt.targets.trt._flavour import Flavour
from segrt.targets.trt.logger import Log, engine_error
from segrt.targets.trt.runtime_cache import RuntimeCache


class LoadedEngine:
    """A deserialized engine with its one execution context; to be closed.

    A driver and a GPU must be there: without them TensorRT makes a broken runtime that crashes the
    process when it is used.

    Args:
        flavour: Whose plan it is.
        library: Its module.
        log: Gets its messages.
        plan: Checked bytes; see `segrt.targets.trt.plan_header`.
        cache: Where compiled kernels are kept, for flavours with a runtime configuration.

    Raises:
        EngineError: TensorRT refuses the plan, or there is too little memory.
    """

    def __init__(
        self, flavour: Flavour, library: Any, log: Log, plan: bytes, cache: RuntimeCache | None
    ) -> None:
        self._library = library
        self._log = log
        self._cache_file = cache
        self._cache: Any = None
        self._config: Any = None
        self._runtime: Any = None
        self.engine: Any = None
        self.context: Any = None
        log.activate()
        try:
            self._runtime = _guarded_runtime(library, log)
            _check_validity(self._runtime, library, plan)
            self.engine = self._made(self._runtime.deserialize_cuda_engine(plan), "the engine")
            if flavour.runtime_config:
                self._config = self._configure()
                context = self.engine.create_execution_context(self._config)
            else:
                context = self.engine.create_execution_context()
            self.context = self._made(context, f"an execution context{_size(self.engine)}")
        except BaseException:
            self.close()
            raise

    def save_cache(self) -> None:
        """Keep the kernels that were compiled so far for the next session; never raises."""
        if self._cache is not None and self._cache_file is not None:
            blob = self._cache.serialize()
            if blob is not None:
                self._cache_file.save(bytes(blob))

    def close(self) -> None:
        """Drop everything, what was made last first; the stream must be idle."""
        self._log.activate()
        self.context = None
        self._config = None
        self._cache = None
        self.engine = None
        self._runtime = None

    def _configure(self) -> Any:
        """Return a runtime configuration: whole CUDA graphs, kernels kept from run to run."""
        library = self._library
        config = self._made(self.engine.create_runtime_config(), "a runtime configuration")
        config.cuda_graph_strategy = library.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        cache = self._made(config.create_runtime_cache(), "a runtime cache")
        blob = None if self._cache_file is None else self._cache_file.load()
        if blob is not None and not cache.deserialize(blob):
            # Made by another driver or GPU: it is filled and written anew.
            self._log.forget()
        if not config.set_runtime_cache(cache):
            raise engine_error("the runtime cache", self._log.errors())
        self._cache = cache
        return config

    def _made(self, thing: Any, subject: str) -> Any:
        """Return what TensorRT made; None means that it logged why it did not."""
        if thing is None:
            raise engine_error(subject, self._log.errors())
        return thing


def _size(engine: Any) -> str:
    """Say how much memory a context takes; TensorRT 10.0 does not tell."""
    found = getattr(engine, "device_memory_size_v2", None)
    return "" if found is None else f", which takes {found / 2**20:.0f} MiB of the GPU's memory"


def _guarded_runtime(library: Any, log: Log) -> Any:
    """Return a runtime that runs nothing of a plan on the host."""
    runtime = library.Runtime(log.sink)
    if runtime is None:
        raise engine_error("a runtime", log.errors())
    runtime.engine_host_code_allowed = False
    runtime.tempfile_control_flags = 0
    # A setter that fails logs an error and keeps what was there.
    if runtime.engine_host_code_allowed or runtime.tempfile_control_flags != 0:
        raise EngineError(
            "TensorRT's runtime cannot be told to run no host code of an engine",
            found="; ".join(log.errors()) or None,
        )
    return runtime


def _check_validity(runtime: Any, library: Any, plan: bytes) -> None:
    """Ask whether the engine fits this machine, where the library can be asked.

    Says in words what deserializing would say in codes. It is no guard: an engine that was changed
    may be called valid.
    """
    if not hasattr(runtime, "get_engine_validity"):
        return
    validity, diagnostics = runtime.get_engine_validity(plan)
    if validity != library.EngineValidity.INVALID:
        return
    kinds = getattr(library.EngineInvalidityDiagnostics, "__members__", {})
    bits = int(diagnostics)
    names = [name.lower().replace("_", " ") for name, bit in kinds.items() if bits & int(bit)]
    raise EngineError(
        "the engine does not fit this machine",
        found=", ".join(names) or f"diagnostics {bits}",
        hint="build the package again on this machine",
    )
