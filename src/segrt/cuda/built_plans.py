"""cuDNN's plans once they are built: run, kept on disk, and built side by side by other processes.

cuDNN compiles many of its plans at run time, 0.3 to 0.7 seconds each, and its frontend holds
Python's lock meanwhile. Written down, such a plan is some 60 kB that are read in 4 ms.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from segrt.cuda import kept_files
from segrt.cuda.graph_specs import PlanId

_LOG = logging.getLogger(__name__)
_FOLDER = "cuda-cudnn"
# Fewer are built here: a process takes longer to begin than a plan to be compiled.
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
            pointers: Of image, kernel, bias, result, factors, residual, factors and shifts behind
                the activation; what is not in the graph is not looked at.
            workspace: Pointer.
        """
        pack = {number: at for number, at in zip(self.ends, pointers, strict=True) if number}
        self.put(pack, workspace)


class Builders(Protocol):
    """Builds plans beside this process."""

    def ask(self, plan: PlanId) -> None:
        """Have one built."""

    def finish(self) -> Iterable[tuple[PlanId, bytes]]:
        """Yield each with what it can be made from, as they get ready; what fails is left out."""

    def close(self) -> None:
        """Build no more."""


class BuiltPlans:
    """Plans that were built before, and such as are being built by other processes.

    Args:
        versions: What a plan depends on beside its graph: GPU, driver, cuDNN.
        builders: Makes what builds them; None, or giving None: nothing does.
    """

    def __init__(
        self, versions: str, builders: Callable[[], Builders | None] = lambda: None
    ) -> None:
        self._versions = versions
        self._make_builders = builders
        self._builders: Builders | None = None
        # What is asked for, in order, and what came of it.
        self._asked: dict[PlanId, bytes] = {}

    def find(self, plan: PlanId) -> bytes | None:
        """Return what a plan can be made from, None if it has to be built."""
        if not plan.slow:
            return None
        return self._asked.get(plan) or kept_files.find(_FOLDER, self._key(plan))

    def keep(self, plan: PlanId, built: Plan) -> None:
        """Keep a plan on disk, if building it takes long."""
        key = self._key(plan)
        if built.written and kept_files.find(_FOLDER, key) != built.written:
            kept_files.remember(_FOLDER, key, built.written)

    def begin(self, plans: Iterable[PlanId]) -> None:
        """Have built beside this process what is not there yet and takes long."""
        for plan in plans:
            if not plan.slow or plan in self._asked or self.find(plan) is not None:
                continue
            self._asked[plan] = b""
            fresh = [plan]
            if len(self._asked) == _WORTH_PROCESSES:
                self._builders, fresh = self._make_builders(), list(self._asked)
            if self._builders is not None:
                for one in fresh:
                    self._builders.ask(one)

    def wait(self) -> None:
        """Wait until all that was begun is built; what fails is left out."""
        if self._builders is None:
            return
        for done, (plan, written) in enumerate(self._builders.finish()):
            place = (done + 1, len(self._asked))
            _LOG.info("plan %d of %d: %s", *place, plan.name, extra={"progress": place})
            self._asked[plan] = written
        self._builders = None

    def forget(self) -> None:
        """Drop what was built, and what is being built."""
        if self._builders is not None:
            self._builders.close()
            self._builders = None
        self._asked.clear()

    def _key(self, plan: PlanId) -> str:
        return hashlib.sha256(f"{self._versions}\0{plan}".encode()).hexdigest()
