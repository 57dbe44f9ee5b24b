"""Convolutions of volumes and their transposes, as convolutions of slices.

What the window meets along the depth is put side by side as channels of one slice; a convolution
of images then sums over all of it at once. It is the same sum in another order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from segrt.cuda.image_operations import Slices
from segrt.cuda.operations import (
    Convolution,
    MergedUpsampling,
    Operation,
    TransposedConvolution,
    Weights,
)
from segrt.cuda.quantisation import WEIGHT_SCALES
from segrt.cuda.readers._base import VOLUMES, constant, integer, names_of
from segrt.cuda.readers._tensors import sizes_of
from segrt.cuda.readers.volumes._windows import sliding, spreading

# Channels that tensor cores' loads come in; with few the kernel of first layers is better.
_CHANNELS, _FEW = 8, 4


@VOLUMES.register("Conv")
def read_convolution(node: ir.Node, layer: str) -> tuple[Operation, ...] | None:
    """Read one with a constant kernel O I/groups D H W."""
    kernel = constant(node.inputs[1])
    if kernel is None:
        return None
    way, groups = sliding(node, kernel.shape[2:]), integer(node, "group", 1)
    picked, source, spare = _slices(node, layer, way.along_depth(), groups)
    # O I/g D H W -> O (D I/g) H W.
    ordered = kernel.transpose(0, 2, 1, 3, 4).reshape(len(kernel), -1, *kernel.shape[3:])
    ordered = np.pad(ordered, [(0, 0), (0, spare), (0, 0), (0, 0)])
    found = Convolution(
        layer,
        (source,),
        names_of(node)[1],
        ordered.astype(np.float32),
        _bias(node, len(kernel)),
        *way.in_plane(),
        groups,
        scales=node.meta.get(WEIGHT_SCALES),
    )
    return (*picked, found)


@VOLUMES.register("ConvTranspose")
def read_transposed(node: ir.Node, layer: str) -> tuple[Operation, ...] | None:
    """Read one with a constant kernel I O/groups D H W."""
    kernel = constant(node.inputs[1])
    if kernel is None:
        return None
    way, groups = spreading(node, kernel.shape[2:]), integer(node, "group", 1)
    if groups == 1 and way.doubles:
        return (_doubled(node, layer, kernel, way.target[1]),)
    picked, source, spare = _slices(node, layer, way.back_along_depth(), groups)
    # (g I/g) O/g D H W -> (g D I/g) O/g H W.
    split = kernel.reshape(groups, -1, *kernel.shape[1:]).transpose(0, 3, 1, 2, 4, 5)
    ordered = split.reshape(-1, kernel.shape[1], *kernel.shape[3:])
    ordered = np.pad(ordered, [(0, spare), (0, 0), (0, 0), (0, 0)])
    found = TransposedConvolution(
        layer,
        (source,),
        names_of(node)[1],
        ordered.astype(np.float32),
        _bias(node, kernel.shape[1] * groups),
        *way.in_plane(),
        groups,
    )
    return (*picked, found)


def _doubled(node: ir.Node, layer: str, kernel: Weights, height: int) -> MergedUpsampling:
    """Return an operation that makes two slices of each, and four pixels of each of its pixels."""
    names, output = names_of(node)
    outputs = kernel.shape[1]
    # I O z y x -> (z y x O) I 1 1.
    ordered = kernel.transpose(2, 3, 4, 1, 0).reshape(-1, kernel.shape[0], 1, 1)
    ones, none = (1, 1), (0, 0)
    bias = np.tile(_bias(node, outputs), 8)
    inner = Convolution(
        layer, names, output, ordered.astype(np.float32), bias, ones, ones, none, none, 1
    )
    return MergedUpsampling(layer, names, output, inner, depth=2, height=height)


def _slices(
    node: ir.Node, layer: str, table: Weights, groups: int
) -> tuple[Sequence[Operation], str, int]:
    """Return what puts slices side by side, the name of what it makes, and channels of zeros in it.

    No operation where the slices are used as they are.
    """
    (source,), output = names_of(node)
    n, channels, depth, height, width = sizes_of(node.inputs[0])
    made, taps = table.shape
    if np.array_equal(table, np.arange(depth)[:, None]):
        return (), source, 0
    wanted = taps * channels
    spare = -wanted % _CHANNELS if groups == 1 and wanted > _FEW else 0
    name = f"{output}:slices"
    sizes = (n * made, wanted + spare, height, width)
    return (Slices(layer, (source,), name, table, groups, sizes=sizes),), name, spare


def _bias(node: ir.Node, outputs: int) -> Weights:
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    return np.zeros(outputs, np.float32) if bias is None else bias.astype(np.float32)
