"""An error planted in TensorRT's own objects is seen: what is read back is what TensorRT holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from helpers.closeness import relative_l2
from helpers.tensorrt_graphs import one_node, run, unet, weights
from segrt.errors import EngineError
from segrt.targets._base import REGISTRY
from segrt.targets.trt._flavour import RTX
from segrt.targets.trt.decompile import _settle_shape, decompile
from segrt.targets.trt.network import Network, write_network
from segrt.targets.trt.parser import parse_network
from segrt.types import BuildOptions, Precision
from segrt.verification.subject import Subject
from segrt.verification.verifier import verify_package

trt = pytest.importorskip(
    "tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install .[rtx]"
)


def layer(network: Network, name: str, kind: type) -> Any:
    """Return a layer of the finished network as its own class."""
    definition = network.definition
    for index in range(definition.num_layers):
        found = definition.get_layer(index)
        if found.name == name:
            found.__class__ = kind
            return found
    raise LookupError(name)


def resize_by_another_rule(network: Network) -> None:
    up = layer(network, "up0", trt.IResizeLayer)
    up.coordinate_transformation = trt.ResizeCoordinateTransformation.ASYMMETRIC


def transpose_a_kernel(network: Network) -> None:
    conv = layer(network, "down1b:conv", trt.IConvolutionLayer)
    wrong = conv.kernel.reshape(8, 8, 3, 3).transpose(0, 1, 3, 2)
    network.keep.append(np.ascontiguousarray(wrong))
    conv.kernel = trt.Weights(network.keep[-1])


def join_in_another_order(network: Network) -> None:
    join = layer(network, "join0", trt.IConcatenationLayer)
    first, second = join.get_input(0), join.get_input(1)
    join.set_input(0, second)
    join.set_input(1, first)


def average_instead_of_largest(network: Network) -> None:
    layer(network, "pool1", trt.IPoolingLayer).type = trt.PoolingType.AVERAGE


def verify(plant: Callable[[Network], None] | None, kind: str = "linear") -> Any:
    model = unet((4, 8), side=16, kind=kind)
    network = write_network(RTX, model, Precision.FP32)
    if plant is not None:
        plant(network)
    read_back = decompile(network, model)
    opener = REGISTRY.find("onnxruntime").open_model
    subject = Subject(
        "planted", model, read_back, Precision.FP32,
        lambda: opener(read_back, BuildOptions(threads=1)),
        lambda graph: opener(graph, BuildOptions(threads=1)),
    )  # fmt: skip
    image = np.random.default_rng(1).random((1, 16, 16, 1), dtype=np.float32)
    return verify_package(subject, inputs={"image": image})


@pytest.mark.parametrize("kind", ["nearest", "linear", "transposed"])
def test_without_an_error_every_layer_holds(kind: str):
    report = verify(None, kind)
    assert report.ok
    assert {row.name for row in report.rows} >= {"down0a", "pool1", "up0", "join0", "mask"}


@pytest.mark.parametrize(
    ("plant", "blamed"),
    [
        (resize_by_another_rule, "up0"),
        (transpose_a_kernel, "down1b"),
        (join_in_another_order, "join0"),
        (average_instead_of_largest, "pool1"),
    ],
)
def test_a_planted_error_is_blamed_on_its_layer(plant: Callable[[Network], None], blamed: str):
    report = verify(plant)
    assert not report.ok
    wrong = [row.name for row in report.rows if row.status == "wrong"]
    assert wrong
    assert wrong[0] == blamed


def compare(fill: Any, plant: Callable[[Any], None], kind: type) -> float:
    """Return the error that a planted mistake in layer ``y`` makes."""
    model = one_node(fill)
    feeds = {"x": np.random.default_rng(2).normal(0, 1, (1, 4, 16, 16)).astype("f4")}
    network = write_network(RTX, model, Precision.FP32)
    name, wanted = str(model.graph.outputs[0].name), run(model, feeds)
    assert relative_l2(run(decompile(network), feeds)[name], wanted[name]) <= 2e-6
    plant(layer(network, "y", kind))
    return relative_l2(run(decompile(network), feeds)[name], wanted[name])


def test_padding_on_the_wrong_side():
    def plant(conv: Any) -> None:
        conv.pre_padding, conv.post_padding = (1, 1), (0, 0)

    error = compare(
        lambda b, x: b.op("Conv", [x, b.constant("k", weights(8, 4, 2, 2))], name="y",
                          pads=[0, 0, 1, 1]),
        plant, trt.IConvolutionLayer,
    )  # fmt: skip
    assert error > 0.1


def test_another_epsilon():
    def plant(norm: Any) -> None:
        norm.epsilon = 1e-3

    error = compare(
        lambda b, x: b.op("InstanceNormalization", [x, b.constant("s", weights(4)),
                          b.constant("b", weights(4, seed=1))], name="y", epsilon=1e-5),
        plant, trt.INormalizationLayer,
    )  # fmt: skip
    assert error > 1e-4


def test_another_axis():
    def plant(softmax: Any) -> None:
        softmax.axes = 1 << 3

    error = compare(lambda b, x: b.op("Softmax", [x], name="y", axis=1), plant, trt.ISoftMaxLayer)
    assert error > 0.1


def test_padding_counted_into_an_average():
    def plant(pool: Any) -> None:
        pool.average_count_excludes_padding = False

    error = compare(
        lambda b, x: b.op("AveragePool", [x], name="y", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        plant, trt.IPoolingLayer,
    )  # fmt: skip
    assert error > 1e-3


def test_another_slope():
    def plant(activation: Any) -> None:
        activation.alpha = 0.2

    error = compare(
        lambda b, x: b.op("LeakyRelu", [x], name="y", alpha=0.3), plant, trt.IActivationLayer
    )
    assert error > 1e-2


def field(name: str, value: Any) -> Callable[[Any], None]:
    return lambda layer: setattr(layer, name, value)


def array(b: Any, name: str, values: Any) -> Any:
    return b.constant(name, np.asarray(values))


NEAREST = {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"}
PLANTED: dict[str, tuple[Any, Callable[[Any], None], str]] = {
    "a running sum backwards": (
        lambda b, x: b.op("CumSum", [x, array(b, "a", np.int64(2))], name="y"),
        field("reverse", True), "ICumulativeLayer",
    ),
    "a running sum without its element": (
        lambda b, x: b.op("CumSum", [x, array(b, "a", np.int64(2))], name="y"),
        field("exclusive", True), "ICumulativeLayer",
    ),
    "other letters": (
        lambda b, x: b.op("Einsum", [x, array(b, "w", weights(16, 16))], name="y",
                          equation="bchw,wk->bchk"),
        field("equation", "bchw,kw->bchk"), "IEinsumLayer",
    ),
    "corners aligned": (
        lambda b, x: b.op("GridSample", [x, array(b, "g", np.linspace(-1, 1, 18, dtype="f4")
                          .reshape(1, 3, 3, 2))], name="y"),
        field("align_corners", True), "IGridSampleLayer",
    ),
    "another border": (
        lambda b, x: b.op("GridSample", [x, array(b, "g", np.linspace(-2, 2, 18, dtype="f4")
                          .reshape(1, 3, 3, 2))], name="y"),
        field("sample_mode", trt.SampleMode.REFLECT), "IGridSampleLayer",
    ),
    "entries of another axis": (
        lambda b, x: b.op("Gather", [x, array(b, "i", np.arange(16)[::-1])], name="y", axis=2),
        field("axis", 3), "IGatherLayer",
    ),
    "elements of another axis": (
        lambda b, x: b.op("GatherElements", [x, array(b, "i", np.arange(16).repeat(64)
                          .reshape(1, 4, 16, 16) % 4)], name="y", axis=1),
        field("axis", 2), "IGatherLayer",
    ),
    "a part that begins elsewhere": (
        lambda b, x: b.ops("Split", [x, array(b, "s", [1, 3])], name="y", outputs=2, axis=1)[0],
        field("start", (0, 2, 0, 0)), "ISliceLayer",
    ),
    "a tile of another axis": (
        lambda b, x: b.op("Reshape", [b.op("Tile", [x, array(b, "n", [1, 1, 1, 2])], name="y"),
                          array(b, "to", [-1])], name="flat"),
        field("axis", 2), "IConcatenationLayer",
    ),
    "another function": (
        lambda b, x: b.op("Sinh", [x], name="y"),
        field("op", trt.UnaryOperation.SIN), "IUnaryLayer",
    ),
    "the wrong side of a limit": (
        lambda b, x: b.op("Clip", [x, None, b.op("ReduceMean", [x], name="m", keepdims=0)],
                          name="y"),
        field("op", trt.ElementWiseOperation.MAX), "IElementWiseLayer",
    ),
    "a scaled sum": (
        lambda b, x: b.op("ReduceSumSquare", [x, array(b, "a", [1])], name="y"),
        field("op", trt.ReduceOperation.AVG), "IReduceLayer",
    ),
    "a resize of other rounding": (
        lambda b, x: b.op("Resize", [x, None, None, array(b, "s", [1, 4, 24, 40])], name="y",
                          mode="nearest", **NEAREST),
        field("nearest_rounding", trt.ResizeRoundMode.FLOOR), "IResizeLayer",
    ),
    "an edge instead of a mirror": (
        lambda b, x: b.op("Pad", [x, array(b, "p", [0, 0, 2, 2, 0, 0, 2, 2])], name="y",
                          mode="reflect"),
        field("mode", trt.SampleMode.CLAMP), "ISliceLayer",
    ),
    "groups of channels": (
        lambda b, x: b.op("Conv", [x, array(b, "k", weights(4, 2, 1, 1))], name="y", group=2),
        lambda layer: (
            setattr(layer, "kernel", trt.Weights(np.ascontiguousarray(layer.kernel[::-1]))),
        ), "IConvolutionLayer",
    ),
    "dilated taps": (
        lambda b, x: b.op("Conv", [x, array(b, "k", weights(4, 4, 3, 3))], name="y",
                          pads=[2] * 4, dilations=[2, 2]),
        lambda layer: (setattr(layer, "dilation_nd", (1, 1)),
                       setattr(layer, "padding_nd", (1, 1))), "IConvolutionLayer",
    ),
    "normalised over another axis": (
        lambda b, x: b.op("LayerNormalization", [x, array(b, "g", np.ones((1,), "f4"))],
                          name="y", axis=-1),
        field("axes", 1 << 2), "INormalizationLayer",
    ),
    "a hard sigmoid of another slope": (
        lambda b, x: b.op("HardSigmoid", [x], name="y", alpha=1 / 6, beta=0.5),
        field("alpha", 0.2), "IActivationLayer",
    ),
    "entries put along another axis": (
        lambda b, x: b.op("ScatterElements", [x, array(b, "i", np.arange(16).reshape(1, 4, 2, 2)),
                          array(b, "u", weights(1, 4, 2, 2, seed=4))], name="y", axis=3),
        field("axis", 2), "IScatterLayer",
    ),
    "a rest that is none": (
        lambda b, x: b.op("Cast", [b.op("Mod", [b.op("Cast", [x], name="i", to=7),
                          array(b, "d", np.int64(2))], name="y")], name="f", to=1),
        field("op", trt.ElementWiseOperation.SUM), "IElementWiseLayer",
    ),
    "a factor transposed": (
        lambda b, x: b.op("MatMul", [x, array(b, "w", weights(16, 16))], name="y"),
        field("op1", trt.MatrixOperation.TRANSPOSE), "IMatrixMultiplyLayer",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_setting_is_read_back(name: str):
    fill, plant, kind = PLANTED[name]
    assert compare(fill, plant, getattr(trt, kind)) > 1e-3


@pytest.mark.parametrize("start", [(0, 0, 0, 5), (0, 1, 0, 0)])
def test_a_repetition_that_begins_elsewhere(start: tuple[int, ...]):
    model = one_node(lambda b, x: b.op("Tile", [x, array(b, "n", [1, 2, 1, 2])], name="y"))
    feeds = {"x": np.random.default_rng(2).normal(0, 1, (1, 4, 16, 16)).astype("f4")}
    network, wanted = parse_network(RTX, model, Precision.FP32), run(model, feeds)["y"]
    assert np.array_equal(run(decompile(network), feeds)["y"], wanted)
    layer(network, "y", trt.ISliceLayer).start = start
    found = run(decompile(network), feeds)["y"]
    shift = [-place for place in start[2:]]
    np.testing.assert_array_equal(found, np.roll(wanted, [-start[1], *shift], (1, 2, 3)))


def test_a_range_that_begins_elsewhere():
    def fill(b: Any, x: Any) -> Any:
        ends = [array(b, name, np.int64(number)) for name, number in (("a", 1), ("e", 9), ("d", 2))]
        return b.op("Gather", [x, b.op("Range", ends, name="places")], name="y", axis=3)

    model = one_node(fill)
    feeds = {"x": np.random.default_rng(2).normal(0, 1, (1, 4, 16, 16)).astype("f4")}
    network = write_network(RTX, model, Precision.FP32)
    assert np.array_equal(run(decompile(network), feeds)["y"], feeds["x"][..., 1:9:2])
    first = layer(network, "a", trt.IConstantLayer)
    network.keep.append(np.array(3, np.int64))
    first.weights = trt.Weights(trt.int64, network.keep[-1].ctypes.data, 1)
    assert np.array_equal(run(decompile(network), feeds)["y"], feeds["x"][..., 3:9:2])


def test_sizes_that_contradict_one_another_are_refused():
    model = one_node(lambda b, x: b.op("MaxPool", [x], name="y", kernel_shape=[2, 2]))
    network = write_network(RTX, model, Precision.FP32)
    value = ir.Value(name="y", shape=ir.Shape([1, 4, 15, 15]))
    pool = layer(network, "y", trt.IPoolingLayer)
    _settle_shape(value, [1, 4, 15, -1], pool)
    with pytest.raises(EngineError, match="another shape"):
        _settle_shape(value, [1, 4, 16, 15], pool)


def test_the_smallest_instead_of_the_largest():
    def plant(top: Any) -> None:
        top.op = trt.TopKOperation.MIN

    def fill(b: Any, x: Any) -> Any:
        best = b.op("ArgMax", [x], name="y", axis=1)
        return b.op("Cast", [best], name="mask", to=2)

    model = one_node(fill)
    feeds = {"x": np.random.default_rng(2).normal(0, 1, (1, 4, 16, 16)).astype("f4")}
    network = write_network(RTX, model, Precision.FP32)
    assert np.array_equal(run(decompile(network), feeds)["mask"], run(model, feeds)["mask"])
    plant(layer(network, "y:best", trt.ITopKLayer))
    wrong = run(decompile(network), feeds)["mask"]
    assert (wrong != run(model, feeds)["mask"]).mean() > 0.9


def test_a_threshold_that_moved():
    def fill(b: Any, x: Any) -> Any:
        over = b.op("Greater", [x, b.constant("limit", np.float32(0.1))], name="y")
        return b.op("Cast", [over], name="mask", to=2)

    model = one_node(fill)
    feeds = {"x": np.random.default_rng(2).normal(0, 1, (1, 4, 16, 16)).astype("f4")}
    network = write_network(RTX, model, Precision.FP32)
    limit = layer(network, "limit", trt.IConstantLayer)
    network.keep.append(np.full((1, 1, 1, 1), 0.3, "f4"))
    limit.weights = trt.Weights(network.keep[-1])
    wrong = run(decompile(network), feeds)["mask"]
    assert 0.02 < (wrong != run(model, feeds)["mask"]).mean() < 0.2
