"""Embedding: rows of a table by index."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from segrt.importers._layer_graph import JsonObject
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Layout, Tensor, WeightSpec, keras_layer
from segrt.importers.layers._inputs import single, weight

# The largest table whose indices float32 holds exactly.
_EXACT_INDICES = 1 << 24


def _table(_config: JsonObject, /) -> list[WeightSpec]:
    return [WeightSpec("embeddings")]


@keras_layer("Embedding", weights=_table)
def embedding(call: Call, x: Any) -> Tensor:
    """Convert to Gather; indices are the model's integer inputs, or constants."""
    if _config.flag(call, "mask_zero", False):
        raise call.unsupported("mask_zero", True, "false: masks that travel along are not followed")
    rows, columns = _config.integer(call, "input_dim"), _config.integer(call, "output_dim")
    if rows > _EXACT_INDICES:
        raise call.unsupported("input_dim", rows, f"at most {_EXACT_INDICES}")
    table = call.weight("embeddings", weight(call, "embeddings", (rows, columns)))
    if isinstance(x, np.ndarray):
        indices = call.constant("indices", x.astype(np.int64))
    else:
        value = call.source(single(call, x))
        # Keras cuts the fraction off, as Cast does.
        indices = call.op("Cast", [value], role="indices", to=int(ir.DataType.INT64))
    return Tensor(call.op("Gather", [table, indices], role="rows", axis=0), Layout.SOURCE)
