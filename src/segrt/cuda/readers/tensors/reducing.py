"""Reductions over any axes, and pooling of a whole image."""

from __future__ import annotations

import onnx_ir as ir

from segrt.cuda.readers._base import TENSORS, integer, integers, names_of
from segrt.cuda.readers._tensors import axis_of, copied, integers_in, is_given, sizes_of
from segrt.cuda.tensor_operations import Reduce, ReduceKind, Strided

_KINDS: dict[str, ReduceKind] = {
    "ReduceSum": "sum",
    "ReduceMean": "mean",
    "ReduceMax": "max",
    "ReduceMin": "min",
    "ReduceProd": "prod",
    "ReduceL1": "l1",
    "ReduceL2": "l2",
    "ReduceSumSquare": "sum_square",
    "ReduceLogSumExp": "log_sum_exp",
}
# What these make of one number alone, over no axes, is said in two ways (ONNX 1.15 and 1.18).
_OF_NO_AXES_UNCLEAR = ("ReduceL1", "ReduceL2", "ReduceSumSquare")
_POOLS: dict[str, ReduceKind] = {"GlobalAveragePool": "mean", "GlobalMaxPool": "max"}
_PLACES: dict[str, ReduceKind] = {"ArgMax": "argmax", "ArgMin": "argmin"}


@TENSORS.register(*_KINDS)
def read_reduction(node: ir.Node, layer: str) -> Reduce | Strided | None:
    """Read one over constant axes."""
    rank = len(sizes_of(node.inputs[0]))
    axes = integers(node, "axes", ()) or integers_in(node, 1)
    if axes is None and is_given(node, 1):
        return None
    if not axes and integer(node, "noop_with_empty_axes", 0):
        return None if node.op_type in _OF_NO_AXES_UNCLEAR else copied(node, layer)
    along = tuple(sorted(axis_of(axis, rank) for axis in axes or range(rank)))
    return Reduce(layer, *names_of(node), _KINDS[node.op_type], along)


@TENSORS.register(*_POOLS)
def read_pool(node: ir.Node, layer: str) -> Reduce:
    """Read one over all axes behind the channels."""
    rank = len(sizes_of(node.inputs[0]))
    return Reduce(layer, *names_of(node), _POOLS[node.op_type], tuple(range(2, rank)))


@TENSORS.register(*_PLACES)
def read_place(node: ir.Node, layer: str) -> Reduce | None:
    """Read the place of the largest or smallest; of equal ones the first."""
    if integer(node, "select_last_index", 0):
        return None
    axis = axis_of(integer(node, "axis", 0), len(sizes_of(node.inputs[0])))
    return Reduce(layer, *names_of(node), _PLACES[node.op_type], (axis,))
