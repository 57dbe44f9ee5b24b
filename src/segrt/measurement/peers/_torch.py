"""What the two ways of PyTorch share: the module, its inputs, its clock."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from segrt._optional import require
from segrt.errors import EngineError, UnavailableError
from segrt.measurement.peers._base import Contender, Peer, Task
from segrt.measurement.torch_ops._base import torch_module
from segrt.targets._base import Array
from segrt.types import Precision

INSTALL = "pip install torch"
_TYPES = {
    Precision.FP32: "float32",
    Precision.TF32: "float32",
    Precision.FP16: "float16",
    Precision.BF16: "bfloat16",
    # There are no convolutions in eight bits on GPUs: half precision is what one would use.
    Precision.INT8: "float16",
}


class TorchRun:
    """A module with its inputs on its device.

    Args:
        task: What to run.

    Raises:
        UnavailableError: PyTorch is missing, or has no GPU.
        UnsupportedLayerError: Operators that have no translation.
    """

    def __init__(self, task: Task) -> None:
        self.torch: Any = require("torch", purpose="this peer", install=INSTALL)
        self.on_gpu = task.on_gpu
        if task.on_gpu and not self.torch.cuda.is_available():
            raise UnavailableError(
                "the installed PyTorch finds no GPU",
                found=f"torch {self.torch.__version__}",
                hint="install a build with CUDA (https://pytorch.org)",
            )
        self.task = task
        self.device = self.torch.device("cuda" if task.on_gpu else "cpu")
        self.note = "computes in fp16" if task.precision is Precision.INT8 else ""
        with self.settings():
            self._start_bytes = self._allocated()
            dtype = getattr(self.torch, _TYPES[task.precision])
            self.module = torch_module(task.model, dtype, self.device)
            names = [str(value.name) for value in task.model.graph.inputs]
            self.inputs = [self._place(task.feeds[name], dtype) for name in names]

    def _place(self, array: Array, dtype: Any) -> Any:
        tensor = self.torch.from_numpy(np.array(array))
        if tensor.is_floating_point():
            tensor = tensor.to(dtype)
        # As the source has them: N H W C for most, which is what channels last means.
        return tensor.to(self.device)

    @contextlib.contextmanager
    def settings(self) -> Iterator[None]:
        """Set what PyTorch keeps for the whole process, and put it back afterwards."""
        torch = self.torch
        before = (
            torch.get_num_threads(),
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.allow_tf32,
            torch.backends.cuda.matmul.allow_tf32,
        )
        quick = self.task.precision is Precision.TF32
        self._set(self.task.threads or before[0], True, quick, quick)
        try:
            with torch.inference_mode():
                yield
        finally:
            self._set(*before)

    def _set(self, threads: int, benchmark: bool, convolutions: bool, products: bool) -> None:
        torch = self.torch
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = benchmark
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.backends.cuda.matmul.allow_tf32 = products

    def arrays(self, outputs: Any) -> list[Array]:
        """Return a module's outputs as arrays."""
        return [self._array(output) for output in outputs]

    def _array(self, output: Any) -> Array:
        output = output.detach()
        if output.is_floating_point():
            output = output.float()
        result: Array = output.cpu().numpy().copy()
        return result

    def time(self, run: Callable[[], Any]) -> float:
        """Return how long the GPU is busy with ``run``, in milliseconds, by events."""
        events = [self.torch.cuda.Event(enable_timing=True) for _ in range(2)]
        events[0].record()
        run()
        events[1].record()
        events[1].synchronize()
        return float(events[0].elapsed_time(events[1]))

    def _allocated(self) -> int:
        if not self.on_gpu:
            return 0
        self.torch.cuda.reset_peak_memory_stats()
        return int(self.torch.cuda.memory_allocated())

    def peak_bytes(self) -> int | None:
        """Return the most that was allocated on the GPU since this was made."""
        if not self.on_gpu:
            return None
        return int(self.torch.cuda.max_memory_allocated()) - self._start_bytes

    def failed(self, error: Exception) -> EngineError:
        """Return the error for whatever PyTorch raised; to be raised."""
        first = str(error).strip().splitlines() or [type(error).__name__]
        return EngineError(f"PyTorch {self.torch.__version__} fails", found=first[0])

    def close(self) -> None:
        """Drop the module and give its memory back."""
        del self.module
        self.inputs.clear()
        if self.on_gpu:
            self.torch.cuda.empty_cache()


class TorchPeer(Peer):
    """A peer that runs a `TorchRun` in its own way."""

    install = INSTALL

    def open(self, task: Task) -> Contender:
        """Translate the graph."""
        try:
            return self.start(task)
        except RuntimeError as error:
            raise EngineError("PyTorch fails", found=str(error).splitlines()[0]) from error

    @abstractmethod
    def start(self, task: Task) -> Contender:
        """Make the module ready; errors of PyTorch's own are told as the peer's."""
