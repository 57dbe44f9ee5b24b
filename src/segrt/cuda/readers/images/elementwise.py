"""Element-by-element operators as steps of the pointwise kernel."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.cuda.kernels.pointwise import Step
from segrt.cuda.operations import Chain
from segrt.cuda.readers._base import IMAGES, constant, names_of
from segrt.cuda.readers._elements import PLAIN, bounds_of, settings_of

BINARY = {
    "Add": "add",
    "Sub": "sub",
    "Mul": "mul",
    "Div": "div",
    "Max": "max",
    "Min": "min",
    "Greater": "greater",
}
_SWAPPED = {"sub": "rsub", "div": "rdiv"}


@IMAGES.register(*PLAIN)
def read_step(node: ir.Node, layer: str) -> Chain:
    """Read what has one operand."""
    return Chain(layer, *names_of(node), (Step(PLAIN[node.op_type][0], "", settings_of(node)),))


@IMAGES.register("Clip")
def read_clip(node: ir.Node, layer: str) -> Chain | None:
    """Read a clip to constants."""
    bounds = bounds_of(node)
    return None if bounds is None else Chain(layer, *names_of(node), (Step("clip", "", bounds),))


@IMAGES.register("PRelu")
def read_prelu(node: ir.Node, layer: str) -> Chain | None:
    """Read one with a slope for each channel, or one alone."""
    return _with_constant(node, layer, "prelu", 1)


@IMAGES.register(*BINARY)
def read_binary(node: ir.Node, layer: str) -> Chain | None:
    """Read what has two operands: images of one size, or an image and a constant."""
    kind = node.outputs[0].dtype
    # Whole numbers are divided without a rest.
    whole = node.op_type == "Div" and kind is not None and kind.is_integer()
    if len(node.inputs) != 2 or whole:
        return None
    op, (left, right) = BINARY[node.op_type], node.inputs
    if constant(right) is not None:
        return _with_constant(node, layer, op, 1)
    if constant(left) is not None:
        # Not every operator has a twin that swaps its operands.
        if op == "greater":
            return None
        return _with_constant(node, layer, _SWAPPED.get(op, op), 0)
    if left is None or right is None or list(left.shape or ()) != list(right.shape or ()):
        return None
    names = (left.name or "", right.name or "")
    return Chain(layer, names, node.outputs[0].name or "", (Step(op, "image"),))


def _with_constant(node: ir.Node, layer: str, op: str, index: int) -> Chain | None:
    array, image = constant(node.inputs[index]), node.inputs[1 - index]
    if array is None or image is None or image.shape is None or len(image.shape) < 4:
        return None
    output = node.outputs[0].name or ""
    if array.size == 1:
        step = Step(op, "number", (float(array.reshape(-1)[0]),))
        return Chain(layer, (image.name or "",), output, (step,))
    channels, rank = image.shape[1], len(image.shape)
    shape = (1,) * (rank - array.ndim) + array.shape
    if shape != (1, channels, *(1,) * (rank - 2)):
        return None
    vector = array.reshape(-1).astype(np.float32)
    return Chain(layer, (image.name or "",), output, (Step(op, "channel"),), (vector,))
