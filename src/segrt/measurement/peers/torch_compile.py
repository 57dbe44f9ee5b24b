"""PyTorch compiled: ``torch.compile`` with all its tuning on a GPU, as it comes on a CPU."""

from __future__ import annotations

import warnings
from typing import Any

from segrt.measurement.peers._base import REGISTRY, Contender, Task
from segrt.measurement.peers._torch import TorchPeer, TorchRun
from segrt.measurement.timing import host_sample
from segrt.targets._base import Array

_WARM_UP = 3


class CompiledRun:
    """The module behind ``torch.compile``."""

    def __init__(self, task: Task) -> None:
        self._run = TorchRun(task)
        torch = self._run.torch
        mode = "max-autotune" if task.on_gpu else "default"
        self.note = ", ".join(filter(None, (self._run.note, f"mode {mode}")))
        try:
            with self._run.settings(), warnings.catch_warnings():
                # What PyTorch's own parts think of one another.
                warnings.simplefilter("ignore")
                torch._dynamo.reset()
                self._compiled = torch.compile(self._run.module, mode=mode)
                for _ in range(_WARM_UP):
                    self._forward()
        except Exception as error:
            self._run.close()
            raise self._run.failed(error) from error
        self.memory_bytes = self._run.peak_bytes()

    def _forward(self) -> Any:
        return self._compiled(*self._run.inputs)

    def outputs(self) -> list[Array]:
        """Run once."""
        with self._run.settings():
            return self._run.arrays(self._forward())

    def sample(self) -> float:
        """Time a run: by events on a GPU, else by the host's clock."""
        with self._run.settings():
            if self._run.on_gpu:
                return self._run.time(self._forward)
            return host_sample(self._forward)()

    def close(self) -> None:
        """Free the module."""
        del self._compiled
        self._run.close()


class TorchCompile(TorchPeer):
    """See the module's docstring."""

    name = "torch.compile"

    def start(self, task: Task) -> Contender:
        """Translate and compile the graph."""
        return CompiledRun(task)


REGISTRY.register(TorchCompile.name)(TorchCompile())
