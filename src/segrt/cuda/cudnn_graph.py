"""Convolutions through cuDNN's graph API: the graphs, their plans, and running one.

What was found out about it by measuring: padding may differ on both sides at full speed; images
may be channel slices of wider ones; rows must lie densely (any other row pitch is silently
wrong), which a `View` cannot express otherwise anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from segrt._optional import require
from segrt.cuda.driver import INSTALL, Gpu
from segrt.cuda.operations import Convolution, TransposedConvolution
from segrt.cuda.views import View
from segrt.errors import EngineError
from segrt.types import Precision


def cudnn() -> ModuleType:
    """Import cuDNN's frontend.

    Raises:
        UnavailableError: It, or cuDNN itself, is not installed.
    """
    return require("cudnn", purpose="the CUDA engine", install=INSTALL)


class Library:
    """A cuDNN handle on a GPU's stream."""

    def __init__(self, gpu: Gpu) -> None:
        self.module = cudnn()
        self.handle = self.module.create_handle()
        self.module.set_stream(handle=self.handle, stream=int(gpu.stream.handle))
        self.version: int = self.module.backend_version()

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
    """A built operation graph with its candidate plans.

    Attributes:
        graph: cuDNN's.
        handle: The library's.
        image: Tensor of the input; likewise the others.
        bias_type: Element type of the bias in the graph, "" where it and the ReLU are not.
        factors: What sums of integers are multiplied with; 0 where there are none.
        residual: What is added to the result; 0 where nothing is.
    """

    graph: Any
    handle: Any
    image: int
    kernel: int
    bias: int
    result: int
    factors: int
    residual: int
    bias_type: str

    def plans(self, most: int) -> Iterator[tuple[int, str]]:
        """Return index and name of the first plans, as the heuristics order them."""
        for index in range(min(most, self.graph.get_execution_plan_count())):
            yield index, self.graph.get_plan_name_at_index(index)

    def build(self, index: int) -> int:
        """Build one plan; return the workspace it wants, in bytes.

        Raises:
            EngineError: cuDNN refuses it.
        """
        try:
            self.graph.build_plan_at_index(index)
            return int(self.graph.get_workspace_size_plan_at_index(index))
        except Exception as error:
            raise EngineError("cuDNN refuses a plan", found=str(error)) from error

    def run(self, index: int, pointers: tuple[int, ...], workspace: int) -> None:
        """Put a plan on the stream.

        Args:
            index: Of the plan.
            pointers: Of image, kernel, bias, result, factors, residual; what is not in the graph
                is not looked at.
            workspace: Pointer.
        """
        names = (self.image, self.kernel, self.bias, self.result, self.factors, self.residual)
        pack = {name: at for name, at in zip(names, pointers, strict=True) if name}
        self.graph._execute_plan_at_index(pack, workspace, index, self.handle)


def convolution_graph(
    library: Library,
    operation: Convolution | TransposedConvolution,
    views: tuple[View, ...],
    precision: Precision,
    *,
    bias: str,
    fallback: bool,
) -> ConvolutionGraph | None:
    """Make the graph of a convolution and ask for plans.

    Args:
        library: The handle to make it with.
        operation: What to compute.
        views: The image read, the residual if there is one, the image written.
        precision: FP32 refuses plans on the tensor cores, which round their inputs to TF32.
        bias: Element type of a bias inside the graph, "" leaves out all that follows the
            convolution. The type decides which of cuDNN's engines can be had, and neither kind is
            always faster.
        fallback: Ask for the plans of last resort too; some take minutes to build.

    Returns:
        None where cuDNN has no plan.
    """
    if bias and len(views) == 3 and _strides(views[1]) != _strides(views[2]):
        # An engine reads what is added by the strides of what it writes, and says nothing.
        return None
    module, source = library.module, views[0]
    kinds = module.data_type
    graph = module.pygraph(
        io_data_type=library.element(source.dtype),
        intermediate_data_type=kinds.FLOAT,
        compute_data_type=kinds.FLOAT,
        handle=library.handle,
    )
    try:
        ends = _describe(library, graph, operation, views, bias)
        graph.validate()
        graph.build_operation_graph()
        modes = [module.heur_mode.A, module.heur_mode.FALLBACK]
        graph.create_execution_plans(modes if fallback else modes[:1])
        if precision is Precision.FP32:
            notes = module.numerical_note
            graph.deselect_numeric_notes([notes.TENSOR_CORE, notes.DOWN_CONVERT_INPUTS])
        graph.check_support()
    except (module.cudnnGraphNotSupportedError, RuntimeError):
        return None
    return ConvolutionGraph(graph, library.handle, *ends, bias)


def _describe(
    library: Library,
    graph: Any,
    operation: Convolution | TransposedConvolution,
    views: tuple[View, ...],
    bias_type: str,
) -> tuple[int, int, int, int, int, int]:
    source, *others, target = views
    integers = source.dtype == "int8"
    element = library.element(source.dtype)
    outputs, inputs, height, width = operation.kernel.shape
    image = _image(library, graph, 1, source)
    kernel = graph.tensor(
        uid=2,
        dim=[outputs, inputs, height, width],
        # K R S C: channels innermost, like the images.
        stride=[inputs * height * width, 1, inputs * width, inputs],
        data_type=element,
    )
    geometry: dict[str, Any] = {
        "pre_padding": list(operation.before),
        "post_padding": list(operation.after),
        "stride": list(operation.stride),
        "dilation": list(operation.dilation),
    }
    if isinstance(operation, Convolution):
        if integers:
            geometry["compute_data_type"] = library.module.data_type.INT32
        result = graph.conv_fprop(image=image, weight=kernel, **geometry)
    else:
        result = graph.conv_dgrad(loss=image, filter=kernel, **geometry)
        result.set_dim(_dims(target))
    bias = factors = residual = 0
    if integers:
        factors = 5
        result.set_data_type(library.element("fp32"))
        result = graph.mul(a=result, b=_vector(library, graph, factors, target, "fp32"))
    if bias_type and others:
        # Before the bias, as in cuDNN's own fused convolution: act(conv(x) + z + bias).
        residual = 6
        result = graph.add(a=result, b=_image(library, graph, residual, others[0]))
    if bias_type:
        bias = 3
        values = _vector(library, graph, bias, target, bias_type)
        if integers:
            result = graph.add(a=result, b=values)
        else:
            result = graph.bias(input=result, bias=values)
        if isinstance(operation, Convolution) and operation.activation == "relu":
            result = graph.relu(input=result)
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
