"""Convolutions through cuDNN's graph API: the graphs, and the plans they may be computed by.

What was found out about it by measuring: padding may differ on both sides at full speed; images
may be channel slices of wider ones; rows must lie densely (any other row pitch is silently
wrong), which a `View` cannot express otherwise anyway.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from segrt._optional import is_installed, require
from segrt._stand_ins import standing_in
from segrt.cuda import plan_builders
from segrt.cuda.built_plans import BuiltPlans, Plan
from segrt.cuda.driver import INSTALL, Gpu
from segrt.cuda.epilogues import put_word
from segrt.cuda.graph_specs import GraphSpec, PlanId
from segrt.cuda.views import View
from segrt.errors import EngineError
from segrt.types import Precision

_LOG = logging.getLogger(__name__)


def cudnn() -> ModuleType:
    """Import cuDNN's frontend.

    It imports PyTorch where that is installed, which takes seconds, for functions that are not
    called here: put off until somebody does.

    Raises:
        UnavailableError: It, or cuDNN itself, is not installed.
    """
    with standing_in(*filter(is_installed, ("torch",))):
        return require("cudnn", purpose="the CUDA engine", install=INSTALL)


class Library:
    """A cuDNN handle on a GPU's stream.

    Attributes:
        plans: Those built before, or side by side.
    """

    def __init__(self, gpu: Gpu) -> None:
        self.module = cudnn()
        self.handle = self.module.create_handle()
        self.module.set_stream(handle=self.handle, stream=int(gpu.stream.handle))
        self.version: int = self.module.backend_version()
        frontend = self.module.__version__
        versions = f"{gpu.name} {gpu.driver} {self.version} {frontend}"

        def builders() -> plan_builders.Builders | None:
            count = plan_builders.count_for(gpu.memory()[0])
            begin = functools.partial(plan_builders.begin, gpu.index)
            return plan_builders.Builders(count, begin) if count else None

        self.plans = BuiltPlans(versions, builders)

    def close(self) -> None:
        """Give the handle back."""
        if self.handle is not None:
            self.module.destroy_handle(self.handle)
            self.handle = None

    def element(self, dtype: str) -> Any:
        """Return cuDNN's word for an element type."""
        kinds = self.module.data_type
        known = {"fp32": kinds.FLOAT, "fp16": kinds.HALF, "bf16": kinds.BFLOAT16}
        return (known | {"int8": kinds.INT8})[dtype]


@dataclass(frozen=True, slots=True)
class ConvolutionGraph:
    """An operation graph with its candidate plans.

    Attributes:
        graph: cuDNN's.
        library: What made it.
        spec: What it was made from.
        ends: Its tensors: image, kernel, bias, result, factors that sums of integers are
            multiplied with, residual that is added; 0 for those that it has not.
    """

    graph: Any
    library: Library
    spec: GraphSpec
    ends: tuple[int, ...]

    @property
    def has_factors(self) -> bool:
        """Whether it multiplies sums of integers."""
        return self.ends[4] != 0

    @property
    def has_residual(self) -> bool:
        """Whether it adds an image."""
        return self.ends[5] != 0

    def plans(self, most: int) -> Iterator[PlanId]:
        """Return the first plans, as the heuristics order them."""
        compiled = self.library.module.behavior_note.RUNTIME_COMPILATION
        for index in range(min(most, self.graph.get_execution_plan_count())):
            name = self.graph.get_plan_name_at_index(index)
            slow = compiled in self.graph.get_behavior_notes_for_plan_at_index(index)
            yield PlanId(self.spec, index, name, slow)

    def build(self, asked: PlanId) -> Plan:
        """Build one plan, or take the one that was built before.

        Raises:
            EngineError: cuDNN refuses it.
        """
        known = self.library.plans.find(asked)
        if known is not None:
            restored = self._restore(known)
            if restored is not None:
                return restored
        try:
            self.graph.build_plan_at_index(asked.index)
            workspace = int(self.graph.get_workspace_size_plan_at_index(asked.index))
            # Only the plan built last can be written.
            written = bytes(self.graph.serialize()) if asked.slow else b""
        except Exception as error:
            raise EngineError("cuDNN refuses a plan", found=str(error)) from error
        handle, graph, index = self.library.handle, self.graph, asked.index

        def run(pack: dict[int, int], scratch: int) -> None:
            graph._execute_plan_at_index(pack, scratch, index, handle)

        return Plan(workspace, self.ends, run, written)

    def _restore(self, written: bytes) -> Plan | None:
        handle = self.library.handle
        try:
            graph = self.library.module.pygraph(handle=handle)
            # It wants a list: of anything else it says that it cannot be converted.
            graph.deserialize(handle, list(written))
            workspace = int(graph.get_workspace_size())
        except Exception as error:  # noqa: BLE001 - a plan that cannot be read is built anew
            _LOG.debug("a plan built before cannot be used: %s", error)
            return None

        def run(pack: dict[int, int], scratch: int) -> None:
            graph._execute(pack, scratch, handle)

        return Plan(workspace, self.ends, run, written)


def convolution_graph(library: Library, spec: GraphSpec) -> ConvolutionGraph | None:
    """Make the graph of a convolution and ask for plans.

    Returns:
        None where cuDNN has no plan.
    """
    views = spec.views
    if spec.bias and len(views) == 3 and _strides(views[1]) != _strides(views[2]):
        # An engine reads what is added by the strides of what it writes, and says nothing.
        return None
    module = library.module
    kinds = module.data_type
    graph = module.pygraph(
        io_data_type=library.element(views[0].dtype),
        intermediate_data_type=kinds.FLOAT,
        compute_data_type=kinds.FLOAT,
        handle=library.handle,
    )
    try:
        ends = _describe(library, graph, spec)
        graph.validate()
        graph.build_operation_graph()
        modes = [module.heur_mode.A, module.heur_mode.FALLBACK]
        graph.create_execution_plans(modes if spec.fallback else modes[:1])
        if spec.precision is Precision.FP32:
            notes = module.numerical_note
            graph.deselect_numeric_notes([notes.TENSOR_CORE, notes.DOWN_CONVERT_INPUTS])
        graph.check_support()
    except (module.cudnnGraphNotSupportedError, RuntimeError):
        return None
    return ConvolutionGraph(graph, library, spec, ends)


def _describe(library: Library, graph: Any, spec: GraphSpec) -> tuple[int, ...]:
    """Put the operations into a graph; return its ends."""
    source, *others, target = spec.views
    integers = source.dtype == "int8"
    element = library.element(source.dtype)
    outputs, inputs, height, width = spec.kernel
    image = _image(library, graph, 1, source)
    kernel = graph.tensor(
        uid=2,
        dim=[outputs, inputs, height, width],
        # K R S C: channels innermost, like the images.
        stride=[inputs * height * width, 1, inputs * width, inputs],
        data_type=element,
    )
    geometry: dict[str, Any] = {
        "pre_padding": list(spec.before),
        "post_padding": list(spec.after),
        "stride": list(spec.stride),
        "dilation": list(spec.dilation),
    }
    if spec.transposed:
        result = graph.conv_dgrad(loss=image, filter=kernel, **geometry)
        result.set_dim(_dims(target))
    else:
        if integers:
            geometry["compute_data_type"] = library.module.data_type.INT32
        result = graph.conv_fprop(image=image, weight=kernel, **geometry)
    bias = factors = residual = 0
    if integers:
        factors = 5
        result.set_data_type(library.element("fp32"))
        result = graph.mul(a=result, b=_vector(library, graph, factors, target, "fp32"))
    if spec.bias and others:
        # Before the bias, as in cuDNN's own fused convolution: act(conv(x) + z + bias).
        residual = 6
        result = graph.add(a=result, b=_image(library, graph, residual, others[0]))
    if spec.bias:
        bias = 3
        values = _vector(library, graph, bias, target, spec.bias)
        if integers:
            result = graph.add(a=result, b=values)
        else:
            result = graph.bias(input=result, bias=values)
        if spec.relu:
            result = graph.relu(input=result)
        result = put_word(graph, spec.word, result)
    result.set_output(True).set_uid(4).set_dim(_dims(target)).set_stride(_strides(target))
    result.set_data_type(library.element(target.dtype))
    return 1, 2, bias, 4, factors, residual


def _image(library: Library, graph: Any, uid: int, view: View) -> Any:
    """Return the tensor of an image, perhaps a slice of a wider one."""
    kind = library.element(view.dtype)
    return graph.tensor(uid=uid, dim=_dims(view), stride=_strides(view), data_type=kind)


def _vector(library: Library, graph: Any, uid: int, target: View, dtype: str) -> Any:
    """Return a tensor of one number a channel."""
    c = target.c
    return graph.tensor(
        uid=uid, dim=[1, c, 1, 1], stride=[c, 1, c, c], data_type=library.element(dtype)
    )


def _dims(view: View) -> list[int]:
    return [view.n, view.c, view.h, view.w]


def _strides(view: View) -> list[int]:
    row = view.w * view.pitch
    return [view.h * row, 1, row, view.pitch]
