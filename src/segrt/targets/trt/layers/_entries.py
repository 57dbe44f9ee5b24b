"""The entries of a vector of sizes, which may be computed when the engine runs."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.targets.trt._writer import Size, Writer


def entries(writer: Writer, value: ir.Value | None, role: str) -> list[Size]:
    """Return the entries of a vector of sizes, as numbers where they are constants."""
    known = writer.ints(value)
    if known is not None:
        return list(known)
    tensor = writer.cast(writer.tensor(value), writer.dtype(np.int64), f"{role}s")
    if tensor.shape[0] < 0:
        raise writer.unsupported(f"a vector of unknown length ({role})", "one of known length")
    return [
        writer.layer(writer.network.add_slice(tensor, (place,), (1,), (1,)), f"{role}{place}")
        for place in range(tensor.shape[0])
    ]
