"""Arithmetic on tokens (N, tokens, channels) that several transformer layers share."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Layout, Tensor
from segrt.importers.layers._inputs import image, weight, wrong_input
from segrt.importers.layers._rearrange import space_to_depth

_TO_THE_END = (1 << 63) - 1


def reshape(call: Call, value: ir.Value, shape: Sequence[int], role: str) -> ir.Value:
    """Reshape; one size may be -1."""
    return call.op("Reshape", [value, call.ints(f"{role}_shape", shape)], role=role)


def permute(call: Call, value: ir.Value, axes: Sequence[int], role: str) -> ir.Value:
    """Transpose."""
    return call.op("Transpose", [value], role=role, perm=list(axes))


def cut(call: Call, value: ir.Value, axis: int, part: tuple[int, int], role: str) -> ir.Value:
    """Return ``value[..., start:stop, ...]`` for ``part`` (start, stop)."""
    inputs = [
        call.ints(f"{role}_{name}", [number])
        for name, number in (("start", part[0]), ("stop", part[1]), ("axis", axis))
    ]
    return call.op("Slice", [value, *inputs], role=role)


def roll(call: Call, value: ir.Value, axis: int, shift: int, role: str) -> ir.Value:
    """`tf.roll` of one axis."""
    front = cut(call, value, axis, (-shift, _TO_THE_END), f"{role}_front")
    rest = cut(call, value, axis, (0, -shift), f"{role}_rest")
    return call.op("Concat", [front, rest], role=role, axis=axis)


def patches(call: Call, x: object, size: int) -> ir.Value:
    """`tf.image.extract_patches` without overlap, as (N, patches, size * size * channels)."""
    tensor = image(call, x)
    value = call.channels_first(tensor)
    height, width, depth = tensor.shape[1:]
    if height is None or width is None or depth is None or height < size or width < size:
        raise wrong_input(call, f"an image of shape {tensor.shape}", f"{size} pixels or more")
    rows, columns = height // size, width // size
    for axis, kept, whole in ((2, rows * size, height), (3, columns * size, width)):
        if kept != whole:
            value = cut(call, value, axis, (0, kept), f"cropped_{axis}")
    packed = call.source(Tensor(space_to_depth(call, value, size), Layout.CHANNELS_FIRST))
    return reshape(call, packed, [-1, rows * columns, size * size * depth], "patches")


def embed(call: Call, x: Tensor, projection: str, embedding: str) -> Tensor:
    """Project tokens, and add what was learned for each place."""
    places = weight(call, f"{embedding}/embeddings")
    dense = {"units": int(places.shape[-1])}
    projected = call.apply_part("Dense", dense, x, role=projection)
    learned = call.weight(f"{embedding}/embeddings", places[None])
    return Tensor(call.op("Add", [projected.value, learned], role="embedded"), Layout.SOURCE)


def tokens(call: Call, x: Tensor) -> tuple[int, int]:
    """Return number and width of the tokens of ``x``.

    Raises:
        ModelFileError: It is not (N, tokens, channels) with known sizes.
    """
    if x.rank != 3 or None in x.shape[1:]:
        raise wrong_input(call, f"an input of shape {x.shape}", "(batch, tokens, channels)")
    return x.shape[1] or 0, x.shape[2] or 0


def grid(call: Call, x: Tensor) -> tuple[int, int, int]:
    """Return rows, columns and width of tokens that lie on a grid of ``num_patch``."""
    count, width = tokens(call, x)
    rows, columns = _config.sizes(call, "num_patch", 2)
    if rows * columns != count:
        raise wrong_input(call, f"{count} tokens", f"{rows} x {columns} tokens")
    return rows, columns, width
