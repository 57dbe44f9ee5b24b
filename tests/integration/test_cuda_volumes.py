"""Operators on volumes through the CUDA engine's whole walk without a GPU, beside ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx import ModelProto

import segrt
from helpers.emulated_engine import run
from helpers.emulated_target import emulate
from helpers.goldens import DATA, GOLDENS
from helpers.operator_cases import BOUNDS, Case, compare, model_of
from helpers.quantised import ort_run, quantise
from helpers.residual_nets import check, ort_outputs
from helpers.volume_nets import volume_unet
from segrt.cuda.fuse import fuse
from segrt.cuda.image_operations import Slices
from segrt.cuda.merge import merge_steps
from segrt.cuda.partition import partition, refusals
from segrt.cuda.plan import make_plan
from segrt.errors import UnsupportedLayerError
from segrt.graph.fix_shapes import fix_shapes
from segrt.targets._base import REGISTRY
from segrt.types import BuildOptions, Precision

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
    Case("up by two", _VOLUME, [_up(6, 4, 2, 2, 2, strides=[2, 2, 2])], "pixel_shuffle"),
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
    ], "group_normalization"),
    Case("in groups", _VOLUME, [
        _conv(4, 6, 3, 2, 1), ("Reshape", [np.array([2, 2, -1])], {}),
        ("InstanceNormalization", [_kernel(2), _kernel(2)], {}),
        ("Reshape", [np.array([2, 4, 3, 6, 4])], {}), ("Mul", [_kernel(4, 1, 1, 1)], {}),
        ("Add", [_kernel(1, 4, 1, 1, 1)], {}), ("Relu", [], {}),
    ], "group_normalization"),
    Case("in groups alone", _VOLUME, [
        ("Reshape", [np.array([2, 3, -1])], {}),
        ("InstanceNormalization", [_kernel(3), _kernel(3)], {}),
        ("Reshape", [np.array(_VOLUME)], {}),
    ], "group_normalization"),
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
    monkeypatch.setattr("segrt.cuda.library_choices.convolution_graph", lambda *_, **__: None)
    assert not {"cudnn"} & set(compare(monkeypatch, case).launched)


PARTS = [
    Case("plain", (1, 6, 9, 4, 4), [_conv(4, 6, 3, 3, 3, **_SAME)]),
    Case("batch", (3, 6, 5, 4, 4), [_conv(8, 6, 3, 3, 3, **_SAME), ("Relu", [], {})]),
    Case("strides", (2, 4, 9, 8, 4), [_conv(4, 4, 3, 3, 3, strides=[2, 2, 1], **_SAME)]),
    Case("up", (2, 6, 5, 2, 4), [_up(6, 4, 2, 2, 2, strides=[2, 2, 2])]),
]


@pytest.mark.parametrize("case", PARTS, ids=lambda case: case.name)
@pytest.mark.parametrize("capability", [(8, 0), (9, 0)])
def test_large_volumes_are_computed_in_parts(monkeypatch, case, capability):
    whole = compare(monkeypatch, case, capability=capability)
    monkeypatch.setattr("segrt.cuda.volume_parts._PART_BYTES", 1)
    ran = compare(monkeypatch, case, capability=capability)
    convolutions = whole.launched.count("slices")
    assert 3 * convolutions <= ran.launched.count("slices") <= 8 * convolutions


NETS = [
    ({"channels": (8, 16)}, "fp32"),
    ({"channels": (8, 16), "up": "nearest", "shortcuts": True}, "fp32"),
    ({"channels": (4, 8, 8), "up": "linear"}, "fp32"),
    ({"channels": (16, 32), "shortcuts": True}, "fp16"),
]


@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize(("settings", "precision"), NETS)
def test_a_whole_network(monkeypatch, settings, precision, parts):
    if parts:
        monkeypatch.setattr("segrt.cuda.volume_parts._PART_BYTES", 1)
    model = volume_unet(**settings)
    feeds = {"x": np.random.default_rng(1).normal(size=(1, 2, 8, 12, 8)).astype(np.float32)}
    wanted = next(iter(ort_outputs(model, feeds).values()))
    ran = run(monkeypatch, ir.serde.deserialize_model(model), feeds, precision, memory=1 << 25)
    found = next(iter(ran.outputs.values()))
    assert np.linalg.norm(found - wanted) <= BOUNDS[precision] * np.linalg.norm(wanted)
    # What is joined is written where it belongs, and ReLUs are the convolutions' own.
    if settings == NETS[0][0]:
        assert not {"strided", "pointwise"} & set(ran.launched)


def test_a_package_is_built_and_opened(monkeypatch, tmp_path):
    """From a file of Keras' to a session, beside what Keras computed."""
    emulate(monkeypatch, tmp_path / "cache")
    folder = DATA / "keras-3.15"
    package = segrt.build(
        folder / "volume_unet.keras", target="cuda", output=tmp_path / "net.segrt"
    )
    golden = next(golden for golden in GOLDENS if str(golden) == "keras-3.15/volume_unet.keras")
    with segrt.open_session(package) as session:
        found = session.run(golden.arrays("input"))
    for name, array in golden.arrays("output").items():
        assert np.linalg.norm(found[name] - array) <= 1e-5 * np.linalg.norm(array)


ON_GPU = [("fp32", case) for case in CONVOLUTIONS + OTHERS]
ON_GPU += [("fp16", case) for case in CONVOLUTIONS + OTHERS if case.name in HALVES]


def _on_gpu(model: ModelProto, feeds: dict[str, np.ndarray], precision: str) -> None:
    """Run a network on a GPU, and compare with ONNX Runtime."""
    target = REGISTRY.find("cuda")
    assert target is not None
    options = BuildOptions(precision=Precision(precision))
    with target.open_model(ir.serde.deserialize_model(model), options) as session:
        found = session.run(feeds)
    check(found, ort_outputs(model, feeds), 5 * BOUNDS[precision])


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "case"), ON_GPU, ids=lambda it: getattr(it, "name", it))
def test_operators_on_a_gpu(precision, case):
    feeds = {"x": np.random.default_rng(5).normal(size=case.shape).astype(np.float32)}
    _on_gpu(model_of(case), feeds, precision)


@pytest.mark.gpu
@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize(("settings", "precision"), [*NETS, ({"channels": (64, 128)}, "fp16")])
def test_networks_on_a_gpu(monkeypatch, tmp_path, settings, precision, parts):
    # What was chosen in whole is not to be taken for the parts, nor the other way round.
    monkeypatch.setenv("SEGRT_CACHE", str(tmp_path))
    if parts:
        monkeypatch.setattr("segrt.cuda.volume_parts._PART_BYTES", 1)
    feeds = {"x": np.random.default_rng(1).normal(size=(2, 2, 8, 16, 16)).astype(np.float32)}
    _on_gpu(volume_unet(shape=feeds["x"].shape, **settings), feeds, precision)


def test_slices_do_not_wait_for_a_shortcut():
    """What is put side by side is read at once, though the convolution waits for what it adds."""
    model = fix_shapes(
        ir.serde.deserialize_model(volume_unet((8, 16), shortcuts=True)), {"x": (1, 2, 8, 12, 8)}
    )
    plan = merge_steps(make_plan(fuse(partition(model)), "fp32"), (8, 0))
    places = [i for i, (operation, _, _) in enumerate(plan.steps) if isinstance(operation, Slices)]
    assert len(places) >= 6
    for place in places:
        assert plan.steps[place][2] == plan.steps[place + 1][1][0]


def test_in_eight_bits(monkeypatch, tmp_path):
    """Slices side by side keep their scale, so that convolutions multiply integers."""
    pytest.importorskip("onnxruntime.quantization", reason="onnxruntime is not installed")
    feeds = {"x": np.random.default_rng(1).normal(size=(1, 2, 8, 12, 8)).astype(np.float32)}
    model = ir.serde.deserialize_model(volume_unet((32, 64), up="nearest"))
    quantised = quantise(model, [feeds], tmp_path)
    ran = run(monkeypatch, quantised, feeds, "int8", memory=1 << 25)
    wanted = ort_run(quantised, feeds)[0]
    error = np.linalg.norm(next(iter(ran.outputs.values())) - wanted)
    assert error <= 2e-2 * np.linalg.norm(wanted)
    assert "resident_int8" in ran.launched


def test_what_has_no_rule_is_refused_by_layer(monkeypatch):
    places = Case("places", _VOLUME, [("MaxPool", [], {"kernel_shape": [2, 2, 2]})], outputs=2)
    model = ir.serde.deserialize_model(model_of(places))
    assert len(refusals(fix_shapes(model, {"x": _VOLUME}).graph)) == 1
    with pytest.raises(UnsupportedLayerError, match="MaxPool"):
        run(monkeypatch, model, {"x": np.zeros(_VOLUME, np.float32)})
