"""Convolve the parts of a concatenation one by one, and add.

``conv(concat(a, b)) = conv_a(a) + conv_b(b)`` with the kernel cut along its input channels. An
engine that stores channels innermost must copy both parts into a concatenation, while it adds
the second convolution to the first one's result at no cost.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from segrt.errors import PassError
from segrt.graph import metadata
from segrt.graph.builder import static_shape
from segrt.passes._base import REGISTRY, PassContext
from segrt.passes._operators import conv_pads
from segrt.passes._proof import PROBE_SIZES, noise, prove
from segrt.passes._rewrite import (
    Rewriter,
    constant_array,
    nodes_of,
    only_consumer,
    refusal,
    replace,
    subject_of,
)
from segrt.types import Certificate, Verdict

_GONE = "its parts are convolved one by one and added; no value holds them side by side"


class SplitConcat:
    """See the module's docstring."""

    name = "split_concat"

    def __call__(self, model: ir.Model, _context: PassContext, /) -> Sequence[Verdict]:
        """Rewrite every Concat of channels that only a convolution reads."""
        rewriter = Rewriter(model.graph)
        verdicts = []
        for concat in nodes_of(model.graph, "Concat"):
            subject = subject_of(concat.outputs[0])
            conv = only_consumer(concat.outputs[0])
            if conv is None or conv.op_type != "Conv":
                reason = "it is read by something else than one convolution"
                verdicts.append(Verdict(self.name, subject, False, reason))
                continue
            try:
                with rewriter.attempt():
                    certificate = _split(model, rewriter, concat, conv)
            except PassError as error:
                reason = refusal(error)
                verdicts.append(Verdict(self.name, subject, False, reason))
                continue
            reason = f"{len(concat.inputs)} convolutions, added, instead of a copy of its parts"
            verdicts.append(Verdict(self.name, subject, True, reason, certificate))
        return verdicts


def _split(model: ir.Model, rewriter: Rewriter, concat: ir.Node, conv: ir.Node) -> Certificate:
    parts = _parts(concat)
    kernel, weight = constant_array(conv.inputs[1]), conv.inputs[1]
    group = conv.attributes.get("group")
    if kernel is None or weight is None or conv.inputs[0] is not concat.outputs[0]:
        raise PassError("the convolution's kernel is not constant")
    if group is not None and group.as_int() != 1:
        raise PassError("the convolution has groups")
    if conv_pads(conv, kernel.shape[2:]) is None:
        raise PassError("the convolution's padding depends on the image's size")
    rewriter.at(conv)
    total: ir.Value | None = None
    start = 0
    for index, (part, channels) in enumerate(parts):
        piece = rewriter.constant(
            f"{weight.name}:{index}", np.ascontiguousarray(kernel[:, start : start + channels])
        )
        start += channels
        # The bias once, with the first part.
        inputs = [part, piece, *(conv.inputs[2:] if index == 0 else ())]
        found = rewriter.op("Conv", inputs, name=f"{conv.name}:{index}", **conv.attributes)
        if total is not None:
            found = rewriter.op("Add", [found, total], name=f"{conv.name}:sum{index}")
        total = found
    if total is None:
        raise PassError("the concatenation has no parts")
    rewriter.tag(metadata.layer_of(conv), metadata.class_of(conv))
    feeds = {
        part: noise((1, channels, *PROBE_SIZES[:2]), seed)
        for seed, (part, channels) in enumerate(parts)
    }
    certificate = prove(conv.outputs[0], total, feeds, claim="up to rounding", what="float64 probe")
    metadata.dissolve(model, concat.outputs[0], _GONE)
    replace(conv.outputs[0], total)
    return certificate


def _parts(concat: ir.Node) -> list[tuple[ir.Value, int]]:
    """Return what is concatenated along the channels, with the number of channels.

    Raises:
        PassError: Another axis, constants, or an unknown number of channels.
    """
    axis = concat.attributes["axis"].as_int()
    parts: list[tuple[ir.Value, int]] = []
    for value in concat.inputs:
        if value is None or value.const_value is not None or value.shape is None:
            raise PassError("a part is constant or of unknown rank")
        shape = static_shape(value)
        channels = shape[1] if len(shape) == 4 else None
        if axis % len(shape) != 1 or channels is None:
            raise PassError("it does not join known numbers of channels of images")
        parts.append((value, channels))
    if len({value for value, _ in parts}) != len(parts):
        raise PassError("a part occurs twice")
    return parts


REGISTRY.register(SplitConcat.name)(SplitConcat())
