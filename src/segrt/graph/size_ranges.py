"""Sizes that are chosen at each run, from a range that is stated when a network is built.

A range is written on the graph's inputs (`segrt.graph.metadata.ranges`), so that whoever runs the
graph, or builds an engine of it, finds it there. Its three sizes are tried before that: a network
that halves its image takes multiples of some number only, and says so here, in Keras' terms.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from segrt.errors import ShapeError, UsageError
from segrt.graph import metadata
from segrt.graph.fix_shapes import fix_batch_and_size, sides_of
from segrt.graph.specs import input_specs
from segrt.types import ShapeProfile, Size, TensorSpec

Sides = tuple[Size, ...]

_NAMES = (("side",), ("height", "width"), ("depth", "height", "width"))
_LABELS = {"minimum": "smallest", "usual": "usual", "maximum": "largest"}


def apply_sizes(model: ir.Model, *, batch: Size | None, size: Sides | None) -> ir.Model:
    """Return ``model`` with fixed sizes fixed and ranges noted; itself where both are None.

    Args:
        model: Not changed.
        batch: The batch, or its range.
        size: (height, width) of every image, each a number or a range; of volumes three, and one
            for every side of whatever has sides.

    Raises:
        UsageError: A range that is none: not positive, or not in ascending order; no such number
            of sides.
        ShapeError: The network cannot take a size of a range (the hint says which multiples it
            takes), or fixes what a range is given for.
    """
    batch = _settled("batch", batch)
    if size is not None and not 1 <= len(size) <= len(_NAMES):
        raise UsageError(
            "the size has another number of sides",
            found=str(len(size)),
            wanted="1 for all, 2 of an image, 3 of a volume",
        )
    names = () if size is None else _NAMES[len(size) - 1]
    sides = {name: _settled(name, side) for name, side in zip(names, size or (), strict=True)}
    given: dict[str, Size | None] = {"batch": batch, **sides}
    numbers = None if size is None else tuple(_number(side) for side in sides.values())
    ranged = {name: value for name, value in given.items() if isinstance(value, ShapeProfile)}
    if not ranged:
        return fix_batch_and_size(
            model,
            batch=_number(batch),
            size=numbers,
        )
    _check_free(input_specs(model), ranged, names)
    for field in _LABELS:
        _try_sizes(model, given, field)
    fixed = fix_batch_and_size(
        model,
        batch=_number(batch),
        size=numbers,
    )
    fixed = fixed if fixed is not model else model.clone()
    specs = input_specs(fixed)
    for value, axes in zip(fixed.graph.inputs, _axes(specs, ranged, names), strict=True):
        found: list[ShapeProfile | None] = [None] * len(value.shape or ())
        for name, axis in axes:
            found[axis] = ranged[name]
        metadata.set_ranges(value, found)
    return fixed


def nearest_in_range(size: int, allowed: ShapeProfile | None) -> int:
    """Return ``size``, or the end of the range that is nearest to it."""
    if allowed is None:
        return size
    return min(max(size, allowed.minimum), allowed.maximum)


def range_of(spec: TensorSpec, axis: int) -> ShapeProfile | None:
    """Return what the size along an axis is limited to, None where it is not."""
    return spec.ranges[axis] if spec.ranges else None


def _settled(name: str, value: Size | None) -> Size | None:
    """Return a range of one size as that size.

    Raises:
        UsageError: It is no range.
    """
    if not isinstance(value, ShapeProfile):
        return value
    if not 1 <= value.minimum <= value.usual <= value.maximum:
        raise UsageError(
            f"the range of the {name} is none",
            found=f"{value.minimum}:{value.usual}:{value.maximum}",
            wanted="smallest:usual:largest, at least 1 and in ascending order",
        )
    return value.usual if value.minimum == value.maximum else value


def _number(value: Size | None) -> int | None:
    return value if isinstance(value, int) else None


def _at(value: Size | None, field: str) -> int | None:
    if isinstance(value, ShapeProfile):
        return int(getattr(value, field))
    return value


def _try_sizes(model: ir.Model, given: dict[str, Size | None], field: str) -> None:
    """Refuse one end of the ranges, or its middle, where the network cannot take it."""
    batch, *sides = (_at(value, field) for value in given.values())
    try:
        fix_batch_and_size(model, batch=batch, size=tuple(sides) or None)
    except ShapeError as error:
        sizes = ", ".join(
            f"{name} {_at(value, field)}" for name, value in given.items() if value is not None
        )
        raise ShapeError(
            f"the {_LABELS[field]} sizes of the range do not fit: {error.message}",
            found=sizes,
            wanted=error.wanted,
            hint=error.hint,
        ) from error


def _check_free(
    specs: tuple[TensorSpec, ...], ranged: dict[str, ShapeProfile], names: Sequence[str]
) -> None:
    """Refuse a range for what a model fixes.

    Raises:
        ShapeError: Names the input and its size.
    """
    for spec, axes in zip(specs, _axes(specs, ranged, names), strict=True):
        for name, axis in axes:
            fixed = spec.shape[axis]
            if fixed is not None:
                asked = ranged[name]
                raise ShapeError(
                    f"the model fixes the {name} of its input {spec.name!r}: it takes no range",
                    found=f"{asked.minimum}:{asked.usual}:{asked.maximum}",
                    wanted=str(fixed),
                    hint=f"leave the {name}'s range out, or give one number",
                )


def _axes(
    specs: tuple[TensorSpec, ...], ranged: dict[str, ShapeProfile], names: Sequence[str]
) -> list[list[tuple[str, int]]]:
    """Return for every spec which of its axes the ranges are for."""
    found = []
    for spec, sides in zip(specs, sides_of(specs, names), strict=True):
        axes = [("batch", 0)] if spec.shape else []
        axes += [(name, axis) for axis, name in sides]
        found.append([(name, axis) for name, axis in axes if name in ranged])
    return found
