"""What moves numbers and computes none."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from segrt.measurement.reading.slices import read_pads, read_slices
from segrt.measurement.torch_ops._base import REGISTRY, TorchStep
from segrt.measurement.torch_ops.convolution import torch_pads

_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}


@REGISTRY.register("Transpose")
def transpose(step: TorchStep) -> Any:
    """Translate Transpose."""
    order = step.integers("perm") or list(reversed(range(len(step.shape()))))
    return step.call(step.torch.permute, step.input(0), order)


@REGISTRY.register("Reshape", "Squeeze", "Unsqueeze", "Flatten")
def reshape(step: TorchStep) -> Any:
    """Translate whatever only gives other sizes; they are known."""
    return step.call(step.torch.reshape, step.input(0), step.result())


@REGISTRY.register("Expand")
def expand(step: TorchStep) -> Any:
    """Translate Expand."""
    return step.call(step.torch.broadcast_to, step.input(0), step.result())


@REGISTRY.register("Concat")
def concatenate(step: TorchStep) -> Any:
    """Translate Concat."""
    return step.call(step.torch.cat, step.inputs(), step.axis(0))


@REGISTRY.register("Split")
def split(step: TorchStep) -> Any:
    """Translate Split."""
    axis = step.axis(0)
    sizes = [step.result(index)[axis] for index in range(len(step.node.outputs))]
    parts = step.call(step.torch.split, step.input(0), sizes, axis)
    pieces = [step.call(operator.getitem, parts, index) for index in range(len(sizes))]
    return pieces if len(pieces) > 1 else pieces[0]


@REGISTRY.register("Slice")
def cut(step: TorchStep) -> Any:
    """Translate Slice; PyTorch has no steps backwards, so these pick by number."""
    x, sizes = step.input(0), step.shape()
    for axis, piece in enumerate(read_slices(step)):
        numbers = np.arange(sizes[axis])[piece]
        if len(numbers) == sizes[axis] and (piece.step or 1) > 0:
            continue
        if (piece.step or 1) == 1:
            x = step.call(step.torch.narrow, x, axis, int(numbers[0]), len(numbers))
        else:
            x = step.call(step.torch.index_select, x, axis, step.tensor(numbers))
    return x


@REGISTRY.register("Pad")
def pad(step: TorchStep) -> Any:
    """Translate Pad: constants on any axes, reflections and edges on the spatial ones."""
    mode = step.text("mode", "constant")
    pads = read_pads(step)
    if mode == "constant":
        held = step.constant(2)
        number = 0.0 if held is None else held.reshape(()).item()
        return step.call(step.functional.pad, step.input(0), torch_pads(pads), mode, number)
    x, sizes = step.input(0), step.shape()
    if mode not in _MODES:
        raise step.refuse(f" of mode {mode}")
    for axis, (low, high) in enumerate(pads):
        if low or high:
            numbers = np.pad(np.arange(sizes[axis]), (low, high), mode=mode)  # type: ignore[call-overload]
            x = step.call(step.torch.index_select, x, axis, step.tensor(numbers))
    return x


@REGISTRY.register("Tile")
def tile(step: TorchStep) -> Any:
    """Translate Tile."""
    return step.call(step.torch.tile, step.input(0), step.numbers(1))


@REGISTRY.register("Gather")
def gather(step: TorchStep) -> Any:
    """Translate Gather; numbers below 0 count from the end."""
    axis, sizes = step.axis(0), step.shape()
    count, places = sizes[axis], step.node.inputs[1]
    if places is not None and places.const_value is not None:
        indices = step.tensor(places.const_value.numpy().reshape(-1).astype(np.int64) % count)
    else:
        flat = step.call(step.torch.reshape, step.input(1), (-1,))
        indices = step.call(step.torch.remainder, flat, count)
    taken = step.call(step.torch.index_select, step.input(0), axis, indices)
    return step.call(step.torch.reshape, taken, step.result())


@REGISTRY.register("DepthToSpace")
def depth_to_space(step: TorchStep) -> Any:
    """Translate DepthToSpace: the block's place comes first (DCR) or last (CRD)."""
    n, c, h, w = step.shape()
    b = step.integer("blocksize")
    if step.text("mode", "DCR") == "CRD":
        return step.call(step.functional.pixel_shuffle, step.input(0), b)
    blocks = step.call(step.torch.reshape, step.input(0), (n, b, b, c // (b * b), h, w))
    moved = step.call(step.torch.permute, blocks, (0, 3, 4, 1, 5, 2))
    return step.call(step.torch.reshape, moved, (n, c // (b * b), h * b, w * b))


@REGISTRY.register("SpaceToDepth")
def space_to_depth(step: TorchStep) -> Any:
    """Translate SpaceToDepth."""
    n, c, h, w = step.shape()
    b = step.integer("blocksize")
    blocks = step.call(step.torch.reshape, step.input(0), (n, c, h // b, b, w // b, b))
    moved = step.call(step.torch.permute, blocks, (0, 3, 5, 1, 2, 4))
    return step.call(step.torch.reshape, moved, (n, c * b * b, h // b, w // b))


@REGISTRY.register("ScatterElements")
def scatter(step: TorchStep) -> Any:
    """Translate ScatterElements that adds, or replaces."""
    kind = step.text("reduction", "none")
    if kind not in ("none", "add"):
        raise step.refuse(f" of kind {kind}")
    function = step.torch.scatter_add if kind == "add" else step.torch.scatter
    return step.call(function, step.input(0), step.axis(0), step.input(1), step.input(2))
