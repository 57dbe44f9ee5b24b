"""The contract of a converter: a node in, the tensors of its outputs out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import onnx_ir as ir

from segrt._registry import Registry
from segrt.graph.custom_nodes import DOMAIN, is_custom
from segrt.targets.trt._writer import Tensor, Writer

# Writes a node's layers and returns the tensor of its output, or a tuple of several. The last layer
# carries the node's own name; further ones a role: `writer.layer(..., role)`.
Converter: TypeAlias = Callable[[Writer, ir.Node], Tensor]

REGISTRY: Registry[Converter] = Registry("TensorRT converter", "segrt.targets.trt.layers")

converts = REGISTRY.register
"""File a converter under ONNX operator names."""


def kind_of(node: ir.Node) -> str:
    """Return what a node's converter is filed under: its operator, or the domain of custom ones."""
    if node.domain in ("", "ai.onnx"):
        return node.op_type
    return DOMAIN if is_custom(node) else f"{node.domain}::{node.op_type}"
