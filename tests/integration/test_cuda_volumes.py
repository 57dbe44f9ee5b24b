"""Operators on volumes through the CUDA engine's whole walk without a GPU, beside ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from helpers.emulated_engine import run
from helpers.operator_cases import Case, compare, model_of
from segrt.cuda.partition import refusals
from segrt.errors import UnsupportedLayerError
from segrt.graph.fix_shapes import fix_shapes

pytest.importorskip("cuda.core", reason="cuda-core is not installed")
_VOLUME = (2, 6, 5, 7, 4)
_FLOAT = np.float32


def _kernel(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(0, 0.3, shape).astype(np.float32)


def _conv(*shape: int, bias: bool = True, **attributes: Any) -> Any:
    return "Conv", [_kernel(*shape), *([_kernel(shape[0])] if bias else [])], attributes


def _up(*shape: int, groups: int = 1, **attributes: Any) -> Any:
    bias = _kernel(shape[1] * groups)
    return "ConvTranspose", [_kernel(*shape), bias], {"group": groups, **attributes}


def _resize(*sizes: int, scales: list[float] | None = None, **attributes: Any) -> Any:
    if scales is not None:
        return "Resize", [None, np.array([1, 1, *scales], np.float32)], attributes
    return "Resize", [None, None, np.array(sizes)], attributes


_SAME = {"pads": [1, 1, 1, 1, 1, 1]}
CONVOLUTIONS = [
    Case("plain", _VOLUME, [_conv(4, 6, 3, 3, 3)], "slices"),
    Case("same", _VOLUME, [_conv(8, 6, 3, 3, 3, **_SAME)], "slices"),
    Case("no bias", _VOLUME, [_conv(4, 6, 2, 3, 2, bias=False)]),
    Case("uneven pads", _VOLUME, [_conv(4, 6, 4, 2, 3, pads=[2, 0, 1, 1, 1, 1])]),
    Case("strides", _VOLUME, [_conv(4, 6, 3, 3, 3, strides=[2, 3, 1], **_SAME)]),
    Case("stride over kernel", _VOLUME, [_conv(4, 6, 1, 2, 1, strides=[2, 3, 2])], "slices"),
    Case("dilations", _VOLUME, [
        _conv(4, 6, 2, 3, 2, dilations=[3, 2, 1], pads=[1, 2, 0, 2, 1, 0])
    ]),
    Case("groups", _VOLUME, [_conv(4, 3, 3, 2, 3, group=2, **_SAME)]),
    Case("depthwise", _VOLUME, [_conv(12, 1, 3, 3, 3, group=6, **_SAME)]),
    Case("same upper", _VOLUME, [_conv(4, 6, 2, 3, 4, auto_pad="SAME_UPPER", strides=[2, 2, 1])]),
    Case("same lower", _VOLUME, [_conv(4, 6, 2, 3, 4, auto_pad="SAME_LOWER", strides=[2, 2, 1])]),
    Case("one channel", (1, 1, 6, 5, 7), [_conv(8, 1, 3, 3, 3, **_SAME), ("Relu", [], {})]),
    Case("flat kernel", _VOLUME, [_conv(4, 6, 1, 3, 3, pads=[0, 1, 1, 0, 1, 1])]),
    Case("deep kernel", _VOLUME, [_conv(4, 6, 5, 1, 1, pads=[2, 0, 0, 2, 0, 0])], "slices"),
    Case("one slice", (3, 4, 1, 6, 5), [_conv(4, 4, 3, 3, 3, **_SAME)]),
    Case("pointwise to few", _VOLUME, [_conv(3, 6, 1, 1, 1), ("Softmax", [], {"axis": 1})], "head"),
    Case("mask", _VOLUME, [_conv(3, 6, 1, 1, 1), ("ArgMax", [], {"axis": 1})], "head"),
    Case("up by two", _VOLUME, [_up(6, 4, 2, 2, 2, strides=[2, 2, 2])], "slices"),
    Case("up same", _VOLUME, [_up(6, 4, 3, 3, 3, strides=[2, 2, 2], auto_pad="SAME_UPPER")]),
    Case("up lower", _VOLUME, [_up(6, 4, 3, 4, 3, strides=[2, 3, 2], auto_pad="SAME_LOWER")]),
    Case("up cut", _VOLUME, [_up(6, 4, 3, 2, 4, strides=[2, 3, 2], pads=[1, 0, 1, 0, 1, 2])]),
    Case(
        "up more", _VOLUME, [_up(6, 4, 3, 3, 3, strides=[2, 2, 2], output_padding=[1, 0, 1])]
    ),
    Case("up sized", _VOLUME, [_up(6, 4, 3, 3, 3, strides=[2, 2, 2], output_shape=[10, 14, 9])]),
    Case("up gaps", _VOLUME, [_up(6, 4, 1, 2, 1, strides=[3, 2, 2])]),
    Case("up dilated", _VOLUME, [_up(6, 4, 2, 2, 3, dilations=[2, 3, 1], strides=[1, 1, 2])]),
    Case("up groups", _VOLUME, [_up(6, 2, 2, 3, 2, groups=3, strides=[2, 1, 2])]),
]  # fmt: skip
_AVERAGE = {"kernel_shape": [2, 3, 2], "strides": [2, 2, 2]}
OTHERS = [
    Case("max", _VOLUME, [("MaxPool", [], {"kernel_shape": [2, 2, 2], "strides": [2, 2, 2]})],
         "volume_pooling"),
    Case("max same", _VOLUME, [
        ("MaxPool", [], {"kernel_shape": [3, 2, 2], "strides": [2, 1, 2], "auto_pad": "SAME_UPPER"})
    ]),
    Case("max dilated", _VOLUME, [
        ("MaxPool", [], {"kernel_shape": [2, 3, 2], "dilations": [3, 2, 1]})
    ]),
    Case("max ceil", _VOLUME, [
        ("MaxPool", [], {"kernel_shape": [2, 2, 3], "strides": [2, 2, 2], "ceil_mode": 1})
    ]),
    Case("max of slices", _VOLUME, [
        ("MaxPool", [], {"kernel_shape": [1, 2, 2], "strides": [1, 2, 2]})
    ], "pooling"),
    Case("average", _VOLUME, [("AveragePool", [], {**_AVERAGE, "pads": [1, 1, 0, 0, 1, 1]})]),
    Case("average counted", _VOLUME, [
        ("AveragePool", [], {**_AVERAGE, "pads": [1, 1, 0, 0, 1, 1], "count_include_pad": 1})
    ]),
    Case("global", _VOLUME, [_conv(4, 6, 1, 3, 3), ("GlobalAveragePool", [], {})]),
    Case("global max", _VOLUME, [_conv(4, 6, 1, 3, 3), ("GlobalMaxPool", [], {})]),
    Case("nearest", _VOLUME, [
        _resize(scales=[2, 3, 1], mode="nearest", coordinate_transformation_mode="asymmetric",
                nearest_mode="floor")
    ], "strided"),
    Case("nearest down", _VOLUME, [_resize(2, 6, 3, 4, 6, mode="nearest")]),
    Case("linear", _VOLUME, [_resize(2, 6, 10, 14, 8, mode="linear")], "resample"),
    Case("linear corners", _VOLUME, [
        _resize(2, 6, 9, 10, 3, mode="linear", coordinate_transformation_mode="align_corners")
    ]),
    Case("linear depth", _VOLUME, [_resize(2, 6, 7, 7, 4, mode="linear")], "strided"),
    Case("linear plane", _VOLUME, [_resize(2, 6, 5, 11, 9, mode="linear")], "resample"),
    Case("pad", _VOLUME, [
        ("Pad", [np.array([0, 0, 1, 0, 2, 0, 0, 0, 3, 1])], {}), _conv(4, 6, 2, 2, 2)
    ]),
    Case("pad reflect", _VOLUME, [
        ("Pad", [np.array([0, 0, 1, 2, 1, 0, 0, 3, 0, 2])], {"mode": "reflect"}),
        _conv(4, 6, 2, 2, 2),
    ]),
    Case("crop", _VOLUME, [_conv(4, 6, 1, 1, 1), ("Slice", [[1, 0], [4, 5], [2, 4], [1, 2]], {})]),
    Case("split", _VOLUME, [_conv(5, 6, 1, 2, 2), ("Split", [np.array([3, 2])], {"axis": 1})],
         outputs=2),
    Case("softmax", _VOLUME, [_conv(9, 6, 1, 1, 1), ("Softmax", [], {"axis": -4})], "softmax"),
    Case("softmax of slices", _VOLUME, [_conv(9, 6, 1, 1, 1), ("Softmax", [], {"axis": 2})]),
    Case("normalised", _VOLUME, [
        _conv(4, 6, 1, 1, 1, bias=False),
        ("InstanceNormalization", [_kernel(4), _kernel(4)], {}), ("LeakyRelu", [], {"alpha": 0.1}),
    ]),
    Case("batch norm", _VOLUME, [
        _conv(4, 6, 2, 1, 1), ("Sigmoid", [], {}),
        ("BatchNormalization", [_kernel(4), _kernel(4), _kernel(4), np.abs(_kernel(4))], {}),
    ], "pointwise"),
    Case("slopes", _VOLUME, [
        _conv(4, 6, 2, 1, 1), ("PRelu", [_kernel(4, 1, 1, 1)], {}), ("Mul", [_FLOAT(3)], {}),
        ("Add", [_kernel(1, 4, 1, 1, 1)], {}), ("Clip", [_FLOAT(-1), _FLOAT(0.5)], {}),
    ], "pointwise"),
    Case("slopes of a row", _VOLUME, [_conv(4, 6, 2, 1, 1), ("PRelu", [_kernel(1, 4, 7, 1)], {})]),
    Case("a factor a place", _VOLUME, [
        _conv(4, 6, 2, 1, 1), ("Mul", [_kernel(1, 4, 4, 7, 4)], {})
    ]),
    Case("turned", _VOLUME, [_conv(4, 6, 2, 1, 1), ("Transpose", [], {"perm": [0, 2, 3, 4, 1]})]),
    Case("turned otherwise", _VOLUME, [
        _conv(4, 6, 2, 1, 1), ("Transpose", [], {"perm": [2, 0, 4, 1, 3]})
    ]),
    Case("turned before", (2, 5, 7, 4, 6), [
        ("Transpose", [], {"perm": [0, 4, 1, 2, 3]}), _conv(4, 6, 2, 1, 1), ("Relu", [], {})
    ]),
    Case("flattened", _VOLUME, [_conv(4, 6, 2, 1, 1), ("Flatten", [], {}), ("Relu", [], {})]),
    Case("planes of images", _VOLUME, [
        _conv(4, 6, 5, 2, 1), ("Squeeze", [np.array([2])], {}), ("Conv", [_kernel(3, 4, 3, 3)], {}),
        ("Unsqueeze", [np.array([2])], {}), _conv(2, 3, 1, 2, 2),
    ]),
]  # fmt: skip
# Each once in halves: what lies where, in slices of other pitches, is the same for all.
HALVES = ("same", "groups", "up by two", "max", "average", "nearest", "linear", "normalised")


@pytest.mark.parametrize("case", CONVOLUTIONS + OTHERS, ids=lambda case: case.name)
def test_agrees_with_onnx_runtime(monkeypatch, case):
    ran = compare(monkeypatch, case)
    assert not case.launched or case.launched in ran.launched


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_in_halves(monkeypatch, precision):
    found = [case for case in CONVOLUTIONS + OTHERS if case.name in HALVES]
    assert len(found) == len(HALVES)
    for case in found:
        compare(monkeypatch, case, precision)


@pytest.mark.parametrize("case", CONVOLUTIONS[::3], ids=lambda case: case.name)
def test_without_a_library_that_convolves(monkeypatch, case):
    """The engine's own kernels do what cuDNN is asked first for."""
    monkeypatch.setattr("segrt.cuda.choices.convolution_graph", lambda *_, **__: None)
    assert not {"cudnn"} & set(compare(monkeypatch, case).launched)


def test_what_has_no_rule_is_refused_by_layer(monkeypatch):
    places = Case("places", _VOLUME, [("MaxPool", [], {"kernel_shape": [2, 2, 2]})], outputs=2)
    model = ir.serde.deserialize_model(model_of(places))
    assert len(refusals(fix_shapes(model, {"x": _VOLUME}).graph)) == 1
    with pytest.raises(UnsupportedLayerError, match="MaxPool"):
        run(monkeypatch, model, {"x": np.zeros(_VOLUME, np.float32)})
