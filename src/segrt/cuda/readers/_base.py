"""What a reader is: from one ONNX node to operations of the engine, or to nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt._registry import Registry
from segrt.cuda.operations import Operation, Pair
from segrt.cuda.volumes import meets_volumes

# Given a node and its layer's name: an operation, or several that together make its outputs; None
# where the engine has none for these settings.
Reading: TypeAlias = "Operation | tuple[Operation, ...] | None"
Reader: TypeAlias = Callable[[ir.Node, str], Reading]

# By ONNX operator. Several may know the same one: images are faster, tensors know more.
IMAGES: Registry[Reader] = Registry("CUDA reader of images", "segrt.cuda.readers.images")
VOLUMES: Registry[Reader] = Registry("CUDA reader of volumes", "segrt.cuda.readers.volumes")
TENSORS: Registry[Reader] = Registry("CUDA reader of tensors", "segrt.cuda.readers.tensors")


def read(node: ir.Node, layer: str) -> tuple[Operation, ...]:
    """Return the operations that compute a node; none where the engine has none for it.

    Args:
        node: All its sizes are known.
        layer: The Keras layer it belongs to.
    """
    first = (IMAGES,) if _is_of_images(node) else (VOLUMES,) if meets_volumes(node) else ()
    for registry in (*first, TENSORS):
        reader = registry.find(node.op_type)
        found = None if reader is None else reader(node, layer)
        if found is not None:
            return (found,) if isinstance(found, Operation) else found
    return ()


def _is_of_images(node: ir.Node) -> bool:
    """Say whether all that a node makes, and all that it reads but constants, has rank 4."""
    read_values = [value for value in node.inputs if value is not None and constant(value) is None]
    return all(len(value.shape or ()) == 4 for value in [*read_values, *node.outputs])


def constant(value: ir.Value | None) -> npt.NDArray[Any] | None:
    """Return the array of an initializer, None for anything else."""
    if value is None or value.const_value is None:
        return None
    return np.asarray(value.const_value.numpy())


def names_of(node: ir.Node) -> tuple[tuple[str, ...], str]:
    """Return the names of a node's first input, alone in a tuple, and of its first output."""
    return (node.inputs[0].name or "" if node.inputs[0] else "",), node.outputs[0].name or ""


def integers(node: ir.Node, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """Return an attribute that is a list of integers."""
    return tuple(node.attributes[name].as_ints()) if name in node.attributes else default


def integer(node: ir.Node, name: str, default: int) -> int:
    """Return an attribute that is an integer."""
    return node.attributes[name].as_int() if name in node.attributes else default


def number(node: ir.Node, name: str, default: float) -> float:
    """Return an attribute that is a number."""
    return node.attributes[name].as_float() if name in node.attributes else default


def text(node: ir.Node, name: str, default: str) -> str:
    """Return an attribute that is a word."""
    return node.attributes[name].as_string() if name in node.attributes else default


def pair(values: tuple[int, ...]) -> Pair:
    """Return the first two of some numbers."""
    return values[0], values[1]


def window_padding(node: ir.Node) -> tuple[Pair, Pair] | None:
    """Return the padding above and left, below and right; None where it cannot be known."""
    rule = text(node, "auto_pad", "NOTSET")
    if rule == "VALID":
        return (0, 0), (0, 0)
    if rule in ("SAME_UPPER", "SAME_LOWER"):
        return _same_padding(node, odd_before=rule == "SAME_LOWER")
    pads = integers(node, "pads", (0, 0, 0, 0))
    return pair(pads), pair(pads[2:])


def _same_padding(node: ir.Node, *, odd_before: bool) -> tuple[Pair, Pair] | None:
    """Return what lets a window with a stride reach as many places as there are strides."""
    kernel = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    window = integers(node, "kernel_shape", () if kernel is None else kernel.shape[2:])
    here = None if node.inputs[0] is None else node.inputs[0].shape
    there = node.outputs[0].shape
    if here is None or there is None or node.op_type == "ConvTranspose" or len(window) != 2:
        return None
    strides, dilations = integers(node, "strides", (1, 1)), integers(node, "dilations", (1, 1))
    small, large = [], []
    for axis, (size, stride, dilation) in enumerate(zip(window, strides, dilations, strict=True)):
        reach = (there.numpy()[2 + axis] - 1) * stride + (size - 1) * dilation + 1
        total = max(0, reach - here.numpy()[2 + axis])
        small.append(total // 2)
        large.append(total - total // 2)
    before, after = (large, small) if odd_before else (small, large)
    return (before[0], before[1]), (after[0], after[1])
