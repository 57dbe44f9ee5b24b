"""An operation with its memory, a way to compute it, and the kernels that are the only one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from segrt.cuda.kernels._base import REGISTRY, Kernel
from segrt.cuda.kernels.bilinear import BilinearSpec
from segrt.cuda.kernels.layout import LayoutSpec
from segrt.cuda.kernels.nearest import NearestSpec
from segrt.cuda.kernels.pixel_shuffle import PixelShuffleSpec
from segrt.cuda.kernels.pointwise import PointwiseSpec
from segrt.cuda.kernels.pooling import PoolingSpec
from segrt.cuda.operations import (
    Chain,
    Convolution,
    Export,
    Import,
    MergedUpsampling,
    Operation,
    Pool,
    Shuffle,
    TransposedConvolution,
    Upsample,
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
    """

    name: str
    workspace: int
    run: Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A choice that is not built yet."""

    name: str
    make: Callable[[], Choice]


@dataclass(frozen=True, slots=True)
class Job:
    """An operation with the memory it reads and writes.

    Attributes:
        operation: What to compute.
        views: Of what it reads.
        pointers: Device addresses of what it reads; the slices' offsets are in them.
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


def find_kernel(name: str) -> Kernel:
    """Return a kernel.

    Raises:
        EngineError: There is none of this name.
    """
    kernel = REGISTRY.find(name)
    if kernel is None:
        raise EngineError(f"there is no kernel {name!r}")
    return kernel


def kernel_spec(job: Job) -> tuple[Any, ...]:  # noqa: PLR0911 - one per operation
    """Return kernel, spec and parameters of an operation that has one kernel only."""
    operation, source, target = job.operation, job.views[0], job.target
    if isinstance(operation, Import):
        return "layout", LayoutSpec(source, target, source_first=operation.channels_first)
    if isinstance(operation, Export):
        return "layout", LayoutSpec(source, target, target_first=operation.channels_first)
    if isinstance(operation, Upsample):
        if operation.mode == "nearest":
            return "nearest", NearestSpec(source, target, operation.factors)
        return "bilinear", BilinearSpec(source, target, operation.factors)
    if isinstance(operation, Pool):
        window, stride = operation.window, operation.stride
        spec = PoolingSpec(
            source, target, window, stride, operation.before, operation.maximum,
            operation.count_padding,
        )  # fmt: skip
        return "pooling", spec
    if isinstance(operation, Shuffle):
        shuffle = PixelShuffleSpec(source, target, operation.block, operation.phase_first)
        return "pixel_shuffle", shuffle
    if isinstance(operation, Chain):
        vectors = (np.stack(operation.vectors),) if operation.vectors else ()
        return "pointwise", PointwiseSpec(job.views, target, operation.steps), *vectors
    raise EngineError(f"no kernel computes a {type(operation).__name__}")


def signature(job: Job) -> str:
    """Return what a choice depends on: the operation's geometry and the views, as text."""
    operation, parts = job.operation, [type(job.operation).__name__]
    if isinstance(operation, MergedUpsampling):
        operation = operation.convolution
    parts += [
        f"{name}={value}"
        for name, value in sorted(vars(operation).items())
        if name not in ("layer", "inputs", "output", "kernel", "bias", "vectors", "scales")
    ]
    if isinstance(operation, (Convolution, TransposedConvolution)):
        parts.append(f"kernel={operation.kernel.shape}")
    parts += [
        f"{v.n}x{v.h}x{v.w}x{v.c}/{v.pitch}+{v.offset % 8} {v.dtype}"
        for v in (*job.views, job.target)
    ]
    return " ".join(parts)
