"""Give a graph's inputs fixed sizes, and say what sizes would do when they do not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from segrt.errors import ShapeError
from segrt.graph.infer_shapes import infer_shapes
from segrt.graph.size_multiple import needed_multiple
from segrt.graph.specs import image_axes, input_specs


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
    model: ir.Model, *, batch: int | None, size: tuple[int | None, int | None] | None
) -> ir.Model:
    """Return ``model`` with a fixed batch or image size; ``model`` itself where both are None.

    A side of the image that is None stays as it is.

    Raises:
        ShapeError: The network cannot take them, or has no image input to apply ``size`` to.
    """
    if batch is None and size is None:
        return model
    if any(number is not None and number < 1 for number in (batch, *(size or ()))):
        raise ShapeError("sizes must be positive", found=f"batch {batch}, size {size}")
    specs = input_specs(model)
    images = [spec for spec in specs if image_axes(spec) is not None]
    if size is not None and not images:
        raise ShapeError("a fixed size needs an image input, and the network has none")
    shapes: dict[str, list[int | None]] = {}
    for spec in specs:
        shape = list(spec.shape)
        if batch is not None and shape:
            shape[0] = batch
        axes = image_axes(spec)
        if size is not None and axes is not None:
            for axis, side in zip(axes, size, strict=True):
                shape[axis] = shape[axis] if side is None else side
        shapes[spec.name] = shape
    return fix_shapes(model, shapes)


def _multiple_hint(model: ir.Model) -> str:
    multiple = needed_multiple(model)
    if multiple is None:
        return "use the size that the network was made for"
    if multiple == 1:
        return "use a larger size"
    return f"use a height and width that are multiples of {multiple}"
