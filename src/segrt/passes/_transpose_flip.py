"""Recompute a region of layout-free nodes in the layout before the Transposes that enter it."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir as ir

from segrt.errors import PassError
from segrt.graph import metadata
from segrt.passes._operators import Array
from segrt.passes._proof import noise, prove
from segrt.passes._rewrite import Rewriter, constant_array, prune
from segrt.passes._transpose_region import (
    AXIS,
    BROADCAST,
    REDUCE,
    Perm,
    Region,
    inverse,
    tensor_inputs,
)
from segrt.types import Certificate

_LARGEST_KEPT = 4


@dataclass(slots=True)
class _Flip:
    """The new values of a region.

    Attributes:
        moved: Old value -> the same in the other layout: ``old = new.transpose(P)``.
        restored: Old value that leaves the region -> the new one brought back to the old layout.
    """

    moved: dict[ir.Value, ir.Value] = field(default_factory=dict)
    restored: dict[ir.Value, ir.Value] = field(default_factory=dict)


def flip(rewriter: Rewriter, region: Region) -> Certificate:
    """Recompute ``region`` in the layout before its Transposes.

    Raises:
        PassError: A value's tags cannot follow, or the result would differ; nothing changed.
    """
    _check(region)
    rewriter.at(next(iter(region.nodes)))
    with rewriter.attempt():
        result = _build(rewriter, region)
        certificates = _certify(region, result)
    _splice(region, result)
    return max(certificates, key=lambda certificate: certificate.error)


def _check(region: Region) -> None:
    for node in region.nodes:
        if not all(map(metadata.is_uniform, metadata.recoveries(node.outputs[0]))):
            raise PassError(f"what is recovered from {node.outputs[0].name!r} lies on axis 1")
    named = [node.inputs[0] for node in region.exits if node.outputs[0].is_graph_output()]
    if len(named) != len(set(named)) or any(value in region.kept for value in named):
        raise PassError("one value makes several outputs of the graph")


def _build(rewriter: Rewriter, region: Region) -> _Flip:
    result = _Flip()
    for value in region.entries:
        result.moved[value] = _source(value)
    back = inverse(region.perm)
    for node in region.nodes:
        rewriter.before(node)
        for value in tensor_inputs(node):
            if value not in result.moved:
                name = f"{value.name}:layout"
                result.moved[value] = rewriter.op("Transpose", [value], name=name, perm=back)
        new = _flipped(rewriter, node, result.moved, region.perm)
        result.moved[node.outputs[0]] = new
        if node.outputs[0] in _leaving(region):
            name = f"{node.outputs[0].name}:layout"
            restored = rewriter.op("Transpose", [new], name=name, perm=region.perm)
            result.restored[node.outputs[0]] = restored
    return result


def _source(entry: ir.Value) -> ir.Value:
    """Return what the Transpose that made ``entry`` reads."""
    producer = entry.producer()
    source = None if producer is None else producer.inputs[0]
    if source is None:
        raise PassError(f"{entry.name!r} is not made by a Transpose")
    return source


def _leaving(region: Region) -> set[ir.Value]:
    left = {node.inputs[0] for node in region.exits} | set(region.kept)
    return {value for value in left if value is not None}


def _flipped(
    rewriter: Rewriter, node: ir.Node, moved: dict[ir.Value, ir.Value], perm: Perm
) -> ir.Value:
    """Insert a copy of ``node`` that works on the moved values."""
    attributes = dict(node.attributes)
    inputs: list[ir.Value | None] = []
    for index, value in enumerate(node.inputs):
        constant = constant_array(value)
        if value is None or value in moved:
            inputs.append(None if value is None else moved[value])
        elif constant is not None and node.op_type in BROADCAST:
            inputs.append(_flipped_constant(rewriter, value, constant, perm))
        elif constant is not None and node.op_type in REDUCE and index == 1:
            axes = [perm[int(axis) % len(perm)] for axis in constant.reshape(-1)]
            inputs.append(rewriter.ints(f"{value.name}:layout", axes))
        else:
            inputs.append(value)
    if node.op_type in AXIS:
        default = 0 if node.op_type == "Concat" else -1
        axis = attributes["axis"].as_int() if "axis" in attributes else default
        attributes["axis"] = ir.AttrInt64("axis", perm[axis % len(perm)])
    new = rewriter.op(node.op_type, inputs, name=f"{node.name}:layout", **attributes)
    maker = new.producer()
    if maker is not None:
        maker.metadata_props.update(node.metadata_props)
    return new


def _flipped_constant(rewriter: Rewriter, value: ir.Value, constant: Array, perm: Perm) -> ir.Value:
    if constant.ndim == 0:
        return value
    full = constant.reshape((1,) * (len(perm) - constant.ndim) + constant.shape)
    return rewriter.constant(f"{value.name}:layout", full.transpose(inverse(perm)))


def _certify(region: Region, result: _Flip) -> list[Certificate]:
    """Compare every value that leaves the region, fed with small arrays at its border."""
    arrays = [constant_array(value) for node in region.nodes for value in node.inputs]
    pinned = {size for array in arrays if array is not None for size in array.shape}
    feeds: dict[ir.Value, Array] = {}
    for seed, value in enumerate([*region.entries, *region.others]):
        start = _source(value) if value in region.entries else value
        if start.shape is None:
            raise PassError(f"the rank of {start.name!r} is unknown")
        feeds[start] = noise(_probe_shape(start.shape, pinned), seed)
    return [
        prove(value, restored, feeds, claim="up to rounding", what="float64 probe")
        for value, restored in result.restored.items()
    ]


def _probe_shape(shape: ir.Shape, pinned: set[int]) -> tuple[int, ...]:
    """Return a small shape; equal sizes stay equal, so that what fitted still fits.

    A size that a constant in the region has cannot shrink.
    """
    sizes = []
    for size in shape:
        if isinstance(size, int) and (size <= _LARGEST_KEPT or size in pinned):
            sizes.append(size)
        elif isinstance(size, int):
            sizes.append(_LARGEST_KEPT + 1 + size % 7)
        else:
            sizes.append(_LARGEST_KEPT + 1 + sum(map(ord, size.value or "")) % 7)
    return tuple(sizes)


def _splice(region: Region, result: _Flip) -> None:
    for value in region.kept:
        _keep(region, value, result)
    for transpose in region.exits:
        source, output = transpose.inputs[0], transpose.outputs[0]
        if source is None:
            continue
        new, is_output, name = result.moved[source], output.is_graph_output(), output.name
        _carry(source, new, region.perm)
        if metadata.keras_name(output) != metadata.keras_name(new):
            metadata.same_tags(output, new)
        output.metadata_props.clear()
        output.replace_all_uses_with(new, replace_graph_outputs=True)
        output.name = None
        if is_output:
            new.name = name
    for node in region.nodes:
        _carry(node.outputs[0], result.moved[node.outputs[0]], region.perm)
    for entry in region.entries:
        _carry_recoveries(region, entry)
    for node in [*region.exits, *reversed(region.nodes)]:
        prune(node)
    for restored in result.restored.values():
        producer = restored.producer()
        if producer is not None:
            prune(producer)


def _carry_recoveries(region: Region, entry: ir.Value) -> None:
    """Let what an entry's Transpose stood for be recovered from its input, where it is to go."""
    inside = {**region.nodes, **region.exits}
    stays = entry.is_graph_output() or any(use.node not in inside for use in entry.uses())
    if stays or metadata.keras_name(entry) or not metadata.recoveries(entry):
        return
    if region.perm[1] == 1 or all(map(metadata.is_uniform, metadata.recoveries(entry))):
        metadata.permute_tags(entry, region.perm)
        metadata.same_tags(entry, _source(entry))


def _keep(region: Region, value: ir.Value, result: _Flip) -> None:
    """Give readers outside the region the value in its old layout."""
    restored = result.restored[value]
    inside = {**region.nodes, **region.exits}
    readers = [use for use in value.uses() if use.node not in inside]
    for use in readers:
        use.node.replace_input_with(use.idx, restored)
    if value.is_graph_output():
        metadata.move_tags(value, restored)
        name, value.name = value.name, None
        graph = value.graph
        if graph is not None:
            graph.outputs[:] = [restored if item is value else item for item in graph.outputs]
        restored.name = name


def _carry(old: ir.Value, new: ir.Value, perm: Perm) -> None:
    """Give the name and tags of ``old`` to the moved value; once."""
    if old.name is None:
        return
    metadata.move_tags(old, new)
    metadata.permute_tags(new, perm)
    new.name, old.name = old.name, None
