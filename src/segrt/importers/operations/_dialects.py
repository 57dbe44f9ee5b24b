"""Layers that are operations: which operation each is, and what it was called with."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from segrt.errors import ModelFileError
from segrt.importers._layer_graph import JsonObject, KerasLayer
from segrt.importers.layers._base import Call, LayerConverter, Tensor, no_weights
from segrt.importers.operations import _base

_FUNCTIONS = ("TFOpLambda", "SlicingOpLambda")
_NODE = "TensorFlowOpLayer"
CLASSES = (*_FUNCTIONS, _NODE)
KERAS_PACKAGE = "keras.ops"
# TensorFlow's numbers for its types, by the names that NodeDefs have.
_TYPES = {
    "DT_HALF": "float16", "DT_BFLOAT16": "bfloat16", "DT_FLOAT": "float32", "DT_DOUBLE": "float64",
    "DT_BOOL": "bool", "DT_UINT8": "uint8", "DT_INT8": "int8", "DT_UINT16": "uint16",
    "DT_INT16": "int16", "DT_INT32": "int32", "DT_INT64": "int64", "DT_UINT32": "uint32",
    "DT_UINT64": "uint64",
}  # fmt: skip


def is_operation(layer: KerasLayer) -> bool:
    """Say whether a layer is an operation that Keras saved as a layer."""
    if layer.package:
        return layer.package == KERAS_PACKAGE
    return layer.class_name in CLASSES


def title(layer: KerasLayer) -> str:
    """Return how to name the operation: ``TFOpLambda(math.add)``, ``keras.ops>Add``."""
    _, name = _spelled(layer)
    if layer.package:
        return f"{layer.package}>{layer.class_name}"
    return f"{layer.class_name}({name})"


def converter_of(layer: KerasLayer) -> LayerConverter | None:
    """Return the converter of an operation; None where it is unknown."""
    dialect, name = _spelled(layer)
    found = _base.find(dialect, name)
    if found is None:
        return None
    operation = found

    def convert(call: Call, *args: Any) -> Tensor | Sequence[Tensor]:
        call.class_name = title(layer)
        values, named = _arguments(layer, dialect, args, call.kwargs)
        return operation.run(call, values, named)

    return LayerConverter(convert, no_weights, keeps_types=True)


def _spelled(layer: KerasLayer) -> tuple[str, str]:
    if layer.package:
        return "keras", layer.class_name
    if layer.class_name == _NODE:
        return "node", str(_node_def(layer).get("op", "?"))
    return "tf", str(layer.config.get("function", "?"))


def _node_def(layer: KerasLayer) -> JsonObject:
    found = layer.config.get("node_def")
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except ValueError:
            found = None
    return found if isinstance(found, dict) else {}


def _arguments(
    layer: KerasLayer, dialect: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Return positional and named arguments as the dialect's spellings have them."""
    if dialect == "tf":
        named = {key: value for key, value in kwargs.items() if key != "name"}
        return list(args), named
    if dialect == "keras":
        ignored = ("name", "trainable", "synchronized", "sparse")
        config = {key: value for key, value in layer.config.items() if key not in ignored}
        return list(args), {**config, **kwargs}
    return _node_arguments(layer, args)


def _node_arguments(layer: KerasLayer, args: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    node = _node_def(layer)
    constants = layer.config.get("constants") or {}
    tensors = list(args[0]) if args and isinstance(args[0], list | tuple) else list(args)
    names = [name for name in node.get("input", []) if not str(name).startswith("^")]
    inputs = []
    for index in range(len(names)):
        if str(index) in constants:
            inputs.append(constants[str(index)])
        elif tensors:
            inputs.append(tensors.pop(0))
    if len(inputs) != len(names) or tensors:
        raise ModelFileError(
            f"layer {layer.name!r} ({title(layer)}) is called with the wrong input",
            found=f"{len(args)} tensor(s) and {len(constants)} constant(s)",
            wanted=f"{len(names)} inputs",
        )
    attributes = {key: _attribute(value) for key, value in (node.get("attr") or {}).items()}
    # What says a type, or a number of inputs, repeats what the inputs are.
    kept = {
        key: value
        for key, value in attributes.items()
        if key in ("DstT", "num_split", "num")
        or not (key.startswith(("T", "_")) or key in _IMPLIED)
    }
    return inputs, kept


_IMPLIED = {
    "N", "Index", "SrcT", "Truncate", "dtype", "out_type", "output_type", "validate_indices",
    "use_cudnn_on_gpu", "index_type", "incompatible_shape_error",
}  # fmt: skip


def _attribute(value: Any) -> Any:
    """Read an attribute of a NodeDef in JSON: numbers may be text, text is in base 64."""
    if not isinstance(value, dict) or len(value) != 1:
        return None
    ((kind, found),) = value.items()
    if kind == "list" and isinstance(found, dict):
        items = [_attribute({key: item}) for key, many in found.items() for item in many]
        return items or None
    read = _READERS.get(kind)
    return found if read is None else read(found)


def _text(found: Any) -> str:
    try:
        return base64.b64decode(found).decode()
    except (ValueError, binascii.Error, TypeError):
        return str(found)


_READERS: dict[str, Callable[[Any], Any]] = {
    "s": _text,
    "i": int,
    "f": float,
    "type": lambda found: _TYPES.get(str(found), str(found)),
}
