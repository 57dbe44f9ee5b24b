"""Shape and type of a model's input, read from its InputLayer."""

from __future__ import annotations

import onnx_ir as ir

from segrt.errors import ModelFileError, UnsupportedConfigError
from segrt.importers._layer_graph import KerasLayer

# Input sizes beyond this are a damaged file, not a network.
_MAX_SIZE = 1 << 24
_MAX_RANK = 8
_INPUT_DTYPES = {
    "float16", "bfloat16", "float32", "float64", "uint8", "int8", "uint16", "int16", "int32",
    "int64", "bool",
}  # fmt: skip


def input_shape(layer: KerasLayer) -> list[int | None]:
    """Return an InputLayer's shape, batch first, None where a size is free.

    Raises:
        ModelFileError: It is unsaid or impossible.
    """
    shape = layer.config.get("batch_shape", layer.config.get("batch_input_shape"))
    if not isinstance(shape, list):
        raise ModelFileError(
            f"input {layer.name!r} has no shape",
            found=repr(shape)[:80],
            wanted="a batch_shape such as [null, 256, 256, 1]",
            hint="build the model (call it once, or give it an Input) before saving",
        )
    good = 1 <= len(shape) <= _MAX_RANK and all(
        size is None
        or (isinstance(size, int) and not isinstance(size, bool) and 0 < size <= _MAX_SIZE)
        for size in shape
    )
    if not good:
        raise ModelFileError(f"input {layer.name!r} has an impossible shape", found=f"{shape}"[:80])
    return shape


def input_dtype(layer: KerasLayer) -> ir.DataType:
    """Return an InputLayer's type; of a dtype policy, its compute type.

    Raises:
        UnsupportedConfigError: No network is run with it.
    """
    name = layer.config.get("dtype") or "float32"
    if isinstance(name, dict):  # a dtype policy; the input has its compute type
        inner = name.get("config")
        name = inner.get("name") if isinstance(inner, dict) else None
    if isinstance(name, str) and name.startswith("mixed_"):
        name = name.removeprefix("mixed_")
    if name not in _INPUT_DTYPES:
        raise UnsupportedConfigError(
            f"input {layer.name!r} has a type no network is run with",
            found=repr(name),
            wanted=", ".join(sorted(_INPUT_DTYPES)),
        )
    return ir.DataType[{"float32": "FLOAT", "float64": "DOUBLE"}.get(name, name.upper())]
