"""A graph as ONNX bytes, its weights as they lie in memory.

Protocol buffers would copy every weight twice, into a message and from there into the bytes. Here
only the graph without its weights goes that way; the weights follow as views of their arrays. The
order of fields in a message is free, so what comes out is an ONNX file like any other.
(https://protobuf.dev/programming-guides/encoding/ for tags and lengths, onnx.proto for numbers.)
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnx_ir as ir

# A piece of the file. Views keep their arrays alive.
Piece: TypeAlias = bytes | memoryview
_Tensor: TypeAlias = "ir.Tensor[Any]"

LARGEST = 2**31 - 1
_GRAPH = onnx.ModelProto.GRAPH_FIELD_NUMBER
_INITIALIZER = onnx.GraphProto.INITIALIZER_FIELD_NUMBER
_RAW_DATA = onnx.TensorProto.RAW_DATA_FIELD_NUMBER
_WITH_LENGTH = 2
_NOTHING = ir.Tensor(np.empty(0, np.uint8))


def onnx_pieces(model: ir.Model) -> list[Piece]:
    """Return the pieces that make the file, in order; the weights are views, not copies.

    Args:
        model: Not changed; several threads may write graphs that share weights.

    Raises:
        ValueError: It is larger than the 2 GiB that protocol buffers allow.
    """
    proto, tensors = _without_weights(model)
    weights: list[Piece] = []
    for header, tensor in zip(proto.graph.initializer, tensors, strict=True):
        weights += _initializer(header, tensor)
    proto.graph.ClearField("initializer")
    graph = [proto.graph.SerializeToString(), *weights]
    proto.ClearField("graph")
    pieces = [proto.SerializeToString(), *_field(_GRAPH, graph)]
    size = sum(map(len, pieces))
    if size > LARGEST:
        raise ValueError(f"{size} bytes, more than the 2 GiB of one message")
    return pieces


def write_onnx(model: ir.Model, path: Path) -> None:
    """Write the graph as one file, weights inside.

    Raises:
        ValueError: See `onnx_pieces`.
        OSError: The file cannot be written.
    """
    pieces = onnx_pieces(model)
    with path.open("wb") as stream:
        stream.writelines(pieces)


def _without_weights(model: ir.Model) -> tuple[onnx.ModelProto, list[_Tensor | None]]:
    """Return the message without the content of its weights, and the weights in their order.

    Weights that are no plain arrays (those of files, texts) stay in the message: None in the list.
    """
    copy = model.clone()
    tensors: list[_Tensor | None] = []
    for value in copy.graph.initializers.values():
        tensor = value.const_value
        if tensor is None:
            continue  # not serialised
        # Exactly this class: those derived from it may write themselves otherwise.
        plain = tensor if isinstance(tensor, ir.Tensor) and type(tensor) is ir.Tensor else None
        tensors.append(plain)
        if plain is not None:
            value.const_value = _hollow(plain)
    return ir.to_proto(copy), tensors


def _hollow(tensor: _Tensor) -> ir.LazyTensor:
    """Return what is serialised like ``tensor``, but without its content."""
    return ir.LazyTensor(
        lambda: _NOTHING,
        tensor.dtype,
        tensor.shape,
        doc_string=tensor.doc_string,
        metadata_props=dict(tensor.metadata_props),
    )


def _initializer(header: onnx.TensorProto, tensor: _Tensor | None) -> list[Piece]:
    if tensor is None:
        return _field(_INITIALIZER, [header.SerializeToString()])
    header.ClearField("raw_data")
    raw = _field(_RAW_DATA, [_raw(tensor)])
    return _field(_INITIALIZER, [header.SerializeToString(), *raw])


def _raw(tensor: _Tensor) -> Piece:
    """Return the content as ONNX wants it: C order, little-endian, four bits packed."""
    array = tensor.numpy()
    whole_bytes = array.dtype.itemsize * 8 == tensor.dtype.bitwidth
    as_it_lies = array.flags.c_contiguous and array.dtype.isnative and sys.byteorder == "little"
    if whole_bytes and as_it_lies and array.size:
        return array.reshape(-1).view(np.uint8).data
    return tensor.tobytes()


def _field(number: int, content: Sequence[Piece]) -> list[Piece]:
    """Return a field of the kind that says how long it is."""
    head = _varint(number << 3 | _WITH_LENGTH) + _varint(sum(map(len, content)))
    return [head, *content]


def _varint(number: int) -> bytes:
    """Seven bits a byte, lowest first; the top bit says that more follow."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
