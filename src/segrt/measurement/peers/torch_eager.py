"""PyTorch as it is: channels last, cuDNN chooses by timing, on a GPU one CUDA graph."""

from __future__ import annotations

from typing import Any

from segrt.measurement.peers._base import REGISTRY, Contender, Task
from segrt.measurement.peers._torch import TorchPeer, TorchRun
from segrt.measurement.timing import host_sample
from segrt.targets._base import Array

_WARM_UP = 3


class EagerRun:
    """The module, run operator by operator, or recorded."""

    def __init__(self, task: Task) -> None:
        self._run = TorchRun(task)
        self._graph: Any = None
        self._kept: Any = None
        self.note = self._run.note
        try:
            with self._run.settings():
                if self._run.on_gpu:
                    self._record()
                else:
                    self._forward()
        except Exception as error:
            self._run.close()
            raise self._run.failed(error) from error
        self.memory_bytes = self._run.peak_bytes()

    def _forward(self) -> Any:
        return self._run.module(*self._run.inputs)

    def _record(self) -> None:
        """Run on a stream of its own first, as a recording demands; then record."""
        torch = self._run.torch
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                self._forward()
        torch.cuda.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._kept = self._forward()

    def outputs(self) -> list[Array]:
        """Run once."""
        with self._run.settings():
            if self._graph is None:
                return self._run.arrays(self._forward())
            self._graph.replay()
            self._run.torch.cuda.synchronize()
            return self._run.arrays(self._kept)

    def sample(self) -> float:
        """Time a replay by events, or a run by the host's clock."""
        if self._graph is not None:
            return self._run.time(self._graph.replay)
        with self._run.settings():
            return host_sample(self._forward)()

    def close(self) -> None:
        """Free the recording and the module."""
        self._graph = self._kept = None
        self._run.close()


class Torch(TorchPeer):
    """See the module's docstring."""

    name = "torch"

    def start(self, task: Task) -> Contender:
        """Translate the graph."""
        return EagerRun(task)


REGISTRY.register(Torch.name)(Torch())
