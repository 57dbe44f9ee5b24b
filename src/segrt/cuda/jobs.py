"""An operation with its memory, and ways to compute it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segrt.cuda.graph_specs import PlanId
from segrt.cuda.image_operations import VolumeConvolution
from segrt.cuda.kernels._base import REGISTRY, Kernel, Launch
from segrt.cuda.operations import (
    ActivatedConvolution,
    Convolution,
    MergedUpsampling,
    Opening,
    Operation,
    PooledConvolution,
    TransposedConvolution,
)
from segrt.cuda.views import View
from segrt.errors import EngineError


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to compute an operation, ready to run.

    Attributes:
        name: Stable between runs, for the plan cache.
        workspace: Bytes of scratch memory.
        run: Puts it on the stream, given the scratch memory's address.
        free: Gives back what only this choice needs; it cannot be run then.
        keep: Remembers on disk what took long to build.
    """

    name: str
    workspace: int
    run: Callable[[int], None]
    free: Callable[[], None] = lambda: None
    keep: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Proposal:
    """A choice that is not built yet.

    Attributes:
        name: The choice's.
        make: Builds it.
        last_resort: Only built if nothing else works.
        launches: Own kernels that building it compiles.
        kind: Of a library's plans: which come in one order, likely the best first; else "".
        problem: Why it cannot be built, where that is known already.
        plan: Of a library's, that building it builds.
    """

    name: str
    make: Callable[[], Choice]
    last_resort: bool = False
    launches: tuple[Launch, ...] = ()
    kind: str = ""
    problem: EngineError | None = None
    plan: PlanId | None = None

    @property
    def identity(self) -> str:
        """The name and, of own kernels, a digest of their source: what was checked and timed."""
        if not self.launches:
            return self.name
        sources = "".join(launch.source for launch in self.launches)
        return f"{self.name} {hashlib.sha256(sources.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True)
class Job:
    """An operation with the memory it reads and writes.

    Attributes:
        operation: What to compute.
        views: Of what it reads; behind it, of what it writes beside its target.
        pointers: Device addresses of these; the slices' offsets are in them.
        target: View of what it writes.
        output: Device address of what it writes; 0 for the beginning of the scratch memory.
        reserved_bytes: Of the scratch memory, for the output.
    """

    operation: Operation
    views: tuple[View, ...]
    pointers: tuple[int, ...]
    target: View
    output: int
    reserved_bytes: int = 0


def refused(name: str, problem: EngineError) -> Proposal:
    """Return a proposal that fails when it is built: others may compute what a kernel cannot."""

    def make() -> Choice:
        raise problem

    return Proposal(name, make, problem=problem)


def can_be_built(ways: Sequence[Proposal]) -> None:
    """Let ways pass of which one can be built, as far as that is known.

    Raises:
        EngineError: None can; what is said of the first.
    """
    problems = [way.problem for way in ways]
    if problems and all(problems) and problems[0] is not None:
        raise problems[0]


def in_turn(first: Proposal, second: Proposal) -> Proposal:
    """Return a proposal of two launches that share the scratch memory."""
    name = f"{first.name} + {second.name}"

    def make() -> Choice:
        parts = (first.make(), second.make())

        def run(scratch: int) -> None:
            for part in parts:
                part.run(scratch)

        def free() -> None:
            for part in parts:
                part.free()

        def keep() -> None:
            for part in parts:
                part.keep()

        return Choice(name, max(part.workspace for part in parts), run, free, keep)

    launches = first.launches + second.launches
    problem = first.problem or second.problem
    return Proposal(name, make, first.last_resort, launches, first.kind, problem, first.plan)


# What a choice does not depend on.
_NUMBERS = (
    "layer", "inputs", "output", "kernel", "bias", "vectors", "scales", "constants", "sizes",
    "rows", "columns", "channels", "row_weights", "column_weights", "ranges", "table",
)  # fmt: skip


def find_kernel(name: str) -> Kernel:
    """Return a kernel.

    Raises:
        EngineError: There is none of this name.
    """
    kernel = REGISTRY.find(name)
    if kernel is None:
        raise EngineError(f"there is no kernel {name!r}")
    return kernel


def signature(job: Job) -> str:
    """Return what a choice depends on: the operation's geometry and the views, as text."""
    operation, parts = job.operation, [type(job.operation).__name__]
    if isinstance(operation, MergedUpsampling) and operation.transposed is not None:
        parts.append(f"transposed={operation.transposed.kernel.shape}")
    if isinstance(operation, MergedUpsampling) and operation.depth > 1:
        parts.append(f"slices={operation.depth}")
    if isinstance(operation, (MergedUpsampling, PooledConvolution)):
        operation = operation.convolution
    if isinstance(operation, Opening):
        operation = operation.second
    if isinstance(operation, ActivatedConvolution):
        parts.append(f"steps={operation.steps}")
        operation = operation.convolution
    if isinstance(operation, VolumeConvolution):
        parts.append(f"depth={job.views[0].depth} table={operation.slices.table.shape}")
        operation = operation.convolution
    parts += [
        f"{name}={value}" for name, value in sorted(vars(operation).items()) if name not in _NUMBERS
    ]
    if isinstance(operation, (Convolution, TransposedConvolution)):
        parts.append(f"kernel={operation.kernel.shape}")
    parts += [
        f"{v.n}x{v.h}x{v.w}x{v.c}/{v.pitch}+{v.offset % 8} {v.dtype}"
        for v in (*job.views, job.target)
    ]
    parts += [f"of {view.shape}" for view in (*job.views, job.target) if view.shape is not None]
    return " ".join(parts)
