"""What moves elements: concatenations, shuffles, pads, gathers, shapes."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from segrt.targets.trt.readers._base import Reader, reads


@reads("CONCATENATION")
def concatenation(reader: Reader, layer: Any) -> ir.Value:
    """Read a concatenation."""
    inputs = [reader.input(index) for index in range(layer.num_inputs)]
    return reader.op("Concat", inputs, axis=layer.axis)


@reads("SHUFFLE")
def shuffle(reader: Reader, layer: Any) -> ir.Value:
    """Read a transpose, a reshape, a transpose: what of these there is."""
    x = _transposed(reader, reader.input(0), layer.first_transpose)
    target = reader.optional(1)
    if target is None and layer.reshape_dims is not None:
        target = reader.ints(list(layer.reshape_dims))
    if target is not None:
        allow = {} if layer.zero_is_placeholder else {"allowzero": 1}
        # An allowed zero excludes -1 in ONNX; with no zero in it there is nothing to allow.
        known = layer.reshape_dims if reader.optional(1) is None else None
        if known is not None and 0 not in list(known):
            allow = {}
        x = reader.op("Reshape", [x, target], **allow)
    return _transposed(reader, x, layer.second_transpose)


def _transposed(reader: Reader, x: ir.Value, held: Any) -> ir.Value:
    # A permutation is held for eight axes; only those that there are count.
    axes = list(held)[: len(x.shape or ())]
    return x if axes == sorted(axes) else reader.op("Transpose", [x], perm=axes)


@reads("PADDING")
def padding(reader: Reader, layer: Any) -> ir.Value:
    """Read zeros around (or a cut off, where negative) the last two axes."""
    x = reader.input(0)
    rest = [0] * (len(x.shape or ()) - 2)
    pads = [*rest, *layer.pre_padding_nd, *rest, *layer.post_padding_nd]
    return reader.op("Pad", [x, reader.ints(pads)], mode="constant")


@reads("SHAPE")
def shape(reader: Reader, _layer: Any) -> ir.Value:
    """Read the sizes of a tensor."""
    return reader.op("Shape", [reader.input(0)])


@reads("GATHER")
def gather(reader: Reader, layer: Any) -> ir.Value:
    """Read a choice of entries along an axis."""
    mode, inputs = reader.enum(layer.mode), [reader.input(0), reader.input(1)]
    shared = layer.num_elementwise_dims
    if mode == "ND":
        wide = reader.op("Cast", [inputs[1]], to=int(ir.DataType.INT64))
        return reader.op("GatherND", [inputs[0], wide], batch_dims=shared)
    if shared:
        raise reader.refuse(f"{shared} shared axes with gather mode {mode}", "none")
    if mode not in ("DEFAULT", "ELEMENT"):
        raise reader.refuse(f"gather mode {mode}", "DEFAULT, ELEMENT or ND")
    return reader.op("Gather" if mode == "DEFAULT" else "GatherElements", inputs, axis=layer.axis)


@reads("ONE_HOT")
def one_hot(reader: Reader, layer: Any) -> ir.Value:
    """Read one-hot codes; ONNX wants the depth before the values."""
    inputs = [reader.input(0), reader.input(2), reader.input(1)]
    return reader.op("OneHot", inputs, axis=layer.axis)


@reads("SQUEEZE", "UNSQUEEZE")
def change_rank(reader: Reader, layer: Any) -> ir.Value:
    """Read axes of size 1 taken out or put in."""
    squeezes = reader.enum(layer.type) == "SQUEEZE"
    op_type = "Squeeze" if squeezes else "Unsqueeze"
    axes = reader.op("Cast", [reader.input(1)], to=int(ir.DataType.INT64))
    return reader.op(op_type, [reader.input(0), axes])
