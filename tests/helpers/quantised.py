"""Quantised graphs for tests: by ONNX Runtime's static quantiser, and by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir

from segrt.graph.infer_shapes import infer_shapes


def quantise(model: ir.Model, feeds: list[dict[str, np.ndarray]], folder: Path) -> ir.Model:
    """Return what ONNX Runtime's static quantiser makes of a graph, symmetric in int8."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(feeds)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.left, None)

    ir.save(model, folder / "float.onnx")
    quantize_static(
        folder / "float.onnx", folder / "int8.onnx", Reader(), quant_format=QuantFormat.QDQ,
        per_channel=True, activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
        extra_options={
            "ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False,
        },
    )  # fmt: skip
    quantised = ir.load(folder / "int8.onnx")
    assert infer_shapes(quantised.graph) is None
    return quantised


def ort_run(model: ir.Model, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Run a graph as it is written: without ONNX Runtime's own rewriting."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 2
    data = ir.serde.serialize_model(model).SerializeToString()
    return ort.InferenceSession(data, options, ["CPUExecutionProvider"]).run(None, feeds)
