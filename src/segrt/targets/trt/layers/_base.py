"""The contract of a converter: a node in, the tensors of its outputs out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import onnx_ir as ir

from segrt._registry import Registry
from segrt.targets.trt._writer import Tensor, Writer

# Writes a node's layers and returns the tensor of its output, or a tuple of several. The last layer
# carries the node's own name; further ones a role: `writer.layer(..., role)`.
Converter: TypeAlias = Callable[[Writer, ir.Node], Tensor]

REGISTRY: Registry[Converter] = Registry("TensorRT converter", "segrt.targets.trt.layers")

converts = REGISTRY.register
"""File a converter under ONNX operator names."""
