"""Treat a sequence as an image one pixel wide, for engines that slide over images only.

TensorRT has no convolution, pooling or resize of N C L. An axis of size 1 behind L, a kernel of
size 1 along it and no padding there change nothing: N C L becomes N C L 1 before the operator, and
N C L again behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from segrt.errors import PassError
from segrt.graph.builder import static_shape
from segrt.passes._base import REGISTRY, PassContext
from segrt.passes._proof import noise, prove
from segrt.passes._rewrite import (
    Rewriter,
    constant_array,
    nodes_of,
    refusal,
    replace,
    subject_of,
)
from segrt.types import Certificate, Verdict

_WEIGHTED = ("Conv", "ConvTranspose")
_POOLS = ("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool")
# Attributes with one number an axis, and the number that has no effect.
_NEUTRAL = {"kernel_shape": 1, "strides": 1, "dilations": 1, "output_padding": 0}
# Positions in a probe beyond those that the kernel spans.
_ROOM = 5


class WidenSequences:
    """See the module's docstring."""

    name = "widen_sequences"

    def __call__(self, model: ir.Model, _context: PassContext, /) -> Sequence[Verdict]:
        """Rewrite every operator that slides over a sequence."""
        rewriter = Rewriter(model.graph)
        verdicts = []
        for node in nodes_of(model.graph, *_WEIGHTED, *_POOLS, "Resize"):
            source = node.inputs[0]
            if source is None or source.shape is None or len(source.shape) != 3:
                continue
            subject = subject_of(node.outputs[0])
            try:
                with rewriter.attempt():
                    certificate = _widen(rewriter, node, source)
            except PassError as error:
                verdicts.append(Verdict(self.name, subject, False, refusal(error)))
                continue
            reason = f"{node.op_type} of an image one pixel wide"
            verdicts.append(Verdict(self.name, subject, True, reason, certificate))
        return verdicts


def _widen(rewriter: Rewriter, node: ir.Node, source: ir.Value) -> Certificate:
    if len(node.outputs) > 1 or "output_shape" in node.attributes or "axes" in node.attributes:
        raise PassError("it has a second output, or sizes or axes of its own")
    channels = static_shape(source)[1]
    if channels is None:
        raise PassError("the number of channels is unknown")
    rewriter.at(node)
    behind = rewriter.ints(f"{node.name}:behind", (3,))
    image = rewriter.op("Unsqueeze", [source, behind], name=f"{node.name}:image")
    inputs = [image, *_further_inputs(rewriter, node)]
    wide = rewriter.op(node.op_type, inputs, name=f"{node.name}:wide", **_attributes(node))
    new = rewriter.op("Squeeze", [wide, behind], name=f"{node.name}:sequence")
    for value in (image, wide, new):
        maker = value.producer()
        if maker is not None:
            maker.metadata_props.update(node.metadata_props)
    probe = noise((1, channels, _reach(node) + _ROOM))
    certificate = prove(
        node.outputs[0], new, {source: probe}, claim="up to rounding", what="float64 probe"
    )
    replace(node.outputs[0], new)
    return certificate


def _further_inputs(rewriter: Rewriter, node: ir.Node) -> list[ir.Value | None]:
    """Return the inputs behind the first one, with an axis more.

    Raises:
        PassError: One that needs it is not constant, or a Resize is not given by scales.
    """
    rest = list(node.inputs[1:])
    index = {"Resize": 1}.get(node.op_type, 0 if node.op_type in _WEIGHTED else None)
    if index is None:
        return rest
    value = rest[index] if len(rest) > index else None
    array = constant_array(value)
    sized = node.op_type == "Resize" and len(rest) > 2 and rest[2] is not None
    if value is None or array is None or sized:
        raise PassError("its weights or scales are not constant")
    wide = np.append(array, np.float32(1)) if node.op_type == "Resize" else array[..., None]
    rest[index] = rewriter.constant(f"{value.name}:wide", wide)
    return rest


def _attributes(node: ir.Node) -> Mapping[str, ir.Attr]:
    found = dict(node.attributes)
    for name, neutral in _NEUTRAL.items():
        if name in found:
            found[name] = ir.AttrInt64s(name, [*found[name].as_ints(), neutral])
    if "pads" in found:
        before, after = found["pads"].as_ints()
        found["pads"] = ir.AttrInt64s("pads", [before, 0, after, 0])
    return found


def _reach(node: ir.Node) -> int:
    """Return how many positions the operator's kernel spans."""
    weight = node.inputs[1] if node.op_type in _WEIGHTED else None
    taps = static_shape(weight)[2] if weight is not None and weight.shape is not None else None
    if "kernel_shape" in node.attributes:
        taps = node.attributes["kernel_shape"].as_ints()[0]
    step = node.attributes["dilations"].as_ints()[0] if "dilations" in node.attributes else 1
    return ((taps or 1) - 1) * step + 1


REGISTRY.register(WidenSequences.name)(WidenSequences())
