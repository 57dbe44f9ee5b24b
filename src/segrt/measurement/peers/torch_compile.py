"""PyTorch compiled: ``torch.compile``, on a GPU with its CUDA graphs.

Not with ``max-autotune`` unless that is asked for: it compiles and times a dozen kernels for each
convolution, and did not end on an H100 when it was given minutes for a U-Net.
"""

from __future__ import annotations

import warnings
from typing import Any

from segrt.measurement.peers._base import REGISTRY, Contender, Task
from segrt.measurement.peers._torch import TorchPeer, TorchRun
from segrt.measurement.timing import host_sample
from segrt.targets._base import Array

_WARM_UP = 3


def mode_of(task: Task) -> str:
    """Return the mode that was asked for, or that suits."""
    return task.mode or ("reduce-overhead" if task.on_gpu else "default")


class CompiledRun:
    """The module behind ``torch.compile``."""

    def __init__(self, task: Task) -> None:
        self._run = TorchRun(task)
        torch = self._run.torch
        mode = mode_of(task)
        self.note = ", ".join(filter(None, (self._run.note, f"mode {mode}")))
        try:
            with self._run.settings(), warnings.catch_warnings():
                # What PyTorch's own parts think of one another.
                warnings.simplefilter("ignore")
                torch._dynamo.reset()
                # Sizes are known: another batch size is no reason to leave them open.
                self._compiled = torch.compile(self._run.module, mode=mode, dynamic=False)
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
    modes = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")

    def start(self, task: Task) -> Contender:
        """Translate and compile the graph."""
        return CompiledRun(task)


REGISTRY.register(TorchCompile.name)(TorchCompile())
