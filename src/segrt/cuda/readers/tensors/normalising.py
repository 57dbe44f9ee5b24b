"""Softmax and normalisations by a sample's own statistics."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.cuda.operations import Weights
from segrt.cuda.readers._base import TENSORS, constant, integer, names_of, number
from segrt.cuda.readers._tensors import axis_of, is_given, sizes_of
from segrt.cuda.tensor_operations import Normalise, NormaliseKind


@TENSORS.register("Softmax", "LogSoftmax")
def read_softmax(node: ir.Node, layer: str) -> Normalise:
    """Read it along its axis."""
    axis = axis_of(integer(node, "axis", -1), len(sizes_of(node.inputs[0])))
    kind: NormaliseKind = "softmax" if node.op_type == "Softmax" else "log_softmax"
    return Normalise(layer, *names_of(node), kind, (axis,))


@TENSORS.register("LayerNormalization", "RMSNormalization")
def read_layer_normalisation(node: ir.Node, layer: str) -> Normalise | None:
    """Read it over the last axes."""
    rank = len(sizes_of(node.inputs[0]))
    axes = tuple(range(axis_of(integer(node, "axis", -1), rank), rank))
    used = any(value.uses() or value.is_graph_output() for value in node.outputs[1:])
    vectors = [_vector(node, index, rank) if is_given(node, index) else None for index in (1, 2)]
    missing = [is_given(node, i) and v is None for i, v in zip((1, 2), vectors, strict=True)]
    if used or any(missing):
        return None
    kind: NormaliseKind = "standard" if node.op_type == "LayerNormalization" else "root"
    epsilon = number(node, "epsilon", 1e-5)
    return Normalise(layer, *names_of(node), kind, axes, epsilon, *vectors)


def _vector(node: ir.Node, index: int, rank: int) -> Weights | None:
    array = constant(node.inputs[index])
    if array is None:
        return None
    return np.asarray(array, np.float32).reshape((1,) * (rank - array.ndim) + array.shape)


@TENSORS.register("InstanceNormalization")
def read_instance_normalisation(node: ir.Node, layer: str) -> Normalise | None:
    """Read it over all axes behind the channels."""
    rank = len(sizes_of(node.inputs[0]))
    arrays = [constant(value) for value in node.inputs[1:3]]
    if any(array is None for array in arrays):
        return None
    shape = (1, -1, *(1,) * (rank - 2))
    vectors = [np.asarray(array, np.float32).reshape(shape) for array in arrays]
    epsilon = number(node, "epsilon", 1e-5)
    axes = tuple(range(2, rank))
    return Normalise(layer, *names_of(node), "standard", axes, epsilon, *vectors)
