"""cuDNN's plans once they are built: run, kept on disk, and built side by side by other processes.

cuDNN compiles many of its plans at run time, 0.3 to 0.7 seconds each, and its frontend holds
Python's lock meanwhile. Written down, such a plan is some 60 kB that are read in 4 ms.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from segrt.cuda import kept_files
from segrt.cuda.graph_specs import PlanId

_LOG = logging.getLogger(__name__)
_FOLDER = "cuda-cudnn"
# Fewer are built here: processes take half a second to begin.
_WORTH_PROCESSES = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan that can be run.

    Attributes:
        workspace: Bytes of scratch memory that it wants.
        ends: Its tensors' numbers, in the order that their pointers are given; 0: has none such.
        put: Puts it on the stream, given pointers by number and the scratch memory.
        written: What it can be made from again; empty where building it is as fast.
    """

    workspace: int
    ends: tuple[int, ...]
    put: Callable[[dict[int, int], int], None]
    written: bytes

    def run(self, pointers: tuple[int, ...], workspace: int) -> None:
        """Put it on the stream.

        Args:
            pointers: Of image, kernel, bias, result, factors, residual; what is not in the graph
                is not looked at.
            workspace: Pointer.
        """
        pack = {number: at for number, at in zip(self.ends, pointers, strict=True) if number}
        self.put(pack, workspace)


# Builds plans side by side: given what to build, yields each with its bytes.
Builder = Callable[[Sequence[PlanId]], Iterable[tuple[PlanId, bytes]]]


class BuiltPlans:
    """Plans that were built before.

    Args:
        versions: What a plan depends on beside its graph: GPU, driver, cuDNN.
        builder: Builds several at a time; None: nothing does.
    """

    def __init__(self, versions: str, builder: Builder | None = None) -> None:
        self._versions = versions
        self._builder = builder
        self._ahead: dict[PlanId, bytes] = {}

    def find(self, plan: PlanId) -> bytes | None:
        """Return what a plan can be made from, None if it has to be built."""
        if not plan.slow:
            return None
        return self._ahead.get(plan) or kept_files.find(_FOLDER, self._key(plan))

    def keep(self, plan: PlanId, built: Plan) -> None:
        """Keep a plan on disk, if building it takes long."""
        key = self._key(plan)
        if built.written and kept_files.find(_FOLDER, key) != built.written:
            kept_files.remember(_FOLDER, key, built.written)

    def build_ahead(self, plans: Iterable[PlanId]) -> None:
        """Build side by side what is not there yet and takes long; what fails is left out."""
        missing = [plan for plan in dict.fromkeys(plans) if plan.slow and self.find(plan) is None]
        if self._builder is None or len(missing) < _WORTH_PROCESSES:
            return
        for done, (plan, written) in enumerate(self._builder(missing)):
            place = (done + 1, len(missing))
            _LOG.info("plan %d of %d: %s", *place, plan.name, extra={"progress": place})
            self._ahead[plan] = written

    def forget(self) -> None:
        """Drop what was built ahead."""
        self._ahead.clear()

    def _key(self, plan: PlanId) -> str:
        return hashlib.sha256(f"{self._versions}\0{plan}".encode()).hexdigest()
