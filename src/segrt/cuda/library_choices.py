"""Ways to compute convolutions by plans of cuDNN."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from segrt.cuda import residuals
from segrt.cuda.affine import NOTHING, Affine
from segrt.cuda.cudnn_graph import ConvolutionGraph, Library, convolution_graph
from segrt.cuda.device_parameters import Parameters
from segrt.cuda.driver import Gpu
from segrt.cuda.epilogues import NONE, Word
from segrt.cuda.graph_specs import GraphSpec, PlanId
from segrt.cuda.jobs import Choice, Job, Proposal, find_kernel
from segrt.cuda.operations import Convolution, TransposedConvolution
from segrt.cuda.parameters import Lazy, bias_for, factors_for
from segrt.cuda.views import encode
from segrt.types import Precision

# The heuristics' order is good: the best of 40 plans was among the first 8 on every layer.
_MOST_PLANS = 8
_ALL_PLANS = 64
# Of those that add an image the first ones were compared on a GPU.
_ADDING_PLANS = 4
# On integers every plan is compiled at run time, 0.6 s each: the best was among the first six.
_INTEGER_PLANS = 6


class LibraryWays:
    """Proposes plans; without a library none.

    Args:
        gpu: Where to.
        library: What has the plans.
        precision: What to compute in.
        parameters: Holds the weights.
    """

    def __init__(
        self, gpu: Gpu, library: Library | None, precision: Precision, parameters: Parameters
    ) -> None:
        self._gpu = gpu
        self._library = library
        self._precision = precision
        self._parameters = parameters

    def proposals(
        self,
        job: Job,
        operation: Convolution | TransposedConvolution,
        weights: Lazy,
        *,
        last_resort: bool = True,
        word: Word = NONE,
        affine: Affine = NOTHING,
    ) -> Iterator[Proposal]:
        """Yield plans for a convolution, as cuDNN expects them to be fast.

        Args:
            job: The convolution's.
            operation: Of the job, or what the job does without what stands behind it.
            weights: Makes its kernel, exact in the type that it computes in.
            last_resort: Ask for plans that take long to build too, if there are no others.
            word: What follows, in the same plan.
            affine: What follows that, likewise.
        """
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
        # Behind sums of integers, and before most activations, stand fp32 numbers only.
        more = word != NONE or bool(affine.steps)
        for bias in ("fp32",) if views[0].dtype == "int8" or more else kinds:
            if found and not bias:
                return
            fallback = exact or (last_resort and not bias)
            spec = GraphSpec.of(operation, views, self._precision, bias=bias, fallback=fallback)
            spec = replace(spec, word=word, affine=affine.words)
            graph = convolution_graph(library, spec)
            if graph is None:
                continue
            found = True
            usual = _INTEGER_PLANS if views[0].dtype == "int8" else _MOST_PLANS
            most = _ALL_PLANS if exact else usual
            few = graph.has_residual or more
            for asked in graph.plans(_ADDING_PLANS if few else most):
                yield self._plan(job, operation, (graph, asked), (weights, kernel, users), affine)

    def _plan(
        self,
        job: Job,
        operation: Convolution | TransposedConvolution,
        way: tuple[ConvolutionGraph, PlanId],
        weights: tuple[Lazy, list[int], set[str]],
        affine: Affine,
    ) -> Proposal:
        graph, asked = way
        # The kernel is uploaded once for all plans, and freed with the last that uses it.
        exact, shared, users = weights
        bias_type = graph.spec.bias
        words = (bias_type or "bare", graph.spec.word[0], graph.spec.affine)
        kind = " ".join(("cudnn", *filter(None, words)))
        name = f"{kind} {asked.index} {asked.name}"

        def make() -> Choice:
            plan = graph.build(asked)
            if not shared:
                # O I H W -> O H W I, for the inverse direction likewise.
                ordered = exact().transpose(0, 2, 3, 1)
                shared.append(self._parameters.upload(encode(ordered, job.views[0].dtype)))
            values = bias_for(operation, job.target).reshape(1, -1)
            bias = self._parameters.upload(encode(values, bias_type or "fp32"))
            factors, residual = 0, (*job.pointers, 0)[1]
            if graph.has_factors and isinstance(operation, Convolution):
                factors = self._parameters.upload(factors_for(operation, job.views[0], job.target))
            after = None if bias_type else self._finish(job, operation, bias)
            behind = [
                0 if numbers is None else self._parameters.upload(numbers.reshape(1, -1))
                for numbers in (affine.scale, affine.shift)
            ]
            users.add(name)

            def run(scratch: int) -> None:
                output = job.output or scratch
                pointers = (job.pointers[0], shared[0], bias, output, factors, residual, *behind)
                plan.run(pointers, scratch + job.reserved_bytes)
                if after is not None:
                    after(output)

            def free() -> None:
                users.discard(name)
                self._parameters.release([bias, factors, *behind, *(() if users else shared)])
                if not users:
                    shared.clear()

            def keep() -> None:
                graph.library.plans.keep(asked, plan)

            return Choice(name, job.reserved_bytes + plan.workspace, run, free, keep)

        return Proposal(name, make, kind=kind, plan=asked)

    def _finish(
        self, job: Job, operation: Convolution | TransposedConvolution, bias: int
    ) -> Callable[[int], None]:
        """Return what does at an address, in place, all that cuDNN could not."""
        launch = find_kernel("pointwise").launch(residuals.finish_spec(job, operation))
        compiled, config = self._gpu.kernel(launch), self._gpu.configuration(launch)
        others = [*job.pointers[1:], bias]
        return lambda output: self._gpu.put(config, compiled, [output, *others, output])
