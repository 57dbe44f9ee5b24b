"""Resizing of volumes: nearest in one pass, else the depth first and then each slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from segrt.cuda.image_operations import Resample
from segrt.cuda.kernels._access import Access, Instruction, Move, broadcast
from segrt.cuda.operations import Operation, Weights
from segrt.cuda.readers._base import VOLUMES, constant, integer, names_of, number, text
from segrt.cuda.readers._tensors import sizes_of
from segrt.cuda.resampling import ResizeRule, axis_tables
from segrt.cuda.tensor_operations import Strided

# Places and weights along one axis (size, taps).
Table: TypeAlias = tuple[Weights, Weights]
# Slices that one pass sums: with more, threads want more registers than it is worth.
_MOST_TAPS = 4


@VOLUMES.register("Resize")
def read_resize(node: ir.Node, layer: str) -> Operation | tuple[Operation, ...] | None:
    """Read every mode but cropping ones."""
    tables = _tables(node)
    if tables is None:
        return None
    if text(node, "mode", "nearest") == "nearest":
        return _picked(node, layer, [places[:, 0] for places, _ in tables])
    (source,), output = names_of(node)
    before, after = sizes_of(node.inputs[0]), sizes_of(node.outputs[0])
    depth, rows, columns = tables
    deeper, wider = before[2] != after[2], before[3:] != after[3:]
    middle = f"{output}:depth" if wider else output
    found: list[Operation] = []
    # The depth first: the smaller the slices, the less there is to sum.
    if deeper or not wider:
        if depth[0].shape[1] > _MOST_TAPS:
            return None
        found.append(_summed(layer, source, middle, (*after[:3], *before[3:]), depth))
        source = middle
    if wider:
        places, weights = (rows[0], columns[0]), (rows[1], columns[1])
        found.append(Resample(layer, (source,), output, *places, *weights))
    return tuple(found)


def _tables(node: ir.Node) -> list[Table] | None:
    before, after = sizes_of(node.inputs[0]), sizes_of(node.outputs[0])
    scales = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    told = [None] * 5 if scales is None or scales.size != 5 else [float(s) for s in scales]
    fitted = text(node, "keep_aspect_ratio_policy", "stretch") != "stretch"
    if before[:2] != after[:2] or "axes" in node.attributes or fitted:
        return None
    rule = ResizeRule(
        text(node, "mode", "nearest"),
        text(node, "coordinate_transformation_mode", "half_pixel"),
        text(node, "nearest_mode", "round_prefer_floor"),
        number(node, "cubic_coeff_a", -0.75),
        bool(integer(node, "exclude_outside", 0)),
        bool(integer(node, "antialias", 0)),
    )
    found = [axis_tables(rule, before[axis], after[axis], told[axis]) for axis in (2, 3, 4)]
    whole = [table for table in found if table is not None]
    return whole if len(whole) == len(found) else None


def _picked(node: ir.Node, layer: str, places: Sequence[Weights]) -> Strided:
    """Return an operation that takes each place of the result from one of the source."""
    sizes = sizes_of(node.inputs[0])
    moves = [Move(0), Move(1)]
    for axis, table in enumerate(places, 2):
        same = np.array_equal(table, np.arange(sizes[axis]))
        moves.append(Move(axis) if same else Move(axis, indices=tuple(map(int, table))))
    access = Access(sizes_of(node.outputs[0]), tuple(moves), (0,) * 5)
    return Strided(layer, *names_of(node), (access,), ())


def _summed(layer: str, source: str, output: str, target: tuple[int, ...], depth: Table) -> Strided:
    """Return an operation that makes each slice a weighted sum of some of the source's."""
    places, weights = depth
    taps = places.shape[1]
    reads = [
        Access(
            target,
            (Move(0), Move(1), Move(2, indices=tuple(map(int, places[:, tap]))), Move(3), Move(4)),
            (0,) * 5,
        )
        for tap in range(taps)
    ]
    factors = [weights[:, tap].reshape(-1, 1, 1).astype(np.float32) for tap in range(taps)]
    spread = [broadcast(factor.shape, target) for factor in factors]
    program = [Instruction("mul", (tap, taps + tap)) for tap in range(taps)]
    for tap in range(1, taps):
        last = 2 * taps if tap == 1 else 3 * taps + tap - 2
        program.append(Instruction("add", (last, 2 * taps + tap)))
    names = (source,) * taps
    return Strided(
        layer, names, output, (*reads, *spread), tuple(program), tuple(factors), sizes=target
    )
