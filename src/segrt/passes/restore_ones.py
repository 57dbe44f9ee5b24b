"""Turn a transposed convolution with ones into the nearest Resize that it is.

A kernel as large as its stride, one for each channel and zero between channels, copies each pixel
into a block. People write it by hand, and older converters do, where an engine has no Resize.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from segrt.errors import PassError
from segrt.graph import metadata
from segrt.passes._base import REGISTRY, PassContext
from segrt.passes._proof import prove, ramp
from segrt.passes._rewrite import (
    Rewriter,
    constant_array,
    nodes_of,
    refusal,
    replace,
    subject_of,
)
from segrt.types import Certificate, Verdict

_PROBE = (5, 4)


class RestoreOnes:
    """See the module's docstring."""

    name = "restore_ones"

    def __call__(self, model: ir.Model, _context: PassContext, /) -> Sequence[Verdict]:
        """Restore every transposed convolution that only copies."""
        rewriter = Rewriter(model.graph)
        verdicts = []
        for node in nodes_of(model.graph, "ConvTranspose"):
            factors = _copies(node)
            if factors is None:
                continue
            subject = subject_of(node.outputs[0])
            try:
                with rewriter.attempt():
                    new, certificate = _build(rewriter, node, factors)
            except PassError as error:
                verdicts.append(Verdict(self.name, subject, False, refusal(error)))
                continue
            replace(node.outputs[0], new)
            reason = f"ones, kernel = stride = {factors[0]}x{factors[1]}: one nearest Resize"
            verdicts.append(Verdict(self.name, subject, True, reason, certificate))
        return verdicts


def _ints(node: ir.Node, name: str, default: list[int]) -> list[int]:
    attribute = node.attributes.get(name)
    return default if attribute is None else list(attribute.as_ints())


def _copies(node: ir.Node) -> tuple[int, int] | None:
    """Return the factors of a transposed convolution that copies pixels, None for any other."""
    weight = constant_array(node.inputs[1])
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    added = constant_array(bias)
    if weight is None or weight.ndim != 4 or (bias is not None and (added is None or added.any())):
        return None
    groups = node.attributes["group"].as_int() if "group" in node.attributes else 1
    kernel = list(weight.shape[2:])
    idle = not any(_ints(node, "pads", [0])) and not any(_ints(node, "output_padding", [0]))
    plain = "auto_pad" not in node.attributes or node.attributes["auto_pad"].as_string() in (
        "NOTSET", "VALID",
    )  # fmt: skip
    fits = _ints(node, "strides", [1, 1]) == kernel and max(kernel) > 1
    if not (idle and plain and fits) or _ints(node, "dilations", [1, 1]) != [1, 1]:
        return None
    channels = weight.shape[0]
    if groups == channels and weight.shape[1] == 1:
        copies = bool(np.all(weight == 1))
    else:
        wanted = np.eye(channels, weight.shape[1], dtype=weight.dtype)[:, :, None, None]
        square = groups == 1 and weight.shape[1] == channels
        copies = square and bool(np.all(weight == wanted))
    return (kernel[0], kernel[1]) if copies else None


def _build(
    rewriter: Rewriter, node: ir.Node, factors: tuple[int, int]
) -> tuple[ir.Value, Certificate]:
    source = node.inputs[0]
    weight = constant_array(node.inputs[1])
    if source is None or weight is None:
        raise PassError("it has no input or no weights")
    layer = subject_of(node.outputs[0])
    rewriter.at(node)
    scales = rewriter.constant(f"{layer}:scales", np.asarray([1, 1, *factors], dtype=np.float32))
    new = rewriter.op(
        "Resize",
        [source, None, scales],
        name=f"{layer}:resize",
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    rewriter.tag(metadata.layer_of(node), metadata.class_of(node))
    probe = ramp((1, weight.shape[0], *_PROBE))
    what = "integer ramp"
    old = node.outputs[0]
    return new, prove(old, new, {source: probe}, claim="bit-equal", what=what)


REGISTRY.register(RestoreOnes.name)(RestoreOnes())
