"""Ranges of the sizes inside a graph, from those of its inputs: for pieces cut out of it."""

from __future__ import annotations

import onnx_ir as ir

from segrt.graph import metadata
from segrt.graph.fix_shapes import fix_shapes
from segrt.graph.specs import input_specs
from segrt.types import ShapeProfile, TensorSpec

_FIELDS = ("minimum", "usual", "maximum")


def note_inner_ranges(model: ir.Model) -> None:
    """Note on every inner value what its free sizes are limited to.

    Nothing is noted where an input has free sizes without a range, or none is free.

    Args:
        model: Changed.

    Raises:
        ShapeError: The network cannot take a size of its ranges.
    """
    specs = input_specs(model)
    if not any(spec.ranges for spec in specs) or not all(map(_is_limited, specs)):
        return
    tried = [
        fix_shapes(model, {spec.name: _at(spec, field) for spec in specs}) for field in _FIELDS
    ]
    for node, *copies in zip(model.graph, *(one.graph for one in tried), strict=True):
        for number, value in enumerate(node.outputs):
            shapes = [copy.outputs[number].shape for copy in copies]
            if value.shape is not None and None not in shapes:
                metadata.set_ranges(value, _ranges(value.shape, shapes))


def _is_limited(spec: TensorSpec) -> bool:
    limits = spec.ranges or (None,) * len(spec.shape)
    return all(size is not None or limit for size, limit in zip(spec.shape, limits, strict=True))


def _at(spec: TensorSpec, field: str) -> list[int | None]:
    limits = spec.ranges or (None,) * len(spec.shape)
    return [
        size if size is not None or limit is None else int(getattr(limit, field))
        for size, limit in zip(spec.shape, limits, strict=True)
    ]


def _ranges(shape: ir.Shape, shapes: list[ir.Shape | None]) -> list[ShapeProfile | None]:
    found: list[ShapeProfile | None] = []
    for axis, size in enumerate(shape):
        sizes = [one[axis] for one in shapes if one is not None and len(one) == len(shape)]
        known = [one for one in sizes if isinstance(one, int)]
        fits = not isinstance(size, int) and len(known) == len(_FIELDS)
        found.append(ShapeProfile(*known) if fits else None)
    return found


__all__ = ["note_inner_ranges"]
