"""What a graph takes and returns, in the source's axis order."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from segrt.graph import metadata
from segrt.graph.builder import static_shape
from segrt.types import TensorSpec

# Operators whose axis 1 is the channel axis: reaching one before any layout change means that the
# value itself is stored channels first.
_CHANNELS_FIRST = frozenset(
    {"Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"}
    | {"BatchNormalization", "Resize", "DepthToSpace", "InstanceNormalization"}
)


def input_specs(model: ir.Model) -> tuple[TensorSpec, ...]:
    """Return a spec per graph input, in order."""
    return tuple(_spec(value, _walk(value, forward=True)) for value in model.graph.inputs)


def output_specs(model: ir.Model) -> tuple[TensorSpec, ...]:
    """Return a spec per graph output, in order."""
    return tuple(_spec(value, _walk(value, forward=False)) for value in model.graph.outputs)


def image_axes(spec: TensorSpec) -> tuple[int, int] | None:
    """Return where height and width are, None for anything that is no batch of images."""
    if len(spec.shape) != 4 or spec.channel_axis is None:
        return None
    return (2, 3) if spec.channel_axis == 1 else (1, 2)


def spatial_axes(spec: TensorSpec) -> tuple[int, ...] | None:
    """Return the axes of a sequence, an image or a volume, None for anything else."""
    if len(spec.shape) < 3 or spec.channel_axis is None:
        return None
    first = 2 if spec.channel_axis == 1 else 1
    return tuple(range(first, first + len(spec.shape) - 2))


def _spec(value: ir.Value, channel_axis: int | None) -> TensorSpec:
    if value.dtype is None or value.name is None:
        raise ValueError(f"graph value {value.name!r} has no type or name")
    return TensorSpec(
        value.name,
        static_shape(value),
        value.dtype.numpy().name,
        channel_axis,
        metadata.ranges(value),
    )


def _walk(start: ir.Value, *, forward: bool) -> int | None:
    """Look along the graph for the first operator that tells where the channels are."""
    if start.shape is None or len(start.shape) < 3:
        return None
    rank, seen, front = len(start.shape), {start}, [start]
    while front:
        nodes = [node for value in front for node in _neighbours(value, forward=forward)]
        for node in nodes:
            axis = _evidence(node, rank, forward=forward)
            if axis is not None:
                return axis
        front = []
        for node in nodes:
            for value in node.outputs if forward else node.inputs:
                # A value of another rank (after Flatten, say) tells nothing about this one.
                fits = value is not None and value.shape is not None and len(value.shape) == rank
                if value is not None and fits and value not in seen:
                    seen.add(value)
                    front.append(value)
    return None


def _neighbours(value: ir.Value, *, forward: bool) -> Iterable[ir.Node]:
    if forward:
        return [usage.node for usage in value.uses()]
    producer = value.producer()
    return [] if producer is None else [producer]


def _evidence(node: ir.Node, rank: int, *, forward: bool) -> int | None:
    if node.op_type in _CHANNELS_FIRST:
        return 1
    if node.op_type != "Transpose":
        return None
    permutation = list(node.attributes["perm"].as_ints()) if "perm" in node.attributes else []
    to_first = [0, rank - 1, *range(1, rank - 1)]
    to_last = [0, *range(2, rank), 1]
    return -1 if permutation == (to_first if forward else to_last) else None
