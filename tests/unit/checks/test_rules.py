"""Rulings, layer by layer."""

import numpy as np
import onnx_ir as ir
import pytest

from helpers.goldens import GOLDENS
from segrt import api
from segrt.checks._base import Support, worst
from segrt.graph.builder import IR_VERSION, OPSET, GraphBuilder
from segrt.graph.custom.upsample_nearest import upsample_nearest


def only(report, layer):
    """Return the one check of a layer."""
    found = [check for check in report.layers if check.layer == layer]
    assert len(found) == 1
    return found[0]


def ruling(report, layer):
    return only(report, layer).rulings[0]


def test_nearest_on_5_1_names_the_exact_forms(net):
    model = net().upsample().convolve().done()
    found = ruling(api.check(model, target="tensorrt:5.1"), "up")
    assert found.rule == "TRT-RESIZE-NEAREST"
    assert found.support is Support.REWRITTEN
    assert found.forms == ("deconvolution", "transposed", "subpixel")
    assert "no layer that resizes" in found.text
    assert "ones" in found.text
    assert "bit-equal" in found.text
    assert "6.0.1" in found.source


def test_nearest_without_a_convolution_behind_it_cannot_be_merged(net):
    model = net().upsample().layer("relu", "ReLU", "Relu").done()
    found = ruling(api.check(model, target="tensorrt:5.1"), "up")
    assert found.forms == ("deconvolution",)


@pytest.mark.parametrize("target", ["tensorrt:6.0", "tensorrt:8.6", "tensorrt:11.4", "rtx:1.7"])
def test_nearest_is_native_since_6(net, target):
    report = api.check(net().upsample().convolve().done(), target=target)
    assert report.support is Support.SUPPORTED
    assert "[1, 1, 2, 2]" in ruling(report, "up").text


@pytest.mark.parametrize(
    ("target", "support", "forms"),
    [
        ("tensorrt:5.1", Support.REWRITTEN, ("subpixel",)),
        ("tensorrt:6.0", Support.REWRITTEN, ("subpixel",)),
        ("jetpack:4.5", Support.REWRITTEN, ("subpixel",)),
        ("tensorrt:8.0", Support.SUPPORTED, ()),
        ("rtx:1.7", Support.SUPPORTED, ()),
    ],
)
def test_half_pixel_bilinear_is_native_since_8(net, target, support, forms):
    model = net().upsample(mode="linear", coordinates="half_pixel").done()
    found = ruling(api.check(model, target=target), "up")
    assert (found.support, found.forms) == (support, forms)
    if forms:
        assert found.rule == "TRT-RESIZE-BILINEAR-HALF-PIXEL"
        assert "border" in found.text


def test_asymmetric_bilinear_is_native_since_6(net):
    model = net().upsample(mode="linear", coordinates="asymmetric").done()
    assert ruling(api.check(model, target="tensorrt:7.2"), "up").support is Support.SUPPORTED
    assert ruling(api.check(model, target="tensorrt:5.1"), "up").forms == ("subpixel",)


def test_bilinear_that_no_form_replaces_needs_a_plugin(net):
    image = (None, None, 6, 8)  # the depthwise convolution must know the channels
    model = net(image).upsample(mode="linear", coordinates="half_pixel").done()
    found = ruling(api.check(model, target="tensorrt:7.2"), "up")
    assert found.support is Support.PLUGIN
    assert "channels is unknown" in found.text


def test_what_tf2onnx_writes_is_told_apart(net):
    model = net().layer(
        "up", "", "Resize", None, np.array([1, 1, 2, 2], np.float32), mode="nearest",
        coordinate_transformation_mode="half_pixel", nearest_mode="floor",
    ).done()  # fmt: skip
    assert ruling(api.check(model, target="tensorrt:10.3"), "up").rule == (
        "TRT-RESIZE-NEAREST-SHIFTED"
    )
    assert ruling(api.check(model, target="tensorrt:7.2"), "up").support is Support.PLUGIN


@pytest.mark.parametrize(
    ("op_type", "more", "old", "new"),
    [
        ("Erf", (), "plugin", "supported"),
        ("PRelu", (np.ones((2, 1, 1), np.float32),), "rewritten", "supported"),
        ("Celu", (), "rewritten", "rewritten"),
        ("Shrink", (), "plugin", "rewritten"),
        ("LogSoftmax", (), "rewritten", "rewritten"),
        ("Softmax", (), "supported", "supported"),
        ("HardSigmoid", (), "supported", "supported"),
        ("MaxPool", (), "supported", "supported"),
        ("GlobalAveragePool", (), "supported", "supported"),
        ("Det", (), "blocked", "blocked"),
        ("Asinh", (), "supported", "supported"),
        ("Round", (), "plugin", "supported"),
        ("HardSwish", (), "rewritten", "rewritten"),
        ("Mean", (np.ones((1, 2, 6, 6), np.float32),), "rewritten", "rewritten"),
        ("ArgMax", (), "supported", "supported"),
        ("ReduceL2", (np.array([1]),), "rewritten", "rewritten"),
        ("Gather", (np.array([0]),), "supported", "supported"),
        ("GatherElements", (np.zeros((1, 2, 6, 6), np.int64),), "plugin", "supported"),
        (
            "ScatterElements",
            (np.zeros((1, 2, 1, 6), np.int64), np.ones((1, 2, 1, 6), np.float32)),
            "plugin",
            "supported",
        ),
        ("Mod", (np.float32(2),), "plugin", "rewritten"),
        ("GreaterOrEqual", (np.float32(0),), "plugin", "rewritten"),
        ("Equal", (np.float32(0),), "plugin", "supported"),
        ("CumSum", (np.int64(1),), "plugin", "plugin"),
        ("Trilu", (), "plugin", "rewritten"),
        ("Size", (), "rewritten", "rewritten"),
        ("GridSample", (np.zeros((1, 3, 3, 2), np.float32),), "plugin", "supported"),
        ("Tile", (np.array([1, 1, 2, 2]),), "rewritten", "rewritten"),
        ("OneHot", (np.int64(3), np.array([0, 1], np.float32)), "plugin", "rewritten"),
    ],
)
def test_operators_old_and_new(net, op_type, more, old, new):
    model = net((1, 2, 6, 6))
    known = {"MaxPool": {"kernel_shape": (2, 2), "strides": (2, 2)}, "Mod": {"fmod": 1}}
    attributes = known.get(op_type, {})
    model = model.layer("x", "X", op_type, *more, **attributes).done()
    assert only(api.check(model, target="tensorrt:5.1"), "x").support == old
    assert only(api.check(model, target="tensorrt:10.3"), "x").support == new


def test_plugins_are_blocked_on_rtx(net):
    arrays = np.zeros((1, 2, 1, 8), np.int64), np.ones((1, 2, 1, 8), np.float32)
    model = net((1, 2, 6, 8)).layer("x", "X", "ScatterElements", *arrays, reduction="mul").done()
    assert ruling(api.check(model, target="tensorrt:10.3"), "x").support is Support.PLUGIN
    found = ruling(api.check(model, target="rtx:1.7"), "x")
    assert found.support is Support.BLOCKED
    assert "takes no plugins" in found.text


def test_border_padding(net):
    pads = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    edge = net().layer("pad", "ZeroPadding2D", "Pad", pads, mode="edge").done()
    assert ruling(api.check(edge, target="tensorrt:7.2"), "pad").support is Support.REWRITTEN
    assert ruling(api.check(edge, target="tensorrt:8.6"), "pad").support is Support.SUPPORTED
    zeros = net().layer("pad", "ZeroPadding2D", "Pad", pads, mode="constant").done()
    assert ruling(api.check(zeros, target="tensorrt:5.1"), "pad").rule == "TRT-PAD"
    sevens = net().layer("pad", "X", "Pad", pads, np.float32(7), mode="constant").done()
    assert ruling(api.check(sevens, target="tensorrt:5.1"), "pad").rule == "TRT-PAD-MODE"


def test_uneven_pads_are_written_out(net):
    found = ruling(api.check(net().convolve().done(), target="tensorrt:8.6"), "conv")
    assert "pads before (0, 0) and after (1, 1)" in found.text


def test_short_transposed_convolutions_are_a_rewrite(net):
    kernel = np.ones((2, 3, 2, 2), np.float32)
    model = net().layer("up", "Conv2DTranspose", "ConvTranspose", kernel, strides=(3, 3))
    pads = np.array([0, 0, 0, 0, 0, 0, 1, 1])
    model = model.layer("padded", "Conv2DTranspose", "Pad", pads).done()
    report = api.check(model, target="tensorrt:8.6")
    assert ruling(report, "up").support is Support.SUPPORTED
    assert ruling(report, "padded").rule == "TRT-DECONV-SHORT"


def test_dilated_transposed_convolutions(net):
    kernel = np.ones((2, 3, 2, 2), np.float32)
    model = net().layer("up", "Conv2DTranspose", "ConvTranspose", kernel, dilations=(2, 2)).done()
    assert ruling(api.check(model, target="tensorrt:8.6"), "up").rule == "TRT-DECONV-DILATED"
    assert ruling(api.check(model, target="rtx:1.7"), "up").rule == "TRT-DECONV"


def test_free_sizes_and_the_gpu_are_rulings_of_the_network(net):
    model = net((None, 2, None, None)).layer("relu", "ReLU", "Relu").done()
    old = api.check(model, target="tensorrt:5.1")
    assert [(r.rule, r.support) for r in old.network] == [("TRT-FREE-SIZES", Support.REWRITTEN)]
    assert old.support is Support.REWRITTEN
    assert api.check(model, target="tensorrt:6.0").support is Support.SUPPORTED
    assert api.check(model, target="tensorrt:10.5", gpu="7.0").support is Support.BLOCKED
    fixed = net((None, 2, 4, 4)).layer("relu", "ReLU", "Relu").done()
    assert api.check(fixed, target="tensorrt:5.1").network == ()


def test_support_is_ordered():
    assert worst([]) is Support.SUPPORTED
    assert worst([Support.PLUGIN, Support.REWRITTEN]) is Support.PLUGIN
    assert [s.rank for s in Support] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "rule"), [("MaxPooling1D", "TRT-POOL-1D"), ("Conv1DTranspose", "TRT-DECONV-1D")]
)
def test_sequences_are_written_as_images_one_pixel_wide(name, rule):
    golden = "sequence_layers" if name == "MaxPooling1D" else "sequence_convolutions"
    file = next(g for g in GOLDENS if g.name == golden and g.folder.name == "keras-3.15")
    report = api.check(file.read(), target="tensorrt:8.6")
    found = [check.rulings for check in report.layers if check.class_name == name]
    assert found
    assert {ruling.rule for rulings in found for ruling in rulings} >= {rule}


@pytest.mark.parametrize(
    ("attributes", "target", "support"),
    [
        ({}, "tensorrt:5.1", "rewritten"),
        ({"pads": (1, 1, 1, 1)}, "tensorrt:8.0", "plugin"),
        ({"pads": (1, 1, 1, 1)}, "tensorrt:8.2", "rewritten"),
        ({"auto_pad": "SAME_UPPER"}, "tensorrt:8.0", "plugin"),
        ({"auto_pad": "SAME_UPPER"}, "rtx:1.7", "rewritten"),
    ],
)
def test_pools_with_gaps_become_slices(net, attributes, target, support):
    model = net((1, 2, 6, 6)).layer(
        "x", "X", "MaxPool", kernel_shape=(2, 2), dilations=(2, 2), **attributes
    )
    found = ruling(api.check(model.done(), target=target), "x")
    assert (found.rule, found.support) == ("TRT-POOL-DILATED", support)


@pytest.mark.parametrize(
    ("reduction", "support"), [("none", "supported"), ("add", "rewritten"), ("mul", "plugin")]
)
def test_scatters_overwrite_and_add_up_nothing(net, reduction, support):
    arrays = np.zeros((1, 2, 1, 6), np.int64), np.ones((1, 2, 1, 6), np.float32)
    model = net((1, 2, 6, 6)).layer("x", "X", "ScatterElements", *arrays, reduction=reduction)
    assert ruling(api.check(model.done(), target="tensorrt:10.3"), "x").support == support


@pytest.mark.parametrize(
    ("op_type", "inputs", "old"),
    [("Range", (np.int64(6), np.int64(2)), "7.1"), ("ConstantOfShape", (), "6.0")],
)
def test_numbers_that_are_computed(op_type, inputs, old):
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="net")
    builder = GraphBuilder(graph)
    shape = [] if op_type == "Range" else [2]
    x = builder.input("x", shape, ir.DataType.INT64)
    more = [builder.constant(f"c{index}", array) for index, array in enumerate(inputs)]
    graph.outputs.append(builder.op(op_type, [x, *more], name="mine"))
    model = ir.Model(graph, ir_version=IR_VERSION)
    assert ruling(api.check(model, target=f"tensorrt:{old}"), "mine").support == "plugin"
    assert ruling(api.check(model, target="tensorrt:7.2"), "mine").support != "plugin"


@pytest.mark.parametrize(
    ("equation", "old", "new"),
    [("bchw,wk->bchk", "plugin", "supported"), ("...w,wk->...k", "plugin", "plugin")],
)
def test_einsum_by_its_letters(net, equation, old, new):
    factor = np.ones((6, 3), np.float32)
    model = net((1, 2, 6, 6)).layer("x", "X", "Einsum", factor, equation=equation).done()
    assert only(api.check(model, target="tensorrt:8.0"), "x").support == old
    assert only(api.check(model, target="tensorrt:8.2"), "x").support == new


def test_running_sums_came_with_10_8(net):
    model = net((1, 2, 6, 6)).layer("x", "X", "CumSum", np.int64(1)).done()
    assert only(api.check(model, target="tensorrt:10.7"), "x").support is Support.PLUGIN
    assert only(api.check(model, target="tensorrt:10.8"), "x").support is Support.SUPPORTED
    assert only(api.check(model, target="rtx:1.7"), "x").support is Support.SUPPORTED


@pytest.mark.parametrize(
    ("target", "support", "words"),
    [
        ("tensorrt:10.9", "plugin", "compiled ahead of time"),
        ("tensorrt:8.6", "plugin", "for TensorRT 10.9 and later"),
        ("rtx:1.7", "blocked", "takes no plugins"),
    ],
)
def test_a_custom_operation_needs_a_plugin(target, support, words):
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="net")
    builder = GraphBuilder(graph)
    x = builder.input("x", [1, 2, 3, 4], ir.DataType.FLOAT)
    value = builder.op(upsample_nearest, [x], name="mine", rows=2, columns=2)
    graph.outputs.append(value)
    found = ruling(api.check(ir.Model(graph, ir_version=IR_VERSION), target=target), "mine")
    assert (found.rule, found.support) == ("TRT-CUSTOM-OP", support)
    assert words in found.text
