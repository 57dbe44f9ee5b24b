"""Our own operations' plugins: which operation, and with what settings.

What is read is what TensorRT holds: its copy of the plugin. The kernel in it is not run; the
operation's NumPy reference stands for it, with which kernels are compared where there is a GPU.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from segrt.errors import UsageError
from segrt.graph.custom_ops import REGISTRY, CustomOp
from segrt.targets.trt.plugin import NAMESPACE
from segrt.targets.trt.readers._base import Reader, reads


@reads("PLUGIN_V3")
def plugin(reader: Reader, layer: Any) -> ir.Value:
    """Read a plugin of one of our operations; a stranger's is refused."""
    held = layer.plugin
    name = str(getattr(held, "plugin_name", ""))
    namespace = str(getattr(held, "plugin_namespace", ""))
    operation = REGISTRY.find(name) if namespace == NAMESPACE else None
    if operation is None:
        raise reader.refuse(
            f"plugin {namespace}::{name}",
            f"a plugin of an operation that is defined here, {_own()}",
        )
    settings = getattr(held, "attrs", None)
    if not isinstance(settings, dict):
        raise reader.refuse(
            f"plugin {namespace}::{name} without settings that Python can read",
            "one that this process added to the network",
        )
    inputs = [reader.input(index) for index in range(layer.num_inputs)]
    return _node(reader, operation, inputs, settings)


def _node(
    reader: Reader, operation: CustomOp, inputs: list[ir.Value], settings: dict[str, Any]
) -> ir.Value:
    name = f"{reader.layer.name}~plugin"
    try:
        attributes = operation.bind(settings)
        return reader.builder.op(operation, inputs, name=name, **attributes)
    except UsageError as error:
        raise reader.refuse(
            f"settings {settings}: {error.message}", "those of the operation"
        ) from error


def _own() -> str:
    return ", ".join(f"{NAMESPACE}::{name}" for name in sorted(REGISTRY.names()))
