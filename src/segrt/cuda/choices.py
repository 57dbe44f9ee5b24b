"""For each operation, the ways to compute it: own kernels, and plans of cuDNN."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda import hopper_choices, hopper_integers, residuals, volume_ways
from segrt.cuda.activated_ways import activated
from segrt.cuda.affine import apart
from segrt.cuda.cudnn_graph import Library
from segrt.cuda.dense_layers import dense_layer
from segrt.cuda.device_parameters import Parameters
from segrt.cuda.driver import Gpu
from segrt.cuda.epilogues import Sliding
from segrt.cuda.heads import is_head
from segrt.cuda.image_operations import GroupNormalize, VolumeConvolution
from segrt.cuda.image_specs import direct_spec, head_spec, ranges_of
from segrt.cuda.jobs import Choice, Job, Proposal, find_kernel, in_turn, refused
from segrt.cuda.kernel_specs import kernel_spec, kernel_specs
from segrt.cuda.kernels import direct_convolution, head, narrow_convolution, resident_convolution
from segrt.cuda.kernels._base import Spec
from segrt.cuda.kernels.pointwise import Step
from segrt.cuda.library_choices import LibraryWays
from segrt.cuda.memory import ALIGNMENT_BYTES
from segrt.cuda.normalizing import normalization
from segrt.cuda.operations import (
    ActivatedConvolution,
    Convolution,
    MergedUpsampling,
    Opening,
    PooledConvolution,
    TransposedConvolution,
    Weights,
)
from segrt.cuda.parameters import (
    Lazy,
    arranged_for,
    lazy_weights,
    numbers_for,
)  # fmt: skip
from segrt.cuda.plan import first_spec, narrow_spec, resident_spec
from segrt.cuda.shuffling import with_shuffle
from segrt.cuda.transposed_ways import as_it_is
from segrt.cuda.views import INTEGERS, View
from segrt.errors import EngineError, UnsupportedLayerError
from segrt.types import Precision

_HOPPER = (9, 0)


class Chooser:
    """Proposes ways to compute operations on one GPU; owns the parameters' device memory.

    Without a library it proposes what own kernels compute.

    Args:
        gpu: Where to.
        library: What proposes plans.
        precision: What to compute in.
        ahead: Makes weights before they are asked for; None: they are made then.
    """

    def __init__(
        self,
        gpu: Gpu,
        library: Library | None,
        precision: Precision,
        ahead: Executor | None = None,
    ) -> None:
        self._gpu = gpu
        self._precision = precision
        self._ahead = ahead
        self._parameters = Parameters(gpu)
        plans = LibraryWays(gpu, library, precision, self._parameters)
        self._library_convolution = plans.proposals
        self._latest: tuple[Sliding, str, Lazy] | None = None

    @property
    def parameter_bytes(self) -> int:
        """Bytes of weights on the device."""
        return self._parameters.bytes

    def close(self) -> None:
        """Free the parameters."""
        self._parameters.close()

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
        if isinstance(job.operation, Convolution):
            ways = self._residual if job.operation.residual else self._convolution
            yield from ways(job, job.operation)
        elif isinstance(job.operation, ActivatedConvolution):
            yield from self._scaling(job, job.operation)
            makers = (self._kernel, self._direct, self._library_convolution, self._ways)
            yield from activated(job, job.operation, self._weights, makers)
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
            yield from self._transposed(job, job.operation)
        elif isinstance(job.operation, GroupNormalize):
            yield normalization(self._gpu, self._parameters.upload, job, job.operation)
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
            values = [self._parameters.upload(array) for array in (*maps, *made)]
            pointers, config = [*job.pointers, *values], self._gpu.configuration(launch)

            def run(scratch: int) -> None:
                self._gpu.put(config, compiled, [*pointers, job.output or scratch])

            return Choice(name, job.reserved_bytes, run, lambda: self._parameters.release(values))

        return Proposal(name, make, launches=(launch,))

    def _weights(self, operation: Convolution | TransposedConvolution, dtype: str) -> Lazy:
        # Ways with and without what follows round the same weights.
        if self._latest is not None and self._latest[:2] == (operation, dtype):
            return self._latest[2]
        weights = lazy_weights(operation, dtype)
        self._latest = operation, dtype, weights
        if self._ahead is not None:
            self._ahead.submit(weights)
        return weights

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
        weights = self._weights(operation, source.dtype)
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
        weights = self._weights(operation, job.views[0].dtype)
        yield from self._library_convolution(job, operation, weights, last_resort=False)
        first, bare, behind = residuals.in_two(job, operation)
        adding = self._kernel(behind, *kernel_spec(behind))
        for proposal in self._convolution(first, bare):
            yield in_turn(proposal, adding)

    def _scaling(self, job: Job, operation: ActivatedConvolution) -> Iterator[Proposal]:
        """Propose own kernels that scale and shift themselves."""
        inner, affine = apart(operation)
        first = None if inner is None else first_spec(inner, job.views[0], job.target)
        if inner is not None and first is not None and affine.steps:
            taps = inner.kernel.transpose(2, 3, 1, 0)
            parameters = (taps, affine.rows(inner.bias), ranges_of(inner))
            yield self._kernel(job, "first_convolution", replace(first, affine=True), *parameters)
        if self._gpu.capability != _HOPPER:
            return
        weights = self._weights(operation.convolution, job.views[0].dtype)
        for asked in hopper_choices.wide(operation, (job.views[0], job.target), weights):
            yield self._kernel(job, *asked)

    def _direct(
        self,
        job: Job,
        operation: Sliding,
        steps: tuple[Step, ...] = (),
        vectors: tuple[Weights, ...] = (),
    ) -> Proposal:
        """Propose the kernel that can do everything: beside cuDNN for groups, else if it fails."""
        transposed = isinstance(operation, TransposedConvolution)
        spec = direct_spec(operation, job.views[0], job.target, steps)
        kernel, groups = operation.kernel, operation.groups

        def taps() -> npt.NDArray[Any]:
            return direct_convolution.arrange(kernel, groups, transposed=transposed)

        behind = (np.stack(vectors),) if vectors else ()
        found = self._kernel(job, "direct_convolution", spec, taps, operation.bias, *behind)
        return replace(found, last_resort=operation.groups == 1)

    def _merged(self, job: Job, operation: MergedUpsampling) -> Iterator[Proposal]:
        """Propose the own kernel, and cuDNN's convolutions with a pixel shuffle behind them."""
        inner, source, target = operation.convolution, job.views[0], job.target
        weights = self._weights(inner, source.dtype)
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
        depth = operation.depth
        for proposal in self._library_convolution(part, inner, weights, last_resort=not own):
            # The phases of a volume take much memory, a kernel of its own takes none.
            last = proposal.last_resort or (own and depth > 1)
            way = replace(proposal, last_resort=last)
            yield with_shuffle(self._gpu, job, phases, way, depth=depth)
        turned = operation.transposed
        if turned is None or source.dtype in INTEGERS:
            yield with_shuffle(self._gpu, job, phases, self._direct(part, inner), depth=depth)
        else:
            yield from as_it_is(self._transposed(job, turned, last_resort=not own))

    def _transposed(
        self, job: Job, operation: TransposedConvolution, *, last_resort: bool = True
    ) -> Iterator[Proposal]:
        """Propose cuDNN's plans, and the kernel that can do everything."""
        weights = self._weights(operation, job.views[0].dtype)
        yield from self._library_convolution(job, operation, weights, last_resort=last_resort)
        yield self._direct(job, operation)

    def _pooled(self, job: Job, operation: PooledConvolution) -> Iterator[Proposal]:
        """Propose the kernel that writes both images, and all others with a pooling behind."""
        inner = operation.convolution
        bare = inner.convolution if isinstance(inner, ActivatedConvolution) else inner
        weights = self._weights(bare, job.target.dtype)
        views = (job.views[0], job.target, job.views[1])
        for asked in hopper_choices.wide(inner, views, weights):
            yield self._kernel(job, *asked)
        alone = Job(inner, job.views[:1], job.pointers[:1], job.target, job.output)
        behind = Job(
            operation.pool, (job.target,), (job.output,), job.views[1], job.pointers[1]
        )  # fmt: skip
        pooling = self._kernel(behind, *kernel_spec(behind))
        for proposal in self._ways(alone):
            yield in_turn(proposal, pooling)
