"""Give a graph's inputs fixed sizes, and say what sizes would do when they do not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import onnx
import onnx_ir as ir

from segrt.errors import ShapeError
from segrt.graph import metadata
from segrt.graph.builder import infer_node, static_shape
from segrt.graph.specs import input_specs
from segrt.types import TensorSpec

_LARGEST_MULTIPLE = 1024


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
    model: ir.Model, *, batch: int | None, size: tuple[int, int] | None
) -> ir.Model:
    """Return ``model`` with a fixed batch or image size; ``model`` itself where both are None.

    Raises:
        ShapeError: The network cannot take them, or has no image input to apply ``size`` to.
    """
    if batch is None and size is None:
        return model
    if (batch is not None and batch < 1) or (size is not None and min(size) < 1):
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
            shape[axes[0]], shape[axes[1]] = size
        shapes[spec.name] = shape
    return fix_shapes(model, shapes)


def image_axes(spec: TensorSpec) -> tuple[int, int] | None:
    """Return where height and width are, None for anything that is no batch of images."""
    if len(spec.shape) != 4 or spec.channel_axis is None:
        return None
    return (2, 3) if spec.channel_axis == 1 else (1, 2)


def infer_shapes(graph: ir.Graph) -> str | None:
    """Infer every value's shape anew from the inputs'; return what went wrong, None if nothing."""
    for node in graph:
        for output in node.outputs:
            output.shape = None
        layer = metadata.layer_of(node) or node.name
        try:
            infer_node(node)
        except (onnx.shape_inference.InferenceError, ValueError) as error:
            sizes = " and ".join(
                str(static_shape(value)) for value in node.inputs if value and not value.const_value
            )
            text = sizes or str(error).splitlines()[0]
            return f"at layer {layer!r} ({node.op_type}) these do not fit together: {text}"
        if (problem := _bad_result(node)) is not None:
            return f"at layer {layer!r} ({node.op_type}): {problem}"
    return None


def needed_multiple(model: ir.Model) -> int | None:
    """Find the smallest power of two such that images of every multiple of it go through.

    Returns:
        1 where any size does; None where no power of two up to 1024 does.
    """
    specs = input_specs(model)
    step = 1
    while step <= _LARGEST_MULTIPLE:
        # Odd factors: passing with an even one would prove a smaller step than it tests. Large
        # enough (64 pixels) that convolutions without padding leave something.
        base = max(1, 64 // step) | 1
        if all(_fits(model, specs, step * (base + extra)) for extra in (0, 2)):
            return step
        step *= 2
    return None


def _fits(model: ir.Model, specs: Sequence[TensorSpec], pixels: int) -> bool:
    trial = model.clone()
    for spec, value in zip(specs, trial.graph.inputs, strict=True):
        axes = image_axes(spec)
        if axes is not None:
            shape: list[int | None] = [1, *spec.shape[1:]]
            shape[axes[0]] = shape[axes[1]] = pixels
            value.shape = ir.Shape(shape)
    return infer_shapes(trial.graph) is None


def _multiple_hint(model: ir.Model) -> str:
    multiple = needed_multiple(model)
    if multiple is None:
        return "use the size that the network was made for"
    if multiple == 1:
        return "use a larger size"
    return f"use a height and width that are multiples of {multiple}"


def _bad_result(node: ir.Node) -> str | None:
    """Find what ONNX's inference lets through: empty results, reshapes that lose elements."""
    for output in node.outputs:
        if output.shape is not None and any(
            isinstance(size, int) and size <= 0 for size in output.shape
        ):
            return f"nothing is left of the image, {static_shape(output)}"
    if node.op_type == "Reshape" and node.inputs[0] is not None:
        before, after = static_shape(node.inputs[0]), static_shape(node.outputs[0])
        known = [size for size in (*before, *after) if size is not None]
        if len(known) == len(before) + len(after) and prod(known[: len(before)]) != prod(
            known[len(before) :]
        ):
            return f"{before} cannot become {after}"
    return None
