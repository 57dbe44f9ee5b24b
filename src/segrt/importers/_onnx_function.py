"""A layer given as a small ONNX model: its nodes are put in place of the layer.

The model's inputs are the layer's inputs, in order, then its arrays, each named as the layer's
arrays are (``kernel``, ``conv/kernel``). Tensors are in Keras' own axis order, unless the model's
metadata says ``segrt.layout = channels_first``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner
import onnx.version_converter
import onnx_ir as ir

from segrt.errors import ConverterError, UsageError
from segrt.graph.builder import OPSET
from segrt.importers.layers._base import Call, LayerConverter, Layout, Tensor, as_stored

LAYOUT = "segrt.layout"


def onnx_converter(path: Path) -> LayerConverter:
    """Read an ONNX model as a converter.

    Raises:
        UsageError: There is no such file.
        ConverterError: It is no valid ONNX model, or holds what cannot be put in place.
    """
    if not path.is_file():
        raise UsageError(f"no such ONNX file: {path}", hint="check the path")
    try:
        proto = onnx.load(path)
        onnx.checker.check_model(proto, full_check=True)
        if proto.functions:
            proto = onnx.inliner.inline_local_functions(proto)
        if any(entry.domain == "" and entry.version != OPSET for entry in proto.opset_import):
            proto = onnx.version_converter.convert_version(proto, OPSET)
        graph = ir.from_proto(proto).graph
    except Exception as error:
        raise ConverterError(
            f"{path.name} cannot be taken as a layer", found=str(error).strip()[:300]
        ) from error
    foreign = sorted({node.domain for node in graph if node.domain not in ("", "ai.onnx")})
    inner = any(
        attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
        for node in graph
        for attribute in node.attributes.values()
    )
    if foreign or inner:
        raise ConverterError(
            f"{path.name} cannot be taken as a layer",
            found=f"operators of {', '.join(foreign)}" if foreign else "If, Loop or Scan",
            wanted="operators of ONNX's own domain, without inner graphs",
        )
    first = any(
        entry.key == LAYOUT and entry.value == Layout.CHANNELS_FIRST.value
        for entry in proto.metadata_props
    )
    layout = Layout.CHANNELS_FIRST if first else Layout.SOURCE

    def convert(call: Call, *args: Any) -> list[Tensor]:
        return _inline(call, graph, _tensors(args), layout, path.name)

    return LayerConverter(convert, as_stored, own=True)


def _inline(
    call: Call, graph: ir.Graph, tensors: list[Tensor], layout: Layout, file: str
) -> list[Tensor]:
    inputs = [value for value in graph.inputs if value.name not in graph.initializers]
    arrays = inputs[len(tensors) :]
    missing = [value.name for value in arrays if value.name not in call.weights]
    if len(inputs) < len(tensors) or missing:
        raise ConverterError(
            f"{file} does not fit layer {call.name!r} ({call.class_name})",
            found=f"inputs {', '.join(str(value.name) for value in inputs)}",
            wanted=f"{len(tensors)} input(s), then of the arrays {', '.join(call.weights) or '-'}",
        )
    made: dict[ir.Value | None, ir.Value | None] = {None: None}
    for value, tensor in zip(inputs, tensors, strict=False):
        made[value] = call.in_layout(tensor, layout)
    for value in arrays:
        made[value] = call.weight(str(value.name), call.weights[str(value.name)])
    for name, value in graph.initializers.items():
        if value.const_value is not None and value not in made:
            made[value] = call.constant(name, value.const_value.numpy())
    for node in graph:
        outputs = _append(call, node, made)
        made.update(zip(node.outputs, outputs, strict=True))
    results = [made[output] for output in graph.outputs]
    return [Tensor(value, layout) for value in results if value is not None]


def _append(
    call: Call, node: ir.Node, made: Mapping[ir.Value | None, ir.Value | None]
) -> list[ir.Value]:
    attributes: dict[str, ir.Attr] = dict(node.attributes)
    role = str(node.outputs[0].name or node.op_type).replace("/", "_")
    return list(
        call.ops(
            node.op_type,
            [made[value] for value in node.inputs],
            outputs=len(node.outputs),
            role=role,
            **attributes,
        )
    )


def _tensors(args: tuple[Any, ...]) -> list[Tensor]:
    found: list[Tensor] = []
    for argument in args:
        found += argument if isinstance(argument, list) else [argument]
    return found
