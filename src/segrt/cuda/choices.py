"""For each operation, the ways to compute it: own kernels, and plans of cuDNN."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda import hopper_choices, hopper_integers, residuals, volume_ways
from segrt.cuda.cudnn_graph import ConvolutionGraph, Library, convolution_graph
from segrt.cuda.dense_layers import dense_layer
from segrt.cuda.driver import Gpu
from segrt.cuda.graph_specs import GraphSpec, PlanId
from segrt.cuda.heads import is_head
from segrt.cuda.image_operations import GroupNormalize, VolumeConvolution
from segrt.cuda.image_specs import direct_spec, head_spec, ranges_of
from segrt.cuda.jobs import Choice, Job, Proposal, find_kernel, in_turn, refused
from segrt.cuda.kernel_specs import kernel_spec, kernel_specs
from segrt.cuda.kernels import direct_convolution, head, narrow_convolution, resident_convolution
from segrt.cuda.kernels._base import Spec
from segrt.cuda.memory import ALIGNMENT_BYTES
from segrt.cuda.normalizing import normalization
from segrt.cuda.operations import (
    Convolution,
    MergedUpsampling,
    Opening,
    PooledConvolution,
    TransposedConvolution,
)
from segrt.cuda.parameters import (
    Lazy,
    arranged_for,
    bias_for,
    factors_for,
    lazy_weights,
    numbers_for,
)  # fmt: skip
from segrt.cuda.plan import first_spec, narrow_spec, resident_spec
from segrt.cuda.shuffling import with_shuffle
from segrt.cuda.views import INTEGERS, View, encode
from segrt.errors import EngineError, UnsupportedLayerError
from segrt.types import Precision

# The heuristics' order is good: the best of 40 plans was among the first 8 on every layer.
_MOST_PLANS = 8
_ALL_PLANS = 64
# Of those that add an image the first ones were compared on a GPU.
_ADDING_PLANS = 4
# On integers every plan is compiled at run time, 0.6 s each: the best was among the first six.
_INTEGER_PLANS = 6
_HOPPER = (9, 0)


class Chooser:
    """Proposes ways to compute operations on one GPU; owns the parameters' device memory.

    Without a library it proposes what own kernels compute.
    """

    def __init__(self, gpu: Gpu, library: Library | None, precision: Precision) -> None:
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

    def proposals(self, job: Job) -> Iterator[Proposal]:
        """Yield every way to compute ``job``, own kernels first; the library is asked in turn.

        Raises:
            UnsupportedLayerError: There is none.
        """
        found = False
        for proposal in self._ways(job):
            found = True
            yield proposal
        if not found:
            layer, kind = job.operation.layer, type(job.operation).__name__
            raise UnsupportedLayerError(
                f"neither cuDNN nor the engine can compute layer {layer!r} in {self._precision}",
                [(layer, kind)],
                hint="use another precision or target",
            )

    def _ways(self, job: Job) -> Iterator[Proposal]:
        if isinstance(job.operation, Convolution) and job.operation.residual:
            yield from self._residual(job, job.operation)
        elif isinstance(job.operation, Convolution):
            yield from self._convolution(job, job.operation)
        elif isinstance(job.operation, MergedUpsampling):
            yield from self._merged(job, job.operation)
        elif isinstance(job.operation, PooledConvolution):
            yield from self._pooled(job, job.operation)
        elif isinstance(job.operation, Opening):
            for asked in hopper_choices.first_two(job, job.operation):
                yield self._kernel(job, *asked)
        elif isinstance(job.operation, VolumeConvolution):
            alone = replace(job, views=job.views[:1], pointers=job.pointers[:1])
            for asked in hopper_choices.volumes(job, job.operation):
                yield self._kernel(alone, *asked)
            yield from volume_ways.apart(job, job.operation, self._kernel, self._convolution)
        elif isinstance(job.operation, TransposedConvolution):
            weights = lazy_weights(job.operation, job.views[0].dtype)
            yield from self._library_convolution(job, job.operation, weights)
            yield self._direct(job, job.operation)
        elif isinstance(job.operation, GroupNormalize):
            yield normalization(self._gpu, self._upload, job, job.operation)
        else:
            for spec in kernel_specs(job):
                yield self._kernel(job, *spec)
            yield from dense_layer(job, self._library_convolution)

    def _kernel(
        self, job: Job, name: str, spec: Spec, *parameters: npt.NDArray[Any] | Lazy
    ) -> Proposal:
        try:
            launch = find_kernel(name).launch(spec)
        except EngineError as error:
            return refused(name, error)

        def make() -> Choice:
            compiled = self._gpu.kernel(launch)
            maps = [
                self._gpu.tensor_map(job.views[m.source], job.pointers[m.source], m)
                for m in launch.maps
            ]
            made = [array() if callable(array) else array for array in parameters]
            values = [self._upload(array) for array in (*maps, *made)]
            pointers, config = [*job.pointers, *values], self._gpu.configuration(launch)

            def run(scratch: int) -> None:
                self._gpu.put(config, compiled, [*pointers, job.output or scratch])

            return Choice(name, job.reserved_bytes, run, lambda: self._release(values))

        return Proposal(name, make, launches=(launch,))

    def _upload(self, array: npt.NDArray[Any]) -> int:
        self._parameters.append(self._gpu.upload(array, "weights"))
        return int(self._parameters[-1].handle)

    def _release(self, addresses: Sequence[int]) -> None:
        """Free parameters that a choice not taken has uploaded."""
        for buffer in [one for one in self._parameters if int(one.handle) in addresses]:
            self._parameters = [one for one in self._parameters if one is not buffer]
            buffer.close(self._gpu.stream)

    def _convolution(self, job: Job, operation: Convolution) -> Iterator[Proposal]:
        source, target = job.views[0], job.target
        # Kernels of first and last layers multiply in fp32.
        taps = operation.kernel.transpose(2, 3, 1, 0)
        if is_head(operation):
            spec = head_spec(operation, source, target)
            if head.fits(spec):
                yield self._kernel(job, "head", spec, taps[0, 0], operation.bias)
                return
        first = first_spec(operation, source, target)
        if first is not None:
            parameters = (taps, operation.bias, ranges_of(operation))
            yield self._kernel(job, "first_convolution", first, *parameters)
            mixed = source.dtype != target.dtype or source.dtype in INTEGERS
            if mixed or operation.ranges is not None:
                return
        weights = lazy_weights(operation, source.dtype)
        numbers = numbers_for(operation, source, target)
        narrow = narrow_spec(operation, source, target)
        if narrow is not None and self._gpu.capability >= (8, 0):
            arranged = arranged_for(narrow_convolution.arrange, weights, source.dtype)
            yield self._kernel(job, "narrow_convolution", narrow, arranged, numbers)
        wide: list[Proposal] = []
        if self._gpu.capability == _HOPPER:
            found = hopper_choices.wide(operation, (source, target), weights)
            wide = [self._kernel(job, *each) for each in found]
        yield from wide
        resident = resident_spec(operation, source, target)
        if resident is not None and self._gpu.capability == _HOPPER:
            arranged = arranged_for(resident_convolution.arrange, weights, source.dtype)
            bias = np.zeros(resident.outputs, np.float32)
            bias[: target.c] = operation.bias
            yield self._kernel(job, "resident_convolution", resident, arranged, bias)
        if self._gpu.capability == _HOPPER:
            for asked in hopper_integers.resident(operation, source, target, weights):
                yield self._kernel(job, *asked)
                return
        own = bool(wide) or any(s is not None for s in (first, narrow, resident))
        yield from self._library_convolution(job, operation, weights, last_resort=not own)
        yield self._direct(job, operation)

    def _residual(self, job: Job, operation: Convolution) -> Iterator[Proposal]:
        """Propose cuDNN's convolutions that add, and all that do not with a pass behind."""
        weights = lazy_weights(operation, job.views[0].dtype)
        yield from self._library_convolution(job, operation, weights, last_resort=False)
        first, bare, behind = residuals.in_two(job, operation)
        adding = self._kernel(behind, *kernel_spec(behind))
        for proposal in self._convolution(first, bare):
            yield in_turn(proposal, adding)

    def _direct(self, job: Job, operation: Convolution | TransposedConvolution) -> Proposal:
        """Propose the kernel that can do everything: beside cuDNN for groups, else if it fails."""
        transposed = isinstance(operation, TransposedConvolution)
        spec = direct_spec(operation, job.views[0], job.target)
        kernel, groups = operation.kernel, operation.groups

        def taps() -> npt.NDArray[Any]:
            return direct_convolution.arrange(kernel, groups, transposed=transposed)

        found = self._kernel(job, "direct_convolution", spec, taps, operation.bias)
        return replace(found, last_resort=operation.groups == 1)

    def _merged(self, job: Job, operation: MergedUpsampling) -> Iterator[Proposal]:
        """Propose the own kernel, and cuDNN's convolutions with a pixel shuffle behind them."""
        inner, source, target = operation.convolution, job.views[0], job.target
        weights = lazy_weights(inner, source.dtype)
        wide: list[Proposal] = []
        if self._gpu.capability == _HOPPER:
            found = hopper_choices.phases(operation, source, target, weights)
            wide = [self._kernel(job, *each) for each in found]
            yield from wide
            for asked in hopper_integers.phases(operation, source, target, weights):
                yield self._kernel(job, *asked)
                return
        n, h, w = source.n, target.h // 2, target.w // 2
        phases = View(n, h, w, len(inner.bias), target.dtype, scale=target.scale)
        reserved = -(-phases.span_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        part = Job(inner, job.views, job.pointers, phases, 0, reserved)
        own = bool(wide)
        for proposal in self._library_convolution(part, inner, weights, last_resort=not own):
            yield with_shuffle(self._gpu, job, phases, proposal)
        yield with_shuffle(self._gpu, job, phases, self._direct(part, inner))

    def _pooled(self, job: Job, operation: PooledConvolution) -> Iterator[Proposal]:
        """Propose the kernel that writes both images, and all others with a pooling behind."""
        inner = operation.convolution
        weights = lazy_weights(inner, job.target.dtype)
        views = (job.views[0], job.target, job.views[1])
        for asked in hopper_choices.wide(inner, views, weights):
            yield self._kernel(job, *asked)
        alone = Job(inner, job.views[:1], job.pointers[:1], job.target, job.output)
        behind = Job(
            operation.pool, (job.target,), (job.output,), job.views[1], job.pointers[1]
        )  # fmt: skip
        pooling = self._kernel(behind, *kernel_spec(behind))
        for proposal in self._convolution(alone, inner):
            yield in_turn(proposal, pooling)

    def _library_convolution(
        self,
        job: Job,
        operation: Convolution | TransposedConvolution,
        weights: Lazy,
        *,
        last_resort: bool = True,
    ) -> Iterator[Proposal]:
        views = (*job.views, job.target)
        library = self._library
        if library is None or "uint8" in (view.dtype for view in views):
            return
        # With all of them refused for FP32 but a few, those few may come late.
        exact = self._precision is Precision.FP32
        found = False
        kernel: list[int] = []
        users: set[str] = set()
        kinds = dict.fromkeys(("fp32", job.target.dtype, ""))
        # Behind sums of integers stand fp32 numbers only.
        for bias in ("fp32",) if views[0].dtype == "int8" else kinds:
            if found and not bias:
                return
            fallback = exact or (last_resort and not bias)
            spec = GraphSpec.of(operation, views, self._precision, bias=bias, fallback=fallback)
            graph = convolution_graph(library, spec)
            if graph is None:
                continue
            found = True
            few = _INTEGER_PLANS if views[0].dtype == "int8" else _MOST_PLANS
            most = _ALL_PLANS if exact else few
            for asked in graph.plans(_ADDING_PLANS if graph.has_residual else most):
                yield self._plan(job, operation, (graph, asked), (weights, kernel, users))

    def _plan(
        self,
        job: Job,
        operation: Convolution | TransposedConvolution,
        way: tuple[ConvolutionGraph, PlanId],
        weights: tuple[Lazy, list[int], set[str]],
    ) -> Proposal:
        graph, asked = way
        # The kernel is uploaded once for all plans, and freed with the last that uses it.
        exact, shared, users = weights
        bias_type = graph.spec.bias
        name = f"cudnn {bias_type or 'bare'} {asked.index} {asked.name}"

        def make() -> Choice:
            plan = graph.build(asked)
            if not shared:
                # O I H W -> O H W I, for the inverse direction likewise.
                ordered = exact().transpose(0, 2, 3, 1)
                shared.append(self._upload(encode(ordered, job.views[0].dtype)))
            values = bias_for(operation, job.target).reshape(1, -1)
            bias = self._upload(encode(values, bias_type or "fp32"))
            factors, residual = 0, (*job.pointers, 0)[1]
            if graph.has_factors and isinstance(operation, Convolution):
                factors = self._upload(factors_for(operation, job.views[0], job.target))
            after = None if bias_type else self._finish(job, operation, bias)
            users.add(name)

            def run(scratch: int) -> None:
                output = job.output or scratch
                pointers = (job.pointers[0], shared[0], bias, output, factors, residual)
                plan.run(pointers, scratch + job.reserved_bytes)
                if after is not None:
                    after(output)

            def free() -> None:
                users.discard(name)
                self._release([bias, factors, *(() if users else shared)])
                if not users:
                    shared.clear()

            def keep() -> None:
                graph.library.plans.keep(asked, plan)

            return Choice(name, job.reserved_bytes + plan.workspace, run, free, keep)

        return Proposal(name, make, kind=f"cudnn {bias_type or 'bare'}", plan=asked)

    def _finish(
        self, job: Job, operation: Convolution | TransposedConvolution, bias: int
    ) -> Callable[[int], None]:
        """Return what does at an address, in place, all that cuDNN could not."""
        launch = find_kernel("pointwise").launch(residuals.finish_spec(job, operation))
        compiled, config = self._gpu.kernel(launch), self._gpu.configuration(launch)
        others = [*job.pointers[1:], bias]
        return lambda output: self._gpu.put(config, compiled, [output, *others, output])
