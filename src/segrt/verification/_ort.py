"""A graph on ONNX Runtime, as literally as it goes: no rewriting, no memory kept between runs.

But for sigmoids: ONNX Runtime's own is no reference where its results are small (`exact_sigmoid`).

This is the reference's runner, so it shares nothing with the targets whose work it judges.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt._optional import require
from segrt.errors import EngineError
from segrt.graph.onnx_bytes import onnx_pieces
from segrt.passes._base import PassContext
from segrt.passes.exact_sigmoid import ExactSigmoid
from segrt.targets._base import Feeds
from segrt.targets._custom import open_with_references
from segrt.targets._pieces import Runner

Array: TypeAlias = npt.NDArray[Any]


def open_plain(model: ir.Model) -> Runner:
    """Open a graph; custom operations run by their references.

    Raises:
        EngineError: ONNX Runtime refuses the graph.
    """
    if any(node.op_type == "Sigmoid" for node in model.graph):
        model = model.clone()
        ExactSigmoid()(model, PassContext())
    return open_with_references(model, PlainRunner)


class PlainRunner:
    """Runs one graph; implements `segrt.verification._inner.Runner`.

    Args:
        model: Any graph; its inputs and outputs are taken as they are.
        threads: Threads of ONNX Runtime, 0 for all cores.

    Raises:
        EngineError: ONNX Runtime refuses the graph.
    """

    def __init__(self, model: ir.Model, *, threads: int = 0) -> None:
        ort = require("onnxruntime", purpose="the reference", install="pip install onnxruntime")
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        # Threads that spin between runs take the cores from the engine that is judged.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._types = {value.name: value.dtype for value in model.graph.inputs}
        self._outputs = [value.name for value in model.graph.outputs]
        try:
            self._session = ort.InferenceSession(
                b"".join(onnx_pieces(model)), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise EngineError(f"ONNX Runtime refuses the graph: {error}") from error

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Run once; inputs are cast to the graph's types.

        Raises:
            EngineError: ONNX Runtime failed.
        """
        cast = {name: _cast(array, self._types[name]) for name, array in feeds.items()}
        try:
            outputs = self._session.run(self._outputs, cast)
        except Exception as error:
            raise EngineError(f"ONNX Runtime failed: {error}") from error
        return dict(zip(self._outputs, outputs, strict=True))  # type: ignore[arg-type]

    def close(self) -> None:
        """Free the session."""
        del self._session


def _cast(array: npt.NDArray[np.generic], dtype: ir.DataType | None) -> npt.NDArray[np.generic]:
    return array if dtype is None else np.ascontiguousarray(array, dtype=dtype.numpy())
