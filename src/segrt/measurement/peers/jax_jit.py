"""JAX: the network compiled by XLA, images channels last."""

from __future__ import annotations

import contextlib
import os
import time
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from segrt._optional import require
from segrt.errors import EngineError, SegrtError, UnavailableError
from segrt.measurement.jax_ops._base import JaxNet
from segrt.measurement.peers._base import REGISTRY, Contender, Peer, Task
from segrt.targets._base import Array
from segrt.types import Precision

_TYPES = {
    Precision.FP32: "float32",
    Precision.TF32: "float32",
    Precision.FP16: "float16",
    Precision.BF16: "bfloat16",
    # As for PyTorch: half precision is what one would use.
    Precision.INT8: "float16",
}
# JAX has no events: a sample queues about so long a time of runs, and waits once.
_QUEUED_S = 0.01
_MOST_QUEUED = 64


class JaxRun:
    """A compiled function with its parameters and inputs on its device."""

    def __init__(self, task: Task) -> None:
        # The default takes three quarters of the GPU, of whatever else is to be timed.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        self._jax: Any = require("jax", purpose="this peer", install=Jax.install)
        platform = self._jax.default_backend()
        if task.on_gpu and platform != "gpu":
            raise UnavailableError(
                "the installed JAX finds no GPU",
                found=f"jax {self._jax.__version__} on {platform}",
                hint="pip install 'jax[cuda13]'",
            )
        device = self._jax.devices("gpu" if task.on_gpu else "cpu")[0]
        with self._jax.default_device(device), _products(self._jax, task):
            self._prepare(task)
        self.note = self._note(task)

    def _prepare(self, task: Task) -> None:
        dtype = getattr(self._jax.numpy, _TYPES[task.precision])
        net = JaxNet(task.model, dtype)
        names = [str(value.name) for value in task.model.graph.inputs]
        self._inputs = [self._place(task.feeds[name], dtype) for name in names]
        self._parameters = net.parameters
        lowered = self._jax.jit(net).lower(self._parameters, *self._inputs)
        self._compiled = lowered.compile()
        self.memory_bytes = _bytes(self._compiled) if task.on_gpu else None
        self._wait(self._run())
        started = time.perf_counter()
        self._wait(self._run())
        once = time.perf_counter() - started
        self._queued = 1 if not task.on_gpu else min(_MOST_QUEUED, int(_QUEUED_S / once) + 1)

    def _note(self, task: Task) -> str:
        notes = ["computes in fp16"] if task.precision is Precision.INT8 else []
        if self._queued > 1:
            notes.append(f"means of {self._queued} runs")
        if task.threads and not task.on_gpu:
            notes.append("threads as XLA chooses")
        return ", ".join(notes)

    def _place(self, array: Array, dtype: Any) -> Any:
        return self._jax.numpy.asarray(array, dtype=dtype if array.dtype.kind == "f" else None)

    def _run(self) -> Any:
        return self._compiled(self._parameters, *self._inputs)

    def _wait(self, outputs: Any) -> Any:
        return self._jax.block_until_ready(outputs)

    def outputs(self) -> list[Array]:
        """Run once."""
        return [_widened(np.asarray(output)) for output in self._run()]

    def sample(self) -> float:
        """Return the time of a run, a mean where several are queued."""
        before = time.perf_counter()
        for _ in range(self._queued):
            outputs = self._run()
        self._wait(outputs)
        return (time.perf_counter() - before) * 1e3 / self._queued

    def close(self) -> None:
        """Drop the function and the arrays."""
        del self._compiled, self._parameters
        self._inputs.clear()


def _products(jax: Any, task: Task) -> AbstractContextManager[Any]:
    """Say how products of fp32 are computed: left alone, JAX takes tf32 on GPUs."""
    words = {Precision.FP32: "float32", Precision.TF32: "tensorfloat32"}
    word = words.get(task.precision)
    if word is None:
        return contextlib.nullcontext()
    found: AbstractContextManager[Any] = jax.default_matmul_precision(word)
    return found


def _bytes(compiled: Any) -> int | None:
    """Return parameters, inputs, outputs and what is needed in between, as XLA planned it."""
    found = compiled.memory_analysis()
    if found is None:
        return None
    names = ("argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes")
    return sum(int(getattr(found, name)) for name in names)


def _widened(array: Array) -> Array:
    # NumPy has no bfloat16 of its own; it is a float of kind V to it.
    return array.astype(np.float32) if array.dtype.kind in "fV" else array


class Jax(Peer):
    """See the module's docstring."""

    name = "jax"
    install = "pip install jax"

    def open(self, task: Task) -> Contender:
        """Translate and compile the graph."""
        try:
            return JaxRun(task)
        except SegrtError:
            raise
        except Exception as error:
            text = str(error).strip().splitlines() or [type(error).__name__]
            raise EngineError("JAX fails", found=text[0]) from error


REGISTRY.register(Jax.name)(Jax())
