"""For each operation, the ways to compute it: own kernels, and plans of cuDNN."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.cudnn_graph import ConvolutionGraph, Library, convolution_graph
from segrt.cuda.driver import Gpu
from segrt.cuda.fuse import is_head
from segrt.cuda.kernels import head, narrow_convolution
from segrt.cuda.kernels._base import REGISTRY, Spec
from segrt.cuda.kernels.bilinear import BilinearSpec
from segrt.cuda.kernels.custom import CustomSpec
from segrt.cuda.kernels.head import HeadSpec
from segrt.cuda.kernels.layout import LayoutSpec
from segrt.cuda.kernels.nearest import NearestSpec
from segrt.cuda.kernels.pixel_shuffle import PixelShuffleSpec
from segrt.cuda.kernels.pointwise import PointwiseSpec, Step
from segrt.cuda.kernels.pooling import PoolingSpec
from segrt.cuda.operations import (
    Chain,
    Convolution,
    Custom,
    Export,
    Import,
    Operation,
    Pool,
    Shuffle,
    TransposedConvolution,
    Upsample,
)
from segrt.cuda.plan import first_spec, narrow_spec
from segrt.cuda.views import View, encode
from segrt.errors import EngineError, UnsupportedLayerError
from segrt.types import Precision

# The heuristics' order is good: the best of 40 plans was among the first 8 on every layer.
_MOST_PLANS = 8
_ALL_PLANS = 64


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
        output: Device address of what it writes.
    """

    operation: Operation
    views: tuple[View, ...]
    pointers: tuple[int, ...]
    target: View
    output: int


class Chooser:
    """Proposes ways to compute operations on one GPU; owns the parameters' device memory."""

    def __init__(self, gpu: Gpu, library: Library, precision: Precision) -> None:
        self._gpu = gpu
        self._library = library
        self._precision = precision
        self._parameters: list[Any] = []

    @property
    def parameter_bytes(self) -> int:
        """Bytes of weights on the device."""
        return sum(int(buffer.size) for buffer in self._parameters)

    def close(self) -> None:
        """Free the parameters."""
        for buffer in self._parameters:
            buffer.close(self._gpu.stream)
        self._parameters.clear()

    def proposals(self, job: Job) -> Sequence[Proposal]:
        """Return every way to compute ``job``, the likely best first.

        Raises:
            UnsupportedLayerError: There is none.
        """
        if isinstance(job.operation, Convolution):
            found = list(self._convolution(job, job.operation))
        elif isinstance(job.operation, TransposedConvolution):
            found = list(self._library_convolution(job, job.operation))
        else:
            found = [self._kernel(job, *kernel_spec(job))]
        if not found:
            layer, kind = job.operation.layer, type(job.operation).__name__
            raise UnsupportedLayerError(
                f"neither cuDNN nor the engine can compute layer {layer!r} in {self._precision}",
                [(layer, kind)],
                hint="use another precision or target",
            )
        return found

    def _kernel(self, job: Job, name: str, spec: Spec, *parameters: npt.NDArray[Any]) -> Proposal:
        kernel = REGISTRY.find(name)
        if kernel is None:
            raise EngineError(f"there is no kernel {name!r}")
        launch = kernel.launch(spec)

        def make() -> Choice:
            compiled = self._gpu.kernel(launch)
            values = [self._upload(array) for array in parameters]
            pointers = [*job.pointers, *values, job.output]
            config = self._gpu.configuration(launch)
            return Choice(name, 0, lambda _: self._gpu.put(config, compiled, pointers))

        return Proposal(name, make)

    def _upload(self, array: npt.NDArray[Any]) -> int:
        self._parameters.append(self._gpu.upload(array, "weights"))
        return int(self._parameters[-1].handle)

    def _convolution(self, job: Job, operation: Convolution) -> Iterator[Proposal]:
        source, target = job.views[0], job.target
        taps = operation.kernel.transpose(2, 3, 1, 0)
        if is_head(operation):
            spec = HeadSpec(source, target, len(operation.bias), operation.activation)
            if head.fits(spec):
                yield self._kernel(job, "head", spec, taps[0, 0], operation.bias)
                return
        first = first_spec(operation, source, target)
        if first is not None:
            ranges = np.stack([np.ones(source.c), np.zeros(source.c)]).astype(np.float32)
            yield self._kernel(job, "first_convolution", first, taps, operation.bias, ranges)
            if source.dtype != target.dtype:
                return
        narrow = narrow_spec(operation, source, target)
        if narrow is not None and self._gpu.capability >= (8, 0):
            arranged = narrow_convolution.arrange(taps, source.dtype)
            yield self._kernel(job, "narrow_convolution", narrow, arranged, operation.bias)
        own = first is not None or narrow is not None
        yield from self._library_convolution(job, operation, last_resort=not own)

    def _library_convolution(
        self,
        job: Job,
        operation: Convolution | TransposedConvolution,
        *,
        last_resort: bool = True,
    ) -> Iterator[Proposal]:
        views = (job.views[0], job.target)
        # With all of them refused for FP32 but a few, those few may come late.
        exact = self._precision is Precision.FP32
        found = False
        kernel: list[int] = []
        for bias in dict.fromkeys(("fp32", job.target.dtype, "")):
            if found and not bias:
                return
            graph = convolution_graph(
                self._library,
                operation,
                views,
                self._precision,
                bias=bias,
                fallback=exact or (last_resort and not bias),
            )
            if graph is None:
                continue
            found = True
            for index, plan in graph.plans(_ALL_PLANS if exact else _MOST_PLANS):
                yield self._plan(job, operation, (graph, index, plan), kernel)

    def _plan(
        self,
        job: Job,
        operation: Convolution | TransposedConvolution,
        plan: tuple[ConvolutionGraph, int, str],
        shared: list[int],
    ) -> Proposal:
        graph, index, title = plan
        name = f"cudnn {graph.bias_type or 'bare'} {index} {title}"

        def make() -> Choice:
            workspace = graph.build(index)
            if not shared:
                # O I H W -> O H W I, for the inverse direction likewise.
                ordered = encode(operation.kernel.transpose(0, 2, 3, 1), job.views[0].dtype)
                shared.append(self._upload(ordered))
            bias = self._upload(encode(operation.bias, graph.bias_type or "fp32"))
            pointers = (job.pointers[0], shared[0], bias, job.output)
            after = None if graph.bias_type else self._finish(job, operation, bias)

            def run(scratch: int) -> None:
                graph.run(index, pointers, scratch)
                if after is not None:
                    after()

            return Choice(name, workspace, run)

        return Proposal(name, make)

    def _finish(
        self, job: Job, operation: Convolution | TransposedConvolution, bias: int
    ) -> Callable[[], None]:
        """Return what adds bias and ReLU, in place, where cuDNN could not."""
        steps = [Step("add", "channel")]
        if isinstance(operation, Convolution) and operation.activation == "relu":
            steps.append(Step("relu"))
        spec = PointwiseSpec((job.target,), job.target, tuple(steps))
        kernel = REGISTRY.find("pointwise")
        if kernel is None:
            raise EngineError("there is no pointwise kernel")
        launch = kernel.launch(spec)
        compiled, config = self._gpu.kernel(launch), self._gpu.configuration(launch)
        pointers = [job.output, bias, job.output]
        return lambda: self._gpu.put(config, compiled, pointers)


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
    if isinstance(operation, Custom):
        fixed = tuple((index, array.shape) for index, array in operation.constants.items())
        custom = CustomSpec(
            operation.op, tuple(operation.attributes.items()), job.views, target, fixed
        )
        arrays = [array.astype(np.float32) for array in operation.constants.values()]
        return "custom", custom, *arrays
    raise EngineError(f"no kernel computes a {type(operation).__name__}")


def signature(job: Job) -> str:
    """Return what a choice depends on: the operation's geometry and the views, as text."""
    parts = [type(job.operation).__name__]
    parts += [
        f"{name}={value}"
        for name, value in sorted(vars(job.operation).items())
        if name not in ("layer", "inputs", "output", "kernel", "bias", "vectors", "constants")
    ]
    if isinstance(job.operation, (Convolution, TransposedConvolution)):
        parts.append(f"kernel={job.operation.kernel.shape}")
    parts += [
        f"{v.n}x{v.h}x{v.w}x{v.c}/{v.pitch}+{v.offset % 8} {v.dtype}"
        for v in (*job.views, job.target)
    ]
    return " ".join(parts)
