"""Quantised graphs in the CUDA engine, without a GPU, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from helpers.emulated_engine import run
from helpers.quantised import ort_run, quantise
from helpers.tensorrt_graphs import one_node, unet, weights
from segrt.cuda.quantisation import check_quantisation, is_quantised
from segrt.errors import UnsupportedLayerError, UsageError
from segrt.graph.builder import IR_VERSION, OPSET, GraphBuilder
from segrt.graph.infer_shapes import infer_shapes
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower
from segrt.targets._base import REGISTRY
from segrt.targets.cuda import LOWERINGS
from segrt.types import BuildOptions, Precision

pytest.importorskip("cuda.core", reason="cuda-core is not installed")
pytest.importorskip("onnxruntime.quantization", reason="onnxruntime is not installed")

# Hopper has own kernels, other generations have the library's.
OWN, LIBRARY = (9, 0), (8, 6)


def _feeds(model: ir.Model, seed: int) -> dict[str, np.ndarray]:
    value = model.graph.inputs[0]
    rng = np.random.default_rng(seed)
    return {value.name or "": rng.random(tuple(value.shape.numpy()), dtype=np.float32)}


@pytest.fixture(scope="module", params=[lowering.upsampling_forms for lowering in LOWERINGS])
def nets(request, tmp_path_factory) -> tuple[ir.Model, ir.Model]:
    """A U-Net of 64 and 128 channels as each lowering writes it, and quantised."""
    model, _ = lower(unet((64, 128), side=24), PassContext(upsampling_forms=request.param))
    quantised = quantise(
        model, [_feeds(model, seed) for seed in range(3)], tmp_path_factory.mktemp("q")
    )
    return model, quantised


def _error(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


@pytest.mark.parametrize("capability", [OWN, LIBRARY], ids=["own", "library"])
def test_a_quantised_network(monkeypatch, nets, capability):
    plain, quantised = nets
    lowered, _ = lower(quantised, PassContext(LOWERINGS[0].upsampling_forms))
    assert is_quantised(lowered)
    feeds = _feeds(plain, 9)
    ran = run(monkeypatch, lowered, feeds, "int8", capability=capability)
    found = next(iter(ran.outputs.values()))
    wanted, rounded = ort_run(plain, feeds)[0], ort_run(quantised, feeds)[0]
    # The engine rounds less often than the graph says, never more.
    assert _error(found, wanted) <= 1.05 * _error(rounded, wanted)
    assert _error(found, rounded) <= 1.5 * _error(rounded, wanted)
    own = {"resident_int8", "phase_int8"} & set(ran.launched)
    assert own if capability is OWN else not own


def test_other_generations_use_the_library(monkeypatch, nets):
    plain, quantised = nets
    feeds = _feeds(plain, 9)
    here = run(monkeypatch, quantised, feeds, "int8", capability=OWN)
    there = run(monkeypatch, quantised, feeds, "int8", capability=LIBRARY)
    assert not any(name.endswith("int8") for name in there.launched)
    assert "narrow_convolution" in there.launched or "head" in there.launched
    for name, array in here.outputs.items():
        assert _error(there.outputs[name], array) <= 1e-2


def _hand_made(scales: tuple[float, float], *, point: int = 0, kind: str = "int8") -> ir.Model:
    """Two convolutions, one pool, and both in a concatenation: rounded where the engine rounds.

    Args:
        scales: Of the first activation and of the others.
        point: Zero point of the first activation.
        kind: Its type.
    """
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="hand")
    b = GraphBuilder(graph)
    rng = np.random.default_rng(3)

    def rounded(x: ir.Value, name: str, scale: float) -> ir.Value:
        dtype = np.dtype(kind if name == "a" else "int8")
        ends = [b.constant(f"{name}:scale", np.float32(scale)),
                b.constant(f"{name}:p", np.array(point if name == "a" else 0, dtype))]  # fmt: skip
        q = b.op("QuantizeLinear", [x, *ends], name=f"{name}:q")
        return b.op("DequantizeLinear", [q, *ends], name=f"{name}:dq")

    def conv(x: ir.Value, name: str, inputs: int, outputs: int, factor: float) -> ir.Value:
        integers = rng.integers(-127, 128, (outputs, inputs, 3, 3)).astype(np.int8)
        scale = (factor * rng.uniform(0.5, 2, outputs)).astype(np.float32)
        ends = [b.constant(f"{name}:w", integers), b.constant(f"{name}:ws", scale),
                b.constant(f"{name}:wz", np.zeros(outputs, np.int8))]  # fmt: skip
        weights = b.op("DequantizeLinear", ends, name=f"{name}:dw", axis=0)
        bias = b.constant(f"{name}:b", rng.normal(0, 0.1, outputs).astype("f4"))
        y = b.op("Conv", [x, weights, bias], name=f"{name}:conv", pads=[1, 1, 1, 1])
        return b.op("Relu", [y], name=name)

    x = b.input("x", (2, 1, 14, 10), ir.DataType.FLOAT)
    first = rounded(conv(x, "first", 1, 64, 0.01), "a", scales[0])
    second = rounded(conv(first, "second", 64, 64, 5e-4), "b", scales[1])
    joined = b.op("Concat", [second, conv_part(b, second, rounded, scales[1])], name="join", axis=1)
    third = conv(joined, "third", 128, 16, 3e-4)
    graph.outputs.append(third)
    return ir.Model(graph, ir_version=IR_VERSION)


def conv_part(b: GraphBuilder, x: ir.Value, rounded, scale: float) -> ir.Value:
    pooled = b.op("MaxPool", [x], name="pool", kernel_shape=[2, 2], strides=[2, 2])
    scales = b.constant("up:scales", np.array([1, 1, 2, 2], "f4"))
    up = b.op("Resize", [rounded(pooled, "c", scale), None, scales], name="up", mode="nearest",
              coordinate_transformation_mode="asymmetric", nearest_mode="floor")  # fmt: skip
    return rounded(up, "d", scale)


@pytest.mark.parametrize("capability", [OWN, LIBRARY], ids=["own", "library"])
def test_integers_are_those_of_the_graph(monkeypatch, capability):
    model = _hand_made((0.02, 0.05))
    infer_shapes(model.graph)
    feeds = {"x": np.random.default_rng(0).random((2, 1, 14, 10), dtype=np.float32)}
    monkeypatch.setattr("segrt.cuda.planning.drop_signs", lambda program, _: program)
    found = run(monkeypatch, model, feeds, "int8", capability=capability)
    wanted = ort_run(model, feeds)[0]
    # Only sums that fall between two integers by less than float32 tells may differ.
    assert _error(next(iter(found.outputs.values())), wanted) <= 2e-3
    assert found.launched.count("pointwise") == 0


def test_integers_behind_a_relu_are_twice_as_fine(monkeypatch):
    """On Hopper, where own kernels read them: as unsigned integers with half the scale."""
    feeds = {"x": np.random.default_rng(0).random((2, 1, 14, 10), dtype=np.float32)}
    signed = _hand_made((0.02, 0.05))
    unsigned = _hand_made((0.01, 0.05), kind="uint8")
    for model in (signed, unsigned):
        infer_shapes(model.graph)
    found = run(monkeypatch, signed, feeds, "int8", capability=OWN)
    output = next(iter(found.outputs.values()))
    assert _error(output, ort_run(unsigned, feeds)[0]) <= 2e-3
    assert _error(output, ort_run(signed, feeds)[0]) >= 4e-3


def test_zero_points_and_unsigned_integers_are_refused(monkeypatch):
    feeds = {"x": np.zeros((2, 1, 14, 10), np.float32)}
    for settings in ({"point": 3}, {"kind": "uint8"}):
        model = _hand_made((0.02, 0.05), **settings)
        infer_shapes(model.graph)
        with pytest.raises(UnsupportedLayerError, match="not symmetric"):
            run(monkeypatch, model, feeds, "int8")


def test_precision_and_quantisation_go_together(nets):
    plain, quantised = nets
    check_quantisation(plain, integers=False)
    check_quantisation(quantised, integers=True)
    with pytest.raises(UsageError, match="carries no quantisation"):
        check_quantisation(plain, integers=True)
    with pytest.raises(UsageError, match="--precision int8"):
        check_quantisation(quantised, integers=False)


@pytest.mark.gpu
def test_on_a_gpu(monkeypatch, nets):
    """The GPU says what the emulated engine says, but for sums between two integers."""
    plain, quantised = nets
    target = REGISTRY.find("cuda")
    assert target is not None
    feeds = _feeds(plain, 9)
    emulated = run(monkeypatch, quantised, feeds, "int8")
    monkeypatch.undo()
    with target.open_model(quantised, BuildOptions(precision=Precision.INT8)) as session:
        found = session.run(feeds)
    for name, array in emulated.outputs.items():
        assert _error(found[name], array) <= 5e-3


def test_operators_on_images_take_integers(monkeypatch, tmp_path):
    """Padding, pools, a product with one number a channel, resizing, a softmax in the middle."""

    def fill(b: GraphBuilder, x: ir.Value) -> ir.Value:
        def conv(value: ir.Value, name: str, shape: tuple[int, ...], act: str, **settings: Any):
            kernel = b.constant(f"{name}/kernel", weights(*shape, seed=len(name)))
            made = b.op("Conv", [value, kernel], name=f"{name}:conv", **settings)
            return b.op(act, [made], name=name)

        def ints(name: str, *numbers: int) -> ir.Value:
            return b.constant(name, np.array(numbers))

        value = conv(x, "first", (16, 3, 3, 3), "Relu", pads=[1, 1, 1, 1])
        edges = ints("edges", 0, 0, 1, 2, 0, 0, 3, 0)
        value = b.op("Pad", [value, edges], name="mirrored", mode="reflect")
        value = conv(value, "second", (32, 16, 3, 3), "Relu")
        value = b.op("MaxPool", [value], name="pool", kernel_shape=[3, 3], strides=[2, 2],
                     dilations=[2, 1])  # fmt: skip
        pooled = b.op("GlobalAveragePool", [value], name="pooled")
        gate = conv(pooled, "gate", (32, 32, 1, 1), "Sigmoid")
        value = b.op("Mul", [value, gate], name="gated")
        value = b.op("Resize", [value, None, None, ints("size", 1, 32, 13, 17)], name="resized",
                     mode="linear")  # fmt: skip
        value = b.op("Softmax", [conv(value, "third", (32, 32, 3, 3), "Relu")], name="soft", axis=1)
        return b.op("Conv", [value, b.constant("last", weights(3, 32, 1, 1))], name="y")

    model = one_node(fill, (1, 3, 24, 20))
    quantised = quantise(model, [_feeds(model, seed) for seed in range(3)], tmp_path)
    feeds = _feeds(model, 9)
    ran = run(monkeypatch, quantised, feeds, "int8")
    found = next(iter(ran.outputs.values()))
    wanted, rounded = ort_run(model, feeds)[0], ort_run(quantised, feeds)[0]
    assert _error(found, wanted) <= 1.1 * _error(rounded, wanted)
    assert _error(found, rounded) <= 0.5 * _error(rounded, wanted)
    assert {"gather_pixels", "global_pooling", "resample", "softmax"} <= set(ran.launched)
