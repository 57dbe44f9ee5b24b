"""Operators on images through the CUDA engine's whole walk without a GPU, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from helpers.emulated_engine import run
from helpers.operator_cases import BOUNDS, Case, compare, model_of
from helpers.tensorrt_graphs import one_node
from segrt.errors import UnsupportedLayerError
from segrt.graph.builder import GraphBuilder

pytest.importorskip("cuda.core", reason="cuda-core is not installed")
BOUND = BOUNDS["fp32"]


def _kernel(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(0, 0.3, shape).astype(np.float32)


def _pads(before: tuple[int, int], after: tuple[int, int]) -> np.ndarray:
    return np.array([0, 0, *before, 0, 0, *after])


def _resize(*sizes: int, scales: list[float] | None = None, **attributes: Any) -> Any:
    if scales is not None:
        return "Resize", [None, np.array([1, 1, *scales], np.float32)], attributes
    return "Resize", [None, None, np.array(sizes)], attributes


_IMAGE = (2, 6, 9, 7)
_FLOAT = np.float32
CASES = [
    Case("pad", _IMAGE, [("Pad", [_pads((1, 0), (2, 3))], {})], "gather_pixels"),
    Case("pad value", _IMAGE, [("Pad", [_pads((1, 0), (2, 3)), _FLOAT(2.5)], {})]),
    Case("pad reflect", _IMAGE, [("Pad", [_pads((3, 2), (4, 5))], {"mode": "reflect"})]),
    Case("pad edge", _IMAGE, [("Pad", [_pads((3, 2), (0, 5))], {"mode": "edge"})]),
    Case("pad negative", _IMAGE, [("Pad", [_pads((-1, 2), (-2, -3))], {})]),
    Case("pad channels", _IMAGE, [("Pad", [np.array([0, 1, 0, 0, 0, 2, 0, 1])], {})]),
    Case("pad axes", _IMAGE, [("Pad", [np.array([2, 1]), None, np.array([-1])], {})]),
    Case("crop", _IMAGE, [("Slice", [[1, 2], [8, -1], [2, 3]], {})], "gather_pixels"),
    Case("strides", _IMAGE, [("Slice", [[0, 6], [9, -20], [2, 3], [3, -2]], {})]),
    Case("channels", _IMAGE, [("Slice", [[1], [5], [1], [2]], {})]),
    Case("choice", _IMAGE, [("Gather", [np.array([2, 1, 0, -1])], {"axis": 1})]),
    Case("joined to a constant", _IMAGE, [("Concat", [_kernel(2, 3, 9, 7)], {"axis": 1})]),
    Case("split", _IMAGE, [("Split", [np.array([1, 3, 2])], {"axis": 1})], outputs=3),
    Case("softmax", (2, 21, 4, 5), [("Softmax", [], {"axis": 1})], "softmax"),
    Case("softmax of many", (1, 1000, 2, 3), [("Softmax", [], {"axis": -3})], "softmax"),
    Case("log softmax", _IMAGE, [("LogSoftmax", [], {"axis": 1})], "softmax"),
    Case(
        "softmax between", _IMAGE,
        [("Relu", [], {}), ("Softmax", [], {"axis": 1}), ("Mul", [_FLOAT(3)], {})],
    ),
    Case("global average", _IMAGE, [("GlobalAveragePool", [], {})], "global_pooling"),
    Case("global max", _IMAGE, [("GlobalMaxPool", [], {})], "global_pooling"),
    *(
        Case(kind, _IMAGE, [(kind, [np.array([2, 3])], {"keepdims": 1})], "global_pooling")
        for kind in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin")
    ),
    Case(
        "dilated max pool", _IMAGE,
        [("MaxPool", [], {"kernel_shape": [3, 2], "dilations": [2, 3], "pads": [1, 0, 2, 1]})],
    ),
    Case(
        "ceil max pool", _IMAGE,
        [("MaxPool", [], {"kernel_shape": [3, 3], "strides": [2, 3], "ceil_mode": 1})],
    ),
    *(
        Case(
            f"average pool {ceil} {counts}", _IMAGE,
            [("AveragePool", [], {
                "kernel_shape": [3, 4], "strides": [3, 2], "pads": [1, 1, 0, 2], "ceil_mode": ceil,
                "count_include_pad": counts,
            })],
            opset=19,
        )
        for ceil in (0, 1) for counts in (0, 1)
    ),
    Case(
        "max pool of a pad", _IMAGE,
        [
            ("Pad", [_pads((1, 0), (0, 1)), _FLOAT(-np.inf)], {}),
            ("MaxPool", [], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ],
    ),
    Case("instance norm", _IMAGE, [("InstanceNormalization", [_kernel(6), _kernel(6)], {})]),
    Case(
        "group norm", _IMAGE,
        [
            ("Reshape", [np.array([0, 3, -1])], {}),
            ("InstanceNormalization", [_kernel(3), _kernel(3)], {"epsilon": 0.01}),
            ("Reshape", [np.array(_IMAGE)], {}),
            ("Mul", [_kernel(6, 1, 1)], {}), ("Add", [_kernel(6, 1, 1)], {}), ("Relu", [], {}),
        ],
        "group_normalization",
    ),
    *(
        Case(
            f"{mode} {transform}", _IMAGE,
            [_resize(2, 6, *sizes, mode=mode, coordinate_transformation_mode=transform)],
        )
        for mode, transform, sizes in [
            ("linear", "half_pixel", (4, 13)),
            ("linear", "asymmetric", (18, 14)),
            ("linear", "align_corners", (12, 3)),
            ("linear", "pytorch_half_pixel", (1, 11)),
            ("cubic", "half_pixel", (18, 14)),
            ("cubic", "align_corners", (5, 10)),
            ("nearest", "half_pixel", (13, 5)),
            ("nearest", "asymmetric", (4, 9)),
        ]
    ),
    *(
        Case(
            f"nearest {rounding}", _IMAGE,
            [_resize(2, 6, 13, 5, mode="nearest", nearest_mode=rounding,
                     coordinate_transformation_mode="half_pixel")],
        )
        for rounding in ("floor", "ceil", "round_prefer_ceil")
    ),
    Case(
        "cubic of Keras", _IMAGE,
        [_resize(2, 6, 12, 5, mode="cubic", cubic_coeff_a=-0.5, exclude_outside=1)],
    ),
    Case("nearest by scales", (1, 2, 6, 9), [_resize(scales=[13 / 6, 5 / 9], mode="nearest")]),
    Case("linear by scales", _IMAGE, [_resize(scales=[1.7, 0.6], mode="linear")]),
    *(
        Case(f"{mode} antialias", (1, 2, 16, 12), [_resize(1, 2, 5, 9, mode=mode, antialias=1)])
        for mode in ("linear", "cubic")
    ),
    Case(
        "rows and columns by matrices", (1, 3, 20, 24),
        [("Resize", [None, None, np.array([1, 3, 20, 24])], {"mode": "linear"}),
         ("MatMul", [np.eye(24, 30, dtype=_FLOAT) + 0.5 * np.eye(24, 30, 3, _FLOAT)], {})],
        "resample",
    ),
    Case(
        "depthwise", (1, 8, 9, 7),
        [("Conv", [_kernel(16, 1, 3, 3), _kernel(16)],
          {"group": 8, "pads": [2, 2, 2, 2], "dilations": [2, 2]})],
    ),
    Case(
        "grouped", (1, 8, 9, 7),
        [("Conv", [_kernel(6, 4, 3, 2)], {"group": 2, "strides": [2, 3], "pads": [1, 0, 0, 2]}),
         ("Relu", [], {})],
    ),
    *(
        Case(
            f"{op_type} {rule}", (1, 4, 9, 7),
            [(op_type, [_kernel(4, 4, 3, 2)], {"strides": [2, 3], "auto_pad": rule})],
        )
        for op_type in ("Conv", "ConvTranspose") for rule in ("SAME_UPPER", "SAME_LOWER", "VALID")
    ),
    Case(
        "pool same", (1, 4, 9, 7),
        [("AveragePool", [],
          {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"})],
    ),
    Case(
        "transposed to a size", (1, 4, 5, 6),
        [("ConvTranspose", [_kernel(4, 3, 3, 2)], {"strides": [2, 3], "output_shape": [10, 16]})],
    ),
    Case(
        "padded convolution", (1, 4, 9, 7),
        [("Pad", [_pads((1, 0), (2, 3))], {}), ("Conv", [_kernel(6, 4, 3, 3), _kernel(6)], {})],
        "cudnn",
    ),
    Case(
        "transposed in groups", (1, 4, 5, 6),
        [("ConvTranspose", [_kernel(4, 3, 3, 2), _kernel(6)],
          {"group": 2, "strides": [2, 3], "dilations": [1, 2], "pads": [1, 0, 1, 1],
           "output_padding": [1, 2]})],
    ),
    Case("channel of largest", _IMAGE, [("ArgMax", [], {"axis": 1})], "argmax"),
    Case(
        "last channel of smallest", _IMAGE,
        [("Relu", [], {}), ("ArgMin", [], {"axis": 1, "select_last_index": 1})], "argmax",
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_agrees_with_onnx_runtime(monkeypatch, case: Case):
    ran = compare(monkeypatch, case)
    assert case.launched in {*ran.launched, ""}


def test_scale_and_relu_go_into_the_normalization(monkeypatch):
    case = next(case for case in CASES if case.name == "group norm")
    assert "pointwise" not in compare(monkeypatch, case).launched


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_halves(monkeypatch, precision: str):
    for case in CASES:
        if case.name in ("pad reflect", "softmax", "group norm", "cubic half_pixel", "depthwise"):
            compare(monkeypatch, case, precision)


def test_zero_padding_goes_into_the_convolution(monkeypatch):
    case = next(case for case in CASES if case.name == "padded convolution")
    assert "gather_pixels" not in compare(monkeypatch, case).launched


def test_rows_and_columns_are_resized_in_one_pass(monkeypatch):
    rows = np.eye(30, 20, dtype=np.float32)
    columns = np.eye(24, 30, dtype=np.float32)
    model = model_of(Case("", (1, 3, 20, 24), [("MatMul", [columns], {})]))
    node = helper.make_node("MatMul", ["rows", "y0_0"], ["y"])
    model.graph.node.append(node)
    model.graph.initializer.append(numpy_helper.from_array(rows, "rows"))
    del model.graph.output[:]
    shape = (1, 3, 30, 30)
    model.graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, shape))
    image = np.random.default_rng(1).normal(size=(1, 3, 20, 24)).astype(np.float32)
    ran = run(monkeypatch, ir.serde.deserialize_model(model), {"x": image})
    np.testing.assert_allclose(ran.outputs["y"], rows @ (image @ columns), atol=1e-6)
    assert ran.launched.count("resample") == 1


def test_four_images_in_one_pass(monkeypatch):
    def fill(b: GraphBuilder, x: ir.Value) -> ir.Value:
        parts = [b.op(op, [x], name=op) for op in ("Sigmoid", "Tanh", "Abs")]
        value = b.op("Mul", [x, b.constant("two", np.float32(2))], name="doubled")
        for index, part in enumerate(parts):
            value = b.op("Add", [value, part], name=f"sum{index}")
        return b.op("Relu", [value], name="y")

    model = one_node(fill, (2, 8, 3, 5))
    image = np.random.default_rng(2).normal(size=(2, 8, 3, 5)).astype(np.float32)
    ran = run(monkeypatch, model, {"x": image}, memory=1 << 24)
    wanted = np.maximum(2 * image + 1 / (1 + np.exp(-image)) + np.tanh(image) + np.abs(image), 0)
    np.testing.assert_allclose(next(iter(ran.outputs.values())), wanted, atol=1e-6)
    assert ran.launched.count("pointwise") == 4


def test_what_has_no_rule_is_refused(monkeypatch):
    crop = _resize(2, 6, 4, 4, coordinate_transformation_mode="tf_crop_and_resize")
    crop[1][0] = np.array([0, 0, 0.1, 0.1, 1, 1, 0.9, 0.9], np.float32)
    case = Case("crop and resize", _IMAGE, [crop])
    with pytest.raises(UnsupportedLayerError):
        compare(monkeypatch, case)
