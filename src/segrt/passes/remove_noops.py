"""Remove nodes that return their input.

Identity, Dropout, zero Pad, a Transpose that keeps the order, a Reshape to the same shape, times
one, plus zero, a Resize by one.

The Keras value such a node carried (that of a Dropout layer, say) is recovered from its input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from segrt.errors import PassError
from segrt.graph import metadata
from segrt.graph.builder import static_shape
from segrt.passes._base import REGISTRY, PassContext
from segrt.passes._evaluate import evaluate
from segrt.passes._proof import ramp, relative_l2
from segrt.passes._resize_rule import read_rule
from segrt.passes._rewrite import (
    constant_array,
    nodes_of,
    prune,
    refusal,
    subject_of,
)
from segrt.types import Certificate, Verdict

_PROBE_ELEMENTS = 1 << 16


def _identity(_node: ir.Node) -> ir.Value | None:
    return _node.inputs[0]


def _dropout(node: ir.Node) -> ir.Value | None:
    training = node.inputs[2] if len(node.inputs) > 2 else None
    flag = constant_array(training)
    idle = training is None or (flag is not None and not flag.any())
    return node.inputs[0] if idle else None


def _pad(node: ir.Node) -> ir.Value | None:
    pads = constant_array(node.inputs[1])
    return node.inputs[0] if pads is not None and not pads.any() else None


def _transpose(node: ir.Node) -> ir.Value | None:
    perm = node.attributes.get("perm")
    same = perm is not None and list(perm.as_ints()) == sorted(perm.as_ints())
    return node.inputs[0] if same else None


def _reshape(node: ir.Node) -> ir.Value | None:
    source = node.inputs[0]
    wanted = constant_array(node.inputs[1])
    if source is None or wanted is None or source.shape is None or "allowzero" in node.attributes:
        return None
    before, target = static_shape(source), wanted.tolist()
    if len(before) != len(target):
        return None
    # 0 keeps the input's size; one -1 is what is left over, so it must be the size itself.
    same = [t in (0, b) for t, b in zip(target, before, strict=True)]
    free = [index for index, kept in enumerate(same) if not kept]
    kept_all = not free or (len(free) == 1 and target[free[0]] == -1)
    return source if kept_all else None


def _neutral(number: float, *, commutes: bool) -> Callable[[ir.Node], ir.Value | None]:
    """Return the check for an operator whose constant operand ``number`` changes nothing."""

    def check(node: ir.Node) -> ir.Value | None:
        sides = ((0, 1), (1, 0)) if commutes else ((0, 1),)
        for data, other in sides:
            value, constant = node.inputs[data], constant_array(node.inputs[other])
            if value is None or constant is None or not np.all(constant == number):
                continue
            if value.shape is not None and value.shape == node.outputs[0].shape:
                return value
        return None

    return check


def _resize(node: ir.Node) -> ir.Value | None:
    rule = read_rule(node)
    return node.inputs[0] if rule is not None and set(rule.factors) == {1} else None


_CHECKS: dict[str, Callable[[ir.Node], ir.Value | None]] = {
    "Identity": _identity,
    "Dropout": _dropout,
    "Pad": _pad,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Mul": _neutral(1.0, commutes=True),
    "Div": _neutral(1.0, commutes=False),
    "Add": _neutral(0.0, commutes=True),
    "Sub": _neutral(0.0, commutes=False),
    "Resize": _resize,
}


class RemoveNoops:
    """See the module's docstring."""

    name = "remove_noops"

    def __call__(self, model: ir.Model, _context: PassContext, /) -> Sequence[Verdict]:
        """Remove every no-op."""
        verdicts = []
        for node in nodes_of(model.graph, *_CHECKS):
            source = _CHECKS[node.op_type](node)
            if source is None or any(value.uses() for value in node.outputs[1:]):
                continue
            subject = subject_of(node.outputs[0])
            try:
                reason = _obstacle(source, node.outputs[0])
                certificate = None if reason else _certify(node, source)
            except PassError as error:
                reason, certificate = refusal(error), None
            if certificate is None:
                verdicts.append(Verdict(self.name, subject, False, reason))
                continue
            _remove(node, source)
            reason = f"{node.op_type} returns its input"
            verdicts.append(Verdict(self.name, subject, True, reason, certificate))
        return verdicts


def _obstacle(source: ir.Value, output: ir.Value) -> str:
    """Return why the node must stay, "" if it may go."""
    if not output.is_graph_output():
        return ""
    if source.is_graph_input() or source.is_initializer() or source.is_graph_output():
        return "it makes a graph output of something that has another name outside"
    return ""


def _certify(node: ir.Node, source: ir.Value) -> Certificate:
    """Run the node on an integer ramp of its shape, or of a small one where sizes are free."""
    sizes = [1 + index if size is None else size for index, size in enumerate(static_shape(source))]
    if np.prod(sizes, dtype=object) > _PROBE_ELEMENTS:
        if node.op_type == "Reshape":
            # A reshape keeps the order of elements whatever the shape: equal shapes suffice.
            return Certificate("bit-equal", f"shape {static_shape(source)} is kept", 0.0, 0.0)
        sizes = _shrink(node, sizes)
    array = ramp(tuple(sizes)) - np.float32(3)
    found = evaluate(node.outputs[0], {source: array}, wide=False)
    error = relative_l2(found, array)
    if error != 0.0:
        raise PassError(
            f"{node.op_type} {node.name!r} does not return its input",
            found=f"relative L2 difference {error:.3g}",
        )
    return Certificate("bit-equal", f"integer ramp {'x'.join(map(str, sizes))}", error, 0.0)


def _shrink(node: ir.Node, sizes: list[int]) -> list[int]:
    """Make a probe small, except on axes along which a constant operand has its own size."""
    kept: set[int] = set()
    for value in node.inputs:
        constant = constant_array(value)
        if constant is not None and node.op_type in ("Mul", "Div", "Add", "Sub"):
            first = len(sizes) - constant.ndim
            kept |= {first + axis for axis, size in enumerate(constant.shape) if size > 1}
    return [size if axis in kept else min(size, 3 + axis) for axis, size in enumerate(sizes)]


def _remove(node: ir.Node, source: ir.Value) -> None:
    output = node.outputs[0]
    is_output, name = output.is_graph_output(), output.name
    metadata.same_tags(output, source)
    output.replace_all_uses_with(source, replace_graph_outputs=True)
    output.name = None
    prune(node)
    if is_output:
        # The outside name wins; the inner Keras name stays in the value's tags.
        source.name = name


REGISTRY.register(RemoveNoops.name)(RemoveNoops())
