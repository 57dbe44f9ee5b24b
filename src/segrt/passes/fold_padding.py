"""Let a convolution (or a pooling that cannot see the difference) do the zero padding before it.

A convolution pads with zeros itself, so a Pad with zeros is a sum of pads. Max pooling pads with
minus infinity and average pooling does not count its own padding: there the Pad stays, except
before max pooling of values that are never negative, where a zero never wins over a real pixel.
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

_NEVER_NEGATIVE = ("Relu", "Sigmoid", "Softmax", "Abs", "Exp", "Softplus", "HardSigmoid")


class FoldPadding:
    """See the module's docstring."""

    name = "fold_padding"

    def __call__(self, model: ir.Model, _context: PassContext, /) -> Sequence[Verdict]:
        """Fold every Pad that folds into all of its readers."""
        rewriter = Rewriter(model.graph)
        verdicts = []
        for node in nodes_of(model.graph, "Pad"):
            subject = subject_of(node.outputs[0])
            try:
                certificate = _fold(model, rewriter, node)
            except PassError as error:
                reason = refusal(error)
                verdicts.append(Verdict(self.name, subject, False, reason))
                continue
            reason = "the operator behind it pads with the same zeros"
            verdicts.append(Verdict(self.name, subject, True, reason, certificate))
        return verdicts


def _fold(model: ir.Model, rewriter: Rewriter, node: ir.Node) -> Certificate:
    source, padded = node.inputs[0], node.outputs[0]
    begins, ends = _spatial_pads(node)
    readers = [use.node for use in padded.uses()]
    if source is None or padded.is_graph_output() or not readers:
        raise PassError("the padded value is an output of the graph")
    plans = [(reader, _merged_pads(reader, padded, source, begins, ends)) for reader in readers]
    made: list[tuple[ir.Node, ir.Value]] = []
    certificates = []
    rewriter.at(readers[0])
    with rewriter.attempt():
        for reader, pads in plans:
            new = _with_pads(rewriter, reader, source, pads)
            made.append((reader, new))
            certificates.append(_certify(reader, new, source))
    metadata.dissolve(model, padded, "its zeros are now the padding of the operator behind it")
    for reader, new in made:
        replace(reader.outputs[0], new)
    return max(certificates, key=lambda certificate: certificate.error)


def _spatial_pads(node: ir.Node) -> tuple[list[int], list[int]]:
    """Return the pads of the spatial axes; refuse anything but zeros put around them."""
    mode = node.attributes.get("mode")
    if mode is not None and mode.as_string() != "constant":
        raise PassError(f"its mode is {mode.as_string()}, a convolution pads with zeros")
    fill = node.inputs[2] if len(node.inputs) > 2 else None
    number = constant_array(fill)
    if fill is not None and (number is None or np.any(number != 0)):
        raise PassError("it does not pad with zeros")
    pads = constant_array(node.inputs[1])
    axes = node.inputs[3] if len(node.inputs) > 3 else None
    source = node.inputs[0]
    if pads is None or source is None or source.shape is None or len(source.shape) < 3:
        raise PassError("its pads are not constant, or the tensor has no spatial axes")
    axis_array = constant_array(axes)
    if axes is not None and axis_array is None:
        raise PassError("its axes are not constant")
    rank = len(source.shape)
    chosen = list(range(rank)) if axis_array is None else [int(a) % rank for a in axis_array]
    full = np.zeros((2, rank), dtype=np.int64)
    full[:, chosen] = pads.reshape(2, -1)
    if full[:, :2].any() or (full < 0).any():
        raise PassError("it pads batch or channels, or crops")
    return full[0, 2:].tolist(), full[1, 2:].tolist()


def _merged_pads(
    reader: ir.Node, padded: ir.Value, source: ir.Value, begins: list[int], ends: list[int]
) -> list[int]:
    if reader.op_type == "Conv" and reader.inputs[0] is padded:
        weight = reader.inputs[1]
        kernel = None if weight is None or weight.shape is None else static_shape(weight)[2:]
        mode = reader.attributes.get("auto_pad")
        automatic = mode is not None and mode.as_string() not in ("NOTSET", "VALID")
        if kernel is None or None in kernel or automatic:
            raise PassError("the convolution behind it chooses its own padding")
        own = conv_pads(reader, tuple(size or 1 for size in kernel)) or [0] * (2 * len(kernel))
    elif reader.op_type == "MaxPool":
        own = _max_pool_pads(reader, source, begins, ends)
    elif reader.op_type == "AveragePool":
        raise PassError("average pooling counts these zeros, but not its own padding")
    else:
        raise PassError(f"{reader.op_type} behind it has no padding of its own")
    return [a + b for a, b in zip(own, [*begins, *ends], strict=True)]


def _max_pool_pads(
    reader: ir.Node, source: ir.Value, begins: list[int], ends: list[int]
) -> list[int]:
    producer = source.producer()
    if producer is None or producer.op_type not in _NEVER_NEGATIVE:
        raise PassError("max pooling pads with minus infinity, and negative values may occur")
    mode = reader.attributes.get("auto_pad")
    rounds_up = reader.attributes.get("ceil_mode")
    pads = reader.attributes.get("pads")
    if (mode is not None and mode.as_string() not in ("NOTSET", "VALID")) or (
        rounds_up is not None and rounds_up.as_int()
    ):
        raise PassError("the max pooling behind it chooses its own padding")
    if len(reader.outputs) > 1 or "dilations" in reader.attributes:
        raise PassError("the max pooling behind it has dilations or a second output")
    kernel = list(reader.attributes["kernel_shape"].as_ints())
    spatial = len(kernel)
    own = [0] * (2 * spatial) if pads is None else list(pads.as_ints())
    for size, *amounts in zip(kernel, begins, ends, own[:spatial], own[spatial:], strict=True):
        if max(amounts[0] + amounts[2], amounts[1] + amounts[3]) >= size:
            raise PassError("a whole window of the max pooling would lie in the padding")
    return own


def _with_pads(rewriter: Rewriter, reader: ir.Node, source: ir.Value, pads: list[int]) -> ir.Value:
    attributes = {
        key: attribute
        for key, attribute in reader.attributes.items()
        if key not in ("pads", "auto_pad")
    }
    inputs = [source, *reader.inputs[1:]]
    new = rewriter.op(reader.op_type, inputs, name=f"{reader.name}:padded", pads=pads, **attributes)
    node = new.producer()
    if node is not None:
        node.metadata_props.update(reader.metadata_props)
    return new


def _certify(reader: ir.Node, new: ir.Value, source: ir.Value) -> Certificate:
    weight = reader.inputs[1] if len(reader.inputs) > 1 else None
    _, channels, *sizes = static_shape(source)
    extent = [7 + 2 * axis for axis in range(len(sizes))]
    if reader.op_type == "Conv" and weight is not None and weight.shape is not None:
        dilations = reader.attributes.get("dilations")
        kernel = [size or 1 for size in static_shape(weight)[2:]]
        spread = [1] * len(kernel) if dilations is None else list(dilations.as_ints())
        taps = enumerate(zip(kernel, spread, strict=True), start=3)
        extent = [(size - 1) * step + extra for extra, (size, step) in taps]
    else:
        channels = 2
    if channels is None:
        raise PassError("the number of channels is unknown")
    array = noise((1, channels, *extent))
    if reader.op_type == "MaxPool":
        array = np.maximum(array, 0)  # what the check relies on: nothing is negative
    return prove(
        reader.outputs[0], new, {source: array}, claim="up to rounding", what="float64 probe"
    )


REGISTRY.register(FoldPadding.name)(FoldPadding())
