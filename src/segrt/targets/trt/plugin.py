"""Custom operations as TensorRT plugins: quick-deploy plugins compiled ahead of time.

TensorRT asks Python while it builds (types, shapes, formats, launch geometry, PTX); the plan then
holds the kernel, and needs neither Python nor a library to run. The kernel is the one that the
CUDA engine has too, with sizes as arguments, so that one plan serves a range of sizes.

https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/extending-custom-layers.html
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import onnx_ir as ir

from segrt._optional import require
from segrt.cuda import driver
from segrt.cuda.custom_source import entry_name, plugin_source
from segrt.cuda.kernels._base import THREADS
from segrt.cuda.ptx import compile_ptx, compiler_version
from segrt.errors import UnavailableError, UnsupportedLayerError, UsageError
from segrt.graph import custom_nodes, metadata
from segrt.graph.custom_ops import Attributes, CustomOp
from segrt.graph.dims import Dim, Size, leaves
from segrt.targets.trt._flavour import Flavour
from segrt.targets.trt.device import compute_capability

NAMESPACE = "segrt"
# Turing, the oldest generation that TensorRT 10 knows; a driver compiles it for its own GPU.
ARCHITECTURE = "compute_75"

_FORMATS = "FP32|FP16|BF16"
# What is registered in this process, by TensorRT's module of plugins: operation -> its hash.
_REGISTERED: WeakKeyDictionary[ModuleType, dict[str, str]] = WeakKeyDictionary()


def check_plugins(flavour: Flavour, model: ir.Model, *, by_parser: bool) -> None:
    """Refuse custom operations where they cannot become plugins.

    Args:
        flavour: TensorRT or TensorRT for RTX.
        model: The graph.
        by_parser: TensorRT's own parser is to read the graph.

    Raises:
        UnsupportedLayerError: Lists the layers and their operations.
    """
    refused = {
        node: why
        for node in model.graph
        if (why := plugin_refusal(flavour, node, by_parser=by_parser)) is not None
    }
    if not refused:
        return
    layers = [(metadata.layer_of(node) or str(node.name), node.op_type) for node in refused]
    rows = "".join(f"\n  {layer}: custom operation {name}" for layer, name in layers)
    hint = "build for target tensorrt, cuda or cpu"
    if flavour.plugins:
        hint = "use the route --via network"
    why = next(iter(refused.values()))
    raise UnsupportedLayerError(f"{why}, and these layers need one:{rows}", layers, hint=hint)


def plugin_refusal(flavour: Flavour, node: ir.Node, *, by_parser: bool) -> str | None:
    """Say why a node cannot become a plugin; None where it can, or needs none.

    Args:
        flavour: TensorRT or TensorRT for RTX.
        node: Any.
        by_parser: TensorRT's own parser is to read it.
    """
    if not custom_nodes.is_custom(node):
        return None
    if not flavour.plugins:
        return f"{flavour.title} has no plugins"
    return "TensorRT's parser is not told of plugins" if by_parser else None


def plugin_of(library: Any, op: CustomOp) -> Callable[..., Any]:
    """Return what makes a plugin of an operation; registered once in a process.

    Args:
        library: The TensorRT module.
        op: The operation.

    Raises:
        UnavailableError: TensorRT is older than 10.9.
        UsageError: Another operation of this name is registered already.
    """
    plugins = require(
        f"{library.__name__}.plugin", purpose="a TensorRT plugin", install="pip install tensorrt"
    )
    if not hasattr(plugins, "KernelLaunchParams"):
        raise UnavailableError(
            "this TensorRT has no plugins that are compiled ahead of time",
            found=str(library.__version__),
            wanted="10.9 or newer",
            hint="run: pip install -U tensorrt",
        )
    registered = _REGISTERED.setdefault(plugins, {})
    if op.name not in registered:
        _register(library, plugins, op)
        registered[op.name] = op.sha256
    if registered[op.name] != op.sha256:
        raise UsageError(
            f"TensorRT has another plugin called {op.name!r} already in this process",
            hint="start anew, or give one of the operations another name",
        )
    maker: Callable[..., Any] = getattr(getattr(plugins.op, NAMESPACE), op.name)
    return maker


def kernel_code(source: str, name: str) -> bytes:
    """Compile a plugin's kernel: to PTX, or for the GPU at hand where its driver is too old.

    PTX has the version of the compiler, and a driver reads none that is newer than itself. Plans
    are built on the GPU that runs them, so machine code for that one serves as well.

    Raises:
        UnavailableError: NVRTC is not installed.
        EngineError: The compiler refuses the source.
    """
    capability = compute_capability()
    if capability is None or driver.newest_ptx() >= compiler_version():
        return compile_ptx(source, ARCHITECTURE, name)
    return driver.compile_source(source, f"sm_{capability[0]}{capability[1]}", name)


def _register(library: Any, plugins: Any, op: CustomOp) -> None:
    """Tell TensorRT of an operation; the signatures are what its own decorators read."""
    tensor, plugin = plugins.TensorDesc, f"{NAMESPACE}::{op.name}"
    inputs, last = [(name, tensor) for name in op.inputs], ("outputs", tuple[plugins.TensorDesc])
    attributes = list(op.attributes.items())
    count = len(op.inputs)

    def describe(*descriptions: Any, **values: Any) -> Any:
        output = descriptions[0].like()
        output.shape_expr = _shape(plugins, op, descriptions, values)
        return output

    def tune(*_given: Any) -> Any:
        types = ", ".join([_FORMATS] * (count + 1))
        return [plugins.AutoTuneCombination(types, "LINEAR")]

    def compile_it(*given: Any) -> Any:
        values = dict(zip(op.attributes, given[count:], strict=False))
        return _kernel(library, plugins, op, [*given[:count], given[-2][0]], values)

    describe = _signed(describe, [*inputs, *attributes], tensor)
    plugins.register(plugin)(describe)
    plugins.autotune(plugin)(_signed(tune, [*inputs, last], list[plugins.AutoTuneCombination]))
    returned = tuple[str | bytes, str | bytes, plugins.KernelLaunchParams, plugins.SymExprs]
    parameters = [*inputs, *attributes, last, ("tactic", int)]
    plugins.aot_impl(plugin)(_signed(compile_it, parameters, returned))


def _kernel(
    library: Any, plugins: Any, op: CustomOp, tensors: Sequence[Any], attributes: Attributes
) -> tuple[str, bytes, Any, Any]:
    """Return entry, PTX, launch geometry and the sizes that the kernel is given."""
    inputs, output = tensors[:-1], tensors[-1]
    types = {library.float32: "fp32", library.float16: "fp16", library.bfloat16: "bf16"}
    ranks = [len(tensor.shape_expr) for tensor in tensors]
    source = plugin_source(op, attributes, types[inputs[0].dtype], ranks)
    total = output.shape_expr.numel()
    if op.threads is not None:
        known = op.thread_count(_sizes(inputs), attributes)
        total = _work_out(plugins, known, inputs)
    launch = plugins.KernelLaunchParams()
    launch.grid_x, launch.block_x = plugins.cdiv(total, THREADS), THREADS
    sizes = [size for tensor in tensors for size in tensor.shape_expr]
    arguments = tuple(plugins.SymInt32(size) for size in (*sizes, total))
    code = kernel_code(source, entry_name(op))
    return entry_name(op), code, launch, plugins.SymIntExprs.from_tuple(arguments)


def _shape(plugins: Any, op: CustomOp, inputs: Sequence[Any], attributes: Attributes) -> Any:
    sizes = op.output_shape(_sizes(inputs), attributes)
    return plugins.ShapeExprs.from_tuple(
        tuple(plugins.ShapeExpr(_work_out(plugins, size, inputs)) for size in sizes)
    )


def _sizes(inputs: Sequence[Any]) -> list[tuple[Size, ...]]:
    """Return the inputs' shapes for a rule: all sizes are TensorRT's own expressions."""
    return leaves([[None] * len(tensor.shape_expr) for tensor in inputs])


def _work_out(plugins: Any, size: Size, inputs: Sequence[Any]) -> Any:
    """Return a size as TensorRT's expression."""
    if not isinstance(size, Dim):
        return plugins.ShapeExpr(size)
    return size.evaluate(lambda where: inputs[where[0]].shape_expr[where[1]], plugins.ShapeExpr)


def _signed(
    function: Callable[..., Any], parameters: Sequence[tuple[str, Any]], returned: Any
) -> Callable[..., Any]:
    """Give a function the signature that TensorRT reads."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, kind, annotation=type_) for name, type_ in parameters],
        return_annotation=returned,
    )
    return function
