"""Give a graph's inputs fixed sizes, and say what sizes would do when they do not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import onnx_ir as ir

from segrt.errors import ShapeError
from segrt.graph.infer_shapes import infer_shapes
from segrt.graph.size_multiple import needed_multiple
from segrt.graph.specs import input_specs, spatial_axes
from segrt.types import TensorSpec

Entry = TypeVar("Entry")


def fix_shapes(model: ir.Model, shapes: Mapping[str, Sequence[int | None]]) -> ir.Model:
    """Return a copy of ``model`` whose inputs have the given shapes, all values re-inferred.

    Args:
        model: Not changed; the copy shares its weights.
        shapes: New shape per input name, in the graph's axis order; None keeps a size free.
            Inputs left out keep their shape.

    Raises:
        ShapeError: The network cannot take these sizes; the hint says which multiples it takes,
            where there are such.
    """
    fixed = model.clone()
    for value in fixed.graph.inputs:
        wanted = shapes.get(value.name or "")
        if wanted is not None:
            old = list(value.shape or ())
            # A size that stays free keeps its name, which may tie it to other inputs.
            value.shape = ir.Shape(
                [
                    new if new is not None or isinstance(kept, int) else kept
                    for new, kept in zip(wanted, old, strict=True)
                ]
            )
    problem = infer_shapes(fixed.graph)
    if problem is not None:
        raise ShapeError(
            f"the network cannot take these sizes: {problem}",
            found=", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items()),
            hint=_multiple_hint(model),
        )
    return fixed


def fix_batch_and_size(
    model: ir.Model, *, batch: int | None, size: tuple[int | None, ...] | None
) -> ir.Model:
    """Return ``model`` with a fixed batch or image size; ``model`` itself where both are None.

    A side of the image that is None stays as it is; see `sides_of` for what ``size`` applies to.

    Raises:
        ShapeError: The network cannot take them, or has no image input to apply ``size`` to.
    """
    if batch is None and size is None:
        return model
    if any(number is not None and number < 1 for number in (batch, *(size or ()))):
        raise ShapeError("sizes must be positive", found=f"batch {batch}, size {size}")
    specs = input_specs(model)
    sides = sides_of(specs, size or ())
    if size is not None and not any(sides):
        raise ShapeError(
            f"no input has {len(size)} sides that a size could be for"
            if len(size) > 1
            else "no input has sides that a size could be for",
            found=", ".join(f"{spec.name} {spec.shape}" for spec in specs),
            wanted="two sizes of an image, three of a volume, or one for all sides",
        )
    shapes: dict[str, list[int | None]] = {}
    for spec, own in zip(specs, sides, strict=True):
        shape = list(spec.shape)
        if batch is not None and shape:
            shape[0] = batch
        for axis, side in own:
            shape[axis] = shape[axis] if side is None else side
        shapes[spec.name] = shape
    return fix_shapes(model, shapes)


def sides_of(specs: Sequence[TensorSpec], given: Sequence[Entry]) -> list[list[tuple[int, Entry]]]:
    """Return for every spec which axis gets which of the given sides; nothing where none is meant.

    Two are for images, three for volumes; a single one is for every side of what has most sides.
    """
    axes = [spatial_axes(spec) or () for spec in specs]
    if len(given) == 1:
        given = [given[0]] * max(map(len, axes), default=0)
    return [list(zip(own, given, strict=True)) if len(own) == len(given) else [] for own in axes]


def _multiple_hint(model: ir.Model) -> str:
    multiple = needed_multiple(model)
    if multiple is None:
        return "use the size that the network was made for"
    if multiple == 1:
        return "use a larger size"
    return f"use a height and width that are multiples of {multiple}"
