"""OpenVINO's CPU plugin on the network as it was imported, made for latency."""

from __future__ import annotations

from segrt.errors import UnavailableError
from segrt.measurement.memory import Growth
from segrt.measurement.peers._base import REGISTRY, Contender, Peer, Task
from segrt.measurement.timing import host_sample
from segrt.targets._base import Array
from segrt.targets._engine import serialize
from segrt.targets.openvino import OpenVino as Target
from segrt.targets.openvino import OpenVinoSession
from segrt.types import BuildOptions, Precision


class OpenVinoRun:
    """A session on the network before any pass."""

    def __init__(self, task: Task) -> None:
        half = task.precision is Precision.BF16
        precision = Precision.BF16 if half else Precision.FP32
        options = BuildOptions(precision=precision, threads=task.threads)
        with Growth() as growth:
            self._session = OpenVinoSession(task.model, serialize(task.model), options)
            self._feeds = dict(task.feeds)
            self.outputs()
        self.memory_bytes = growth.grown_bytes
        notes = ["on the CPU"] if task.on_gpu else []
        if task.precision not in (Precision.FP32, Precision.BF16):
            notes.append("computes in fp32")
        self.note = ", ".join(notes)

    def outputs(self) -> list[Array]:
        """Run once."""
        return list(self._session.run(self._feeds).values())

    def sample(self) -> float:
        """Time a run by the host's clock."""
        return host_sample(self.outputs)()

    def close(self) -> None:
        """Free the session."""
        self._session.close()


class OpenVino(Peer):
    """See the module's docstring."""

    name = "openvino"
    install = "pip install openvino"

    def open(self, task: Task) -> Contender:
        """Open a session."""
        known = Target().availability()
        if not known.can_run:
            raise UnavailableError("this peer needs OpenVINO", found=known.detail, hint=known.hint)
        return OpenVinoRun(task)


REGISTRY.register(OpenVino.name)(OpenVino())
