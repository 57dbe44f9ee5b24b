"""ONNX Runtime on the network as it was imported, with the options it comes with."""

from __future__ import annotations

from typing import Any

from segrt._optional import require
from segrt.errors import EngineError
from segrt.measurement.memory import Growth
from segrt.measurement.peers._base import REGISTRY, Contender, Peer, Task
from segrt.measurement.timing import host_sample
from segrt.targets._base import Array
from segrt.targets._engine import serialize
from segrt.types import Precision

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"


class OnnxRuntimeRun:
    """An `InferenceSession`; inputs and outputs are arrays of the host."""

    def __init__(self, task: Task, library: Any) -> None:
        with Growth() as growth:
            options = library.SessionOptions()
            options.log_severity_level = 3
            options.intra_op_num_threads = task.threads or 0
            # Spinning threads would take the cores from the contender that comes next.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            offered = library.get_available_providers()
            here = [_CUDA, _CPU] if task.on_gpu and _CUDA in offered else [_CPU]
            try:
                self._session = library.InferenceSession(
                    serialize(task.model), options, providers=here
                )
            except Exception as error:
                raise EngineError("ONNX Runtime refuses the graph", found=str(error)) from error
            self._feeds = dict(task.feeds)
            self.outputs()
        self.note = _note(task, gpu=_CUDA in self._session.get_providers())
        self.memory_bytes = None if _CUDA in here else growth.grown_bytes

    def outputs(self) -> list[Array]:
        """Run once."""
        found: list[Array] = self._session.run(None, self._feeds)
        return found

    def sample(self) -> float:
        """Time a run by the host's clock."""
        return host_sample(self.outputs)()

    def close(self) -> None:
        """Free the session."""
        del self._session


def _note(task: Task, *, gpu: bool) -> str:
    notes = []
    if task.on_gpu:
        notes.append("on the GPU, with copies" if gpu else "on the CPU: built without CUDA")
    if task.precision not in (Precision.FP32, Precision.INT8):
        notes.append("computes in fp32")
    return ", ".join(notes)


class OnnxRuntime(Peer):
    """See the module's docstring."""

    name = "onnxruntime"
    install = "pip install onnxruntime"

    def open(self, task: Task) -> Contender:
        """Open a session."""
        library = require("onnxruntime", purpose="this peer", install=self.install)
        return OnnxRuntimeRun(task, library)


REGISTRY.register(OnnxRuntime.name)(OnnxRuntime())
