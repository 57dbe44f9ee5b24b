"""Move an activation before the pixel shuffle that follows a convolution.

An activation works on each number alone, so it may run before numbers are only moved. Beside the
convolution engines compute it for free; behind the shuffle it costs a walk through memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from segrt.errors import PassError
from segrt.graph import metadata
from segrt.graph.builder import static_shape
from segrt.passes._base import REGISTRY, PassContext
from segrt.passes._proof import prove, ramp
from segrt.passes._rewrite import (
    Rewriter,
    nodes_of,
    only_consumer,
    refusal,
    replace,
    subject_of,
)
from segrt.types import Certificate, Verdict

_ACTIVATIONS = [
    "Clip",
    "Elu",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Mish",
    "Relu",
    "Selu",
    "Sigmoid",
    "Softplus",
    "Softsign",
    "Tanh",
]
_MOVES = ("DepthToSpace", "Slice")


class HoistActivations:
    """See the module's docstring."""

    name = "hoist_activations"

    def __call__(self, model: ir.Model, _context: PassContext, /) -> Sequence[Verdict]:
        """Move every activation that directly follows a shuffled convolution."""
        rewriter = Rewriter(model.graph)
        verdicts = []
        for node in nodes_of(model.graph, *_ACTIVATIONS):
            chain = _chain(node)
            if not chain:
                continue
            subject = subject_of(node.outputs[0])
            carried = metadata.keras_name(chain[-1].outputs[0])
            if carried or metadata.recoveries(chain[-1].outputs[0]):
                reason = "the value before the activation is a layer's own, to be compared"
                verdicts.append(Verdict(self.name, subject, False, reason))
                continue
            try:
                with rewriter.attempt():
                    certificate = _move(rewriter, node, chain)
            except PassError as error:
                reason = refusal(error)
                verdicts.append(Verdict(self.name, subject, False, reason))
                continue
            reason = f"{node.op_type} moved before the pixel shuffle, to its convolution"
            verdicts.append(Verdict(self.name, subject, True, reason, certificate))
        return verdicts


def _chain(node: ir.Node) -> list[ir.Node]:
    """Return the shuffle, and a crop, between a Conv and the activation; [] if there is none."""
    chain: list[ir.Node] = []
    value, reader = node.inputs[0], node
    while value is not None and only_consumer(value) is reader:
        producer = value.producer()
        if producer is None:
            return []
        if producer.op_type not in _MOVES:
            return chain[::-1] if producer.op_type == "Conv" else []
        chain.append(producer)
        value, reader = producer.inputs[0], producer
    return []


def _move(rewriter: Rewriter, node: ir.Node, chain: list[ir.Node]) -> Certificate:
    source = chain[0].inputs[0]
    channels = None if source is None else static_shape(source)[1]
    if source is None or channels is None:
        raise PassError("the number of channels is unknown")
    rewriter.at(node)
    value = rewriter.op(
        node.op_type, [source, *node.inputs[1:]], name=f"{node.name}:small", **node.attributes
    )
    _copy_tags(node, value)
    for step in chain:
        inputs = [value, *step.inputs[1:]]
        value = rewriter.op(step.op_type, inputs, name=f"{step.name}:moved", **step.attributes)
        _copy_tags(step, value)
    # Both signs, and no two numbers alike.
    probe = (ramp((1, channels, 3, 4)) - channels * 6) / channels
    certificate = prove(
        node.outputs[0], value, {source: probe}, claim="bit-equal", what="both signs"
    )
    replace(node.outputs[0], value)
    return certificate


def _copy_tags(old: ir.Node, new: ir.Value) -> None:
    maker = new.producer()
    if maker is not None:
        maker.metadata_props.update(old.metadata_props)


REGISTRY.register(HoistActivations.name)(HoistActivations())
