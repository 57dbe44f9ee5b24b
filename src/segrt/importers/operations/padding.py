"""Padding: constant, reflected, symmetric, the edge repeated; boxes around and inside images."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from segrt.importers.layers._base import Call, Tensor
from segrt.importers.operations._axes import items_of, order_of, vector
from segrt.importers.operations._base import Operand, operation
from segrt.importers.operations._values import FLOAT, INT, cast, integer, kind, number, tensor
from segrt.importers.operations.joining import concatenated
from segrt.importers.operations.slicing import flipped, indexed


@operation(
    "tf:pad|pad_v2(tensor>x, paddings, mode='CONSTANT', constant_values>fill=0)",
    "node:Pad(input>x, paddings)",
    "node:PadV2(input>x, paddings, constant_values>fill)",
    "node:MirrorPad(input>x, paddings, mode)",
    "keras:Pad(x, pad_width>paddings, mode='constant', constant_values>fill=0)",
)
def pad(
    call: Call, x: Operand, paddings: Operand, mode: str = "constant", fill: Operand = 0
) -> Tensor:
    """Pad axes in front and behind."""
    x = tensor(call, x)
    pairs = _pairs(call, x, paddings)
    kind_of_pad = str(mode).lower()
    if kind_of_pad == "symmetric":
        return _symmetric(call, x, pairs)
    if kind_of_pad not in ("constant", "reflect", "edge"):
        raise call.unsupported("mode", mode, "constant, reflect, symmetric or edge")
    number_ = number(call, "constant_values", 0 if fill is None else fill)
    return padded(call, x, pairs, kind_of_pad, number_)


def _pairs(call: Call, x: Tensor, paddings: Operand) -> list[tuple[Any, Any]]:
    """Return (before, behind) for each axis of Keras' order; each a number or a scalar tensor."""
    if isinstance(paddings, Tensor):
        raise call.unsupported("paddings", "computed when the network runs", "known numbers")
    if isinstance(paddings, int):
        return [(paddings, paddings)] * x.rank
    sides = list(paddings)
    if len(sides) == 2 and all(isinstance(side, int) for side in sides):
        return [(sides[0], sides[1])] * x.rank
    pairs = [
        tuple(side) if isinstance(side, list | tuple | np.ndarray) else (side, side)
        for side in sides
    ]
    if len(pairs) == 1:
        pairs = pairs * x.rank
    if len(pairs) != x.rank or any(len(pair) != 2 for pair in pairs):
        raise call.unsupported("paddings", paddings, f"{x.rank} pairs")
    return [(pair[0], pair[1]) for pair in pairs]


def padded(call: Call, x: Tensor, pairs: list[tuple[Any, Any]], mode: str, fill: float) -> Tensor:
    """Append one ONNX Pad."""
    ordered = [pairs[axis] for axis in order_of(x)]
    ends = [pair[0] for pair in ordered] + [pair[1] for pair in ordered]
    items = items_of(call, "paddings", ends)
    if all(item == 0 for item in items):
        return x
    if any(isinstance(item, int) and item < 0 for item in items):
        raise call.unsupported("paddings", items, "zero or more")
    inputs: list[ir.Value | None] = [x.value, vector(call, "pads", ends)]
    if mode == "constant":
        wanted = FLOAT if kind(x) is FLOAT else INT
        inputs.append(cast(call, int(fill) if wanted is INT else float(fill), wanted).value)
    value = call.op("Pad", inputs, role="padded", mode=mode)
    count = len(ordered)
    sizes = [
        size + items[at] + items[at + count]  # type: ignore[operator]
        if all(isinstance(item, int) for item in (size, items[at], items[at + count]))
        else size
        if items[at] == 0 and items[at + count] == 0
        else None
        for at, size in enumerate(x.value.shape or ())
    ]
    value.shape = ir.Shape(sizes)
    return Tensor(value, x.layout)


def _symmetric(call: Call, x: Tensor, pairs: list[tuple[Any, Any]]) -> Tensor:
    """Mirror with the edge itself repeated, which ONNX' Pad cannot: flipped ends are joined."""
    for axis, (before, behind) in enumerate(pairs):
        front, back = (integer(call, "paddings", end) for end in (before, behind))
        all_before = [slice(None)] * axis
        parts = [x]
        if front:
            parts.insert(0, flipped(call, indexed(call, x, [*all_before, slice(0, front)]), [axis]))
        if back:
            parts.append(flipped(call, indexed(call, x, [*all_before, slice(-back, None)]), [axis]))
        x = concatenated(call, parts, axis)
    return x


@operation(
    "tf:image.crop_to_bounding_box(image>x, offset_height>top, offset_width>left, "
    "target_height>height, target_width>width)"
)
def crop_box(
    call: Call, x: Operand, top: Operand, left: Operand, height: Operand, width: Operand
) -> Tensor:
    """Take a box out of images."""
    x = tensor(call, x)
    rows, columns = (
        slice(start, start + integer(call, "size", size))
        for start, size in (
            (integer(call, "top", top), height),
            (integer(call, "left", left), width),
        )
    )
    return indexed(call, x, [*[slice(None)] * (x.rank - 3), rows, columns])


@operation(
    "tf:image.pad_to_bounding_box(image>x, offset_height>top, offset_width>left, "
    "target_height>height, target_width>width)"
)
def pad_box(
    call: Call, x: Operand, top: Operand, left: Operand, height: Operand, width: Operand
) -> Tensor:
    """Put zeros around images up to a size."""
    x = tensor(call, x)
    return _framed(call, x, (x.rank - 3, x.rank - 2), (top, None, height), (left, None, width))


@operation(
    "tf:image.resize_with_crop_or_pad|image.resize_image_with_crop_or_pad(image>x, "
    "target_height>height, target_width>width)"
)
def crop_or_pad(call: Call, x: Operand, height: Operand, width: Operand) -> Tensor:
    """Cut or pad images to a size, in the middle; an odd pixel goes behind."""
    x = tensor(call, x)
    cuts: list[Any] = [slice(None)] * x.rank
    pairs: list[tuple[Any, Any]] = [(0, 0)] * x.rank
    for axis, target in ((x.rank - 3, height), (x.rank - 2, width)):
        size, wanted = _known(call, x.shape[axis]), integer(call, "target", target)
        if size > wanted:
            cuts[axis] = slice((size - wanted) // 2, (size - wanted) // 2 + wanted)
        pairs[axis] = (max(wanted - size, 0) // 2, (max(wanted - size, 0) + 1) // 2)
    return padded(call, indexed(call, x, cuts), pairs, "constant", 0.0)


@operation("tf:image.central_crop(image>x, central_fraction>fraction)")
def central_crop(call: Call, x: Operand, fraction: Operand) -> Tensor:
    """Take the middle of images."""
    x = tensor(call, x)
    share = number(call, "central_fraction", fraction)
    cuts: list[Any] = [slice(None)] * x.rank
    for axis in (x.rank - 3, x.rank - 2):
        size = _known(call, x.shape[axis])
        start = int((size - size * share) / 2)
        cuts[axis] = slice(start, size - start)
    return indexed(call, x, cuts)


_BOX = (
    "(images>x, top_{0}>top=None, left_{0}>left=None, bottom_{0}>bottom=None, "
    "right_{0}>right=None, target_height=None, target_width=None, data_format=None)"
)


@operation("keras:PadImages" + _BOX.format("padding"))
def pad_images(
    call: Call, x: Operand, top: Operand, left: Operand, bottom: Operand, right: Operand,
    target_height: Operand, target_width: Operand, data_format: object,
) -> Tensor:  # fmt: skip
    """Put zeros around images, by borders or up to a size."""
    x = tensor(call, x)
    rows, columns = (top, bottom, target_height), (left, right, target_width)
    return _framed(call, x, image_axes(x, data_format), rows, columns)


@operation("keras:CropImages" + _BOX.format("cropping"))
def crop_images(
    call: Call, x: Operand, top: Operand, left: Operand, bottom: Operand, right: Operand,
    target_height: Operand, target_width: Operand, data_format: object,
) -> Tensor:  # fmt: skip
    """Cut borders off images, by borders or down to a size."""
    x = tensor(call, x)
    cuts: list[Any] = [slice(None)] * x.rank
    sides = ((top, bottom, target_height), (left, right, target_width))
    for axis, side in zip(image_axes(x, data_format), sides, strict=True):
        before, behind = (-end for end in _borders(call, x.shape[axis], *side, sign=-1))
        if before < 0 or behind < 0:
            raise call.unsupported("the cropping", (before, behind), "zero or more")
        cuts[axis] = slice(before or None, -behind or None)
    return indexed(call, x, cuts)


def image_axes(x: Tensor, data_format: object) -> tuple[int, int]:
    """Return the axes of rows and columns in Keras' order."""
    behind = 0 if data_format == "channels_first" else 1
    return x.rank - 2 - behind, x.rank - 1 - behind


def _framed(
    call: Call, x: Tensor, axes: tuple[int, int], *sides: tuple[Operand, Operand, Operand]
) -> Tensor:
    pairs: list[tuple[Any, Any]] = [(0, 0)] * x.rank
    for axis, side in zip(axes, sides, strict=True):
        pairs[axis] = _borders(call, x.shape[axis], *side)
    return padded(call, x, pairs, "constant", 0.0)


def _borders(
    call: Call, size: int | None, before: Operand, behind: Operand, target: Operand, sign: int = 1
) -> tuple[int, int]:
    """Return by how much an axis grows in front and behind; one may follow from the target.

    Args:
        call: The operation's call.
        size: Of the axis.
        before: What it grows by in front; None where it follows.
        behind: What it grows by behind; None where it follows.
        target: The size it grows to; None where both ends are given.
        sign: -1 where the ends count what is cut off.
    """
    front, back = (None if end is None else sign * int(end) for end in (before, behind))
    if front is not None and back is not None:
        return front, back
    total = integer(call, "target", target) - _known(call, size)
    front = total - (back or 0) if front is None else front
    return front, total - front


def _known(call: Call, size: int | None) -> int:
    if size is None:
        raise call.unsupported("the image", "free sizes", "known ones")
    return size
