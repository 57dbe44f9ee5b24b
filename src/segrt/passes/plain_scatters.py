"""Overwrite instead of adding up where a scatter's places differ, as those of pooled maxima do.

An unpooling puts every maximum back where its window had it and adds up what meets. Windows that
do not overlap have no maximum in common, so nothing meets, and adding to zeros is overwriting.
Engines that can only overwrite then take it.

That the way from the pool's places to the scatter's keeps different places apart is tried out:
with every place that there is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from segrt.errors import PassError
from segrt.graph.builder import static_shape
from segrt.passes._base import REGISTRY, PassContext
from segrt.passes._evaluate import evaluate
from segrt.passes._rewrite import constant_array, nodes_of, refusal, subject_of
from segrt.types import Certificate, Verdict

# What may lie between a pool's places and a scatter's: one place in, one place out, in order.
_BETWEEN = (
    "Add", "Cast", "Div", "Flatten", "Identity", "Mod", "Mul", "Reshape", "Squeeze", "Sub",
    "Transpose", "Unsqueeze",
)  # fmt: skip
# Places beyond this are not tried out.
_MOST_PLACES = 1 << 26


class PlainScatters:
    """See the module's docstring."""

    name = "plain_scatters"

    def __call__(self, model: ir.Model, _context: PassContext, /) -> Sequence[Verdict]:
        """Rewrite every ScatterElements that adds up nothing."""
        verdicts = []
        for scatter in nodes_of(model.graph, "ScatterElements"):
            if scatter.attributes.get_string("reduction", "none") != "add":
                continue
            subject = subject_of(scatter.outputs[0])
            try:
                certificate = _check_apart(scatter)
            except PassError as error:
                verdicts.append(Verdict(self.name, subject, False, refusal(error)))
                continue
            scatter.attributes.pop("reduction")
            reason = "no two places are the same, so nothing is added up"
            verdicts.append(Verdict(self.name, subject, True, reason, certificate))
        return verdicts


def _check_apart(scatter: ir.Node) -> Certificate:
    """Certify that no place of a scatter comes twice, and that it begins with zeros.

    Raises:
        PassError: It may, or it does not.
    """
    if not _is_zero(scatter.inputs[0]):
        raise PassError("what it adds to is not zero")
    places = scatter.inputs[1]
    found = _pool_of(places)
    if places is None or found is None:
        raise PassError("its places are not those of a pool's maxima")
    source = found.inputs[0]
    shape = static_shape(source) if source is not None and source.shape is not None else (None,)
    sizes = [size or 0 for size in shape[1:]]
    if 0 in sizes or np.prod(sizes) > _MOST_PLACES:
        raise PassError("the image's size is not fixed, or very large")
    every = np.arange(np.prod(sizes), dtype=np.int64).reshape(1, *sizes)
    axis = scatter.attributes.get_int("axis", 0)
    reached = np.moveaxis(evaluate(places, {found.outputs[1]: every}, wide=False), axis, -1)
    reached = np.sort(reached.reshape(-1, reached.shape[-1]), axis=-1)
    meeting = int((np.diff(reached, axis=-1) == 0).sum())
    if meeting:
        raise PassError("different places of maxima become the same", found=f"{meeting} of them")
    return Certificate("bit-equal", f"every place, {'x'.join(map(str, sizes))}", 0.0, 0.0)


def _is_zero(value: ir.Value | None) -> bool:
    """Say whether a value is nothing but zeros: a constant, or one broadcast."""
    node = value.producer() if value is not None else None
    if node is not None and node.op_type == "Expand":
        value = node.inputs[0]
    array = constant_array(value)
    return array is not None and not array.any()


def _pool_of(value: ir.Value | None) -> ir.Node | None:
    """Return the pool of windows apart whose places a value is computed from alone."""
    while value is not None:
        node = value.producer()
        if node is None:
            return None
        if node.op_type == "MaxPool" and value is node.outputs[1]:
            kernel = node.attributes.get_ints("kernel_shape", ())
            strides = node.attributes.get_ints("strides", [1] * len(kernel))
            dilated = any(step != 1 for step in node.attributes.get_ints("dilations", ()))
            apart = all(taps <= step for taps, step in zip(kernel, strides, strict=True))
            return node if apart and not dilated else None
        others = [item for item in node.inputs if constant_array(item) is None]
        if node.op_type not in _BETWEEN or len(others) != 1:
            return None
        value = others[0]
    return None


REGISTRY.register(PlainScatters.name)(PlainScatters())
