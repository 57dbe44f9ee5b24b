"""Reading an ONNX file: bounded, nothing outside its folder, nothing but ONNX' own operators."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path, PurePosixPath

import onnx
import onnx_ir as ir
from onnx import inliner

from segrt.errors import ModelFileError, UnsafeFileError, UnsupportedLayerError
from segrt.importers._random import inference_hint

# Protocol buffers cannot be larger.
_MOST_BYTES = 2**31 - 1
_MOST_WEIGHT_BYTES = 64 << 30
OLDEST_OPSET, NEWEST_OPSET = 7, 24
# Bits an element takes, by ONNX' numbers for types; text (8) has no fixed size.
_PACKED_BITS = {21: 4, 22: 4, 23: 4}
_TEXT = onnx.TensorProto.STRING
_OWN_DOMAINS = ("", "ai.onnx")


def read_proto(path: Path) -> tuple[onnx.ModelProto, tuple[Path, ...]]:
    """Read and check a file; nothing beside it is opened yet.

    Returns:
        The model, its own functions inlined, and the files beside it that hold weights.

    Raises:
        ModelFileError: No ONNX model, or a damaged one.
        UnsafeFileError: It points outside its folder, or declares more than there is.
        UnsupportedLayerError: Operators that are not ONNX' own; all are listed.
    """
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise ModelFileError(f"{path.name} is too large for ONNX", found=f"{size} bytes")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(path.read_bytes())
    except Exception as error:
        # protobuf's DecodeError has no stable import path across its backends.
        if type(error).__name__ != "DecodeError":
            raise
        raise _damaged(path, str(error)) from error
    if not proto.HasField("graph") or not proto.opset_import:
        raise _damaged(path, "no graph, or no opset")
    files = _check_tensors(proto, path)
    if proto.functions:
        proto = inliner.inline_local_functions(proto)
    _check_operators(proto, path)
    return proto, files


def to_model(proto: onnx.ModelProto, path: Path) -> ir.Model:
    """Turn a checked model into a graph, weights beside the file included.

    Raises:
        ModelFileError: The model contradicts itself, or does not say what its inputs are.
    """
    _settle_ends(proto.graph, path)
    try:
        model = ir.from_proto(proto)
        ir.external_data.set_base_dir(model.graph, path.parent)
        return ir.external_data.load_to_model(model)
    except (ValueError, KeyError, TypeError, OSError, RuntimeError) as error:
        raise _damaged(path, str(error)) from error


def _settle_ends(graph: onnx.GraphProto, path: Path) -> None:
    """Refuse inputs of unknown rank; let an output that is an input be of the same shape."""
    constants = {tensor.name for tensor in graph.initializer}
    inputs = {value.name: value.type for value in graph.input if value.name not in constants}
    for name, kind in inputs.items():
        if kind.HasField("tensor_type") and not kind.tensor_type.HasField("shape"):
            raise ModelFileError(
                f"{path.name} does not say how many axes its input {name!r} has",
                hint="export it with a shape; sizes may be free",
            )
    for value in graph.output:
        if value.name in inputs:
            value.type.CopyFrom(inputs[value.name])


def _damaged(path: Path, found: str) -> ModelFileError:
    return ModelFileError(
        f"{path.name} cannot be read as ONNX: it is damaged or truncated",
        found=found[:200],
        hint="copy or export the file again",
    )


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                if inner.node or inner.output:
                    yield from _graphs(inner)


def _tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    for graph in _graphs(proto.graph):
        yield from graph.initializer
        for node in graph.node:
            yield from _attribute_tensors(node)
    for function in proto.functions:
        for node in function.node:
            yield from _attribute_tensors(node)


def _attribute_tensors(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors


def _check_tensors(proto: onnx.ModelProto, path: Path) -> tuple[Path, ...]:
    files: dict[Path, None] = {}
    total = 0
    if proto.graph.sparse_initializer:
        raise ModelFileError(f"{path.name} has sparse weights", hint="export them dense")
    for tensor in _tensors(proto):
        if any(size < 0 for size in tensor.dims):
            raise _damaged(path, f"{tensor.name!r} has a negative size: {list(tensor.dims)}")
        if tensor.data_type == _TEXT:
            continue
        wanted = _bytes(tensor, path)
        total += wanted
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            files[_external_file(tensor, wanted, path)] = None
        elif tensor.HasField("raw_data") and len(tensor.raw_data) != wanted:
            found = f"{len(tensor.raw_data)} bytes"
            raise _wrong_size(tensor, path, found, f"{wanted} bytes for {list(tensor.dims)}")
        elif not tensor.HasField("raw_data"):
            _check_fields(tensor, path)
    if total > _MOST_WEIGHT_BYTES:
        raise UnsafeFileError(f"{path.name} declares {total} bytes of weights")
    return tuple(files)


def _bytes(tensor: onnx.TensorProto, path: Path) -> int:
    count: int = prod(tensor.dims)
    if tensor.data_type in _PACKED_BITS:
        return (count * _PACKED_BITS[tensor.data_type] + 7) // 8
    try:
        return count * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"{tensor.name!r} has type {tensor.data_type}") from error


def _check_fields(tensor: onnx.TensorProto, path: Path) -> None:
    held = [
        len(getattr(tensor, name))
        for name in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")
    ]
    count = prod(tensor.dims)
    # Complex numbers take two entries, packed small ones share one.
    if max(held) < count and tensor.data_type not in _PACKED_BITS:
        found, wanted = f"{max(held)} numbers", f"{count} for {list(tensor.dims)}"
        raise _wrong_size(tensor, path, found, wanted)


def _wrong_size(tensor: onnx.TensorProto, path: Path, found: str, wanted: str) -> UnsafeFileError:
    return UnsafeFileError(
        f"{path.name}: tensor {tensor.name!r} does not hold what it declares",
        found=found,
        wanted=wanted,
    )


def _external_file(tensor: onnx.TensorProto, wanted: int, path: Path) -> Path:
    """Return the file beside ``path`` that holds a tensor; its size is checked, not its content."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    parts = PurePosixPath(location).parts
    outside = not parts or location.startswith(("/", "\\")) or ":" in location or "\\" in location
    if outside or ".." in parts:
        raise UnsafeFileError(
            f"{path.name}: tensor {tensor.name!r} lies outside the model's folder",
            found=repr(location)[:120],
            wanted="a plain file beside the model",
        )
    current = path.parent
    for part in parts:
        current = current / part
        if current.is_symlink():
            raise UnsafeFileError(
                f"{path.name}: weights behind a link are not read", found=repr(location)[:120]
            )
    if not current.is_file():
        raise ModelFileError(
            f"{path.name} keeps weights in a file that is not there",
            found=repr(location)[:120],
            hint="copy it beside the model",
        )
    try:
        offset = int(entries.get("offset") or 0)
        length = int(entries.get("length") or wanted)
    except ValueError as error:
        raise _damaged(path, f"tensor {tensor.name!r}: {error}") from error
    if length != wanted or offset < 0 or offset + length > current.stat().st_size:
        raise _wrong_size(
            tensor, path, f"{length} bytes at {offset} of {location}", f"{wanted} bytes"
        )
    return current


def _check_operators(proto: onnx.ModelProto, path: Path) -> None:
    opset = opset_of(proto)
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise ModelFileError(
            f"{path.name} is of ONNX opset {opset}",
            wanted=f"{OLDEST_OPSET} to {NEWEST_OPSET}",
            hint="export it again, with opset 18",
        )
    unknown = [
        (node.name or "/".join(node.output), f"{node.domain}.{node.op_type}".lstrip("."))
        for graph in _graphs(proto.graph)
        for node in graph.node
        if node.domain not in _OWN_DOMAINS or not onnx.defs.has(node.op_type, opset)
    ]
    if unknown:
        rows = "".join(f"\n  {name}: {kind}" for name, kind in unknown)
        raise UnsupportedLayerError(
            f"{path.name}: {len(unknown)} nodes are not operators of ONNX opset {opset}:{rows}",
            unknown,
            hint=inference_hint(kind for _, kind in unknown)
            or "export with a newer opset (18), or load the Keras file itself",
        )


def opset_of(proto: onnx.ModelProto) -> int:
    """Return the opset of ONNX' own domain, 0 if the file names none."""
    found = [entry.version for entry in proto.opset_import if entry.domain in _OWN_DOMAINS]
    return max(found, default=0)
