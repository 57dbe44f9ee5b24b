"""Write a sigmoid as ``1 / (1 + exp(-x))``, for an engine whose own gives up on small results.

ONNX Runtime (1.31) clips the argument at -18 and approximates by a ratio of polynomials: right to
1e-7 of 1, whatever the result. Below -10 that is 1e-3 of the result and more, below -18 all of it.
A mask, or a gate, that says "nowhere here" consists of such numbers alone, and compared with what
Keras computes it is wrong. Exponential and quotient are right to a few units in the last place
down to -87, where float32 ends; measured in docs/lab/LOG.md.

``x * sigmoid(x)`` is left alone: there the clipped sigmoids add nothing to what larger ``x`` give.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from segrt.errors import PassError
from segrt.graph import metadata
from segrt.passes._base import REGISTRY, PassContext
from segrt.passes._proof import prove
from segrt.passes._rewrite import Rewriter, nodes_of, refusal, replace, subject_of
from segrt.types import Certificate, Verdict

# From where float32 ends to where the result is 1; each is proven alone, so that the small results
# count as much as the large ones.
_PROBE = (-87.0, -40.0, -20.0, -12.0, -1.0, 0.5, 9.0)


class ExactSigmoid:
    """See the module's docstring."""

    name = "exact_sigmoid"

    def __call__(self, model: ir.Model, _context: PassContext, /) -> Sequence[Verdict]:
        """Rewrite every Sigmoid but those of x * sigmoid(x)."""
        rewriter = Rewriter(model.graph)
        verdicts = []
        for node in nodes_of(model.graph, "Sigmoid"):
            source = node.inputs[0]
            if source is None or _weighs(node, source):
                continue
            subject = subject_of(node.outputs[0])
            try:
                with rewriter.attempt():
                    certificate = _write_out(rewriter, node, source)
            except PassError as error:
                verdicts.append(Verdict(self.name, subject, False, refusal(error)))
                continue
            reason = "1 / (1 + exp(-x)), whose small results are right, too"
            verdicts.append(Verdict(self.name, subject, True, reason, certificate))
        return verdicts


def _weighs(node: ir.Node, source: ir.Value) -> bool:
    """Say whether all that the result does is to weigh its own argument."""
    value = node.outputs[0]
    uses = list(value.uses())
    return (
        bool(uses)
        and not value.is_graph_output()
        and all(use.node.op_type == "Mul" and source in use.node.inputs for use in uses)
    )


def _write_out(rewriter: Rewriter, node: ir.Node, source: ir.Value) -> Certificate:
    if source.dtype not in (ir.DataType.FLOAT, None):
        raise PassError("it computes in another type", found=str(source.dtype))
    rewriter.at(node)
    one = rewriter.constant(f"{node.name}:one", np.float32(1))
    turned = rewriter.op("Neg", [source], name=f"{node.name}:negative")
    power = rewriter.op("Exp", [turned], name=f"{node.name}:power")
    whole = rewriter.op("Add", [power, one], name=f"{node.name}:whole")
    result = rewriter.op("Div", [one, whole], name=f"{node.name}:quotient")
    rewriter.tag(metadata.layer_of(node), metadata.class_of(node))
    certificates = [
        prove(
            node.outputs[0],
            result,
            {source: np.array([number], np.float32)},
            claim="up to rounding",
            what=f"float64 probe at {number:g}",
        )
        for number in _PROBE
    ]
    replace(node.outputs[0], result)
    return max(certificates, key=lambda certificate: certificate.error)


REGISTRY.register(ExactSigmoid.name)(ExactSigmoid())
