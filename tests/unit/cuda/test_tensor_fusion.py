"""Values of any rank in the CUDA engine's emulation: what is launched, and that it is right."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from helpers.emulated_engine import Ran, run

pytest.importorskip("cuda.core", reason="cuda-core is not installed")
RNG = np.random.default_rng(5)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, ...]],
    constants: Mapping[str, np.ndarray],
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, s) for name, s in inputs.items()],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _both(
    monkeypatch: pytest.MonkeyPatch, model: onnx.ModelProto, **options: object
) -> tuple[Ran, np.ndarray, np.ndarray]:
    """Run the emulated engine and ONNX's own reference on random numbers."""
    feeds = {
        value.name: RNG.normal(size=[d.dim_value for d in value.type.tensor_type.shape.dim]).astype(
            np.float32
        )
        for value in model.graph.input
    }
    (wanted,) = ReferenceEvaluator(model).run(None, feeds)
    ran = run(monkeypatch, ir.from_proto(model), feeds, memory=1 << 24, **options)  # type: ignore[arg-type]
    return ran, ran.outputs["y"], np.asarray(wanted)


def _numbers(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def test_a_dense_layer_is_one_launch_and_may_be_a_convolution(monkeypatch):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["y"]),
    ]
    constants = {"w": _numbers(24, 32), "b": _numbers(32)}
    model = _model(nodes, {"x": (2, 20, 24)}, constants)
    for costs, launched in (({"cudnn": 9.0}, ["product"]), ({"cudnn": 1.0}, ["cudnn"])):
        ran, found, wanted = _both(monkeypatch, model, costs=costs)
        assert ran.launched == launched
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_attention_moves_nothing(monkeypatch):
    nodes = [
        helper.make_node("Reshape", ["q", "heads"], ["q4"]),
        helper.make_node("Reshape", ["k", "heads"], ["k4"]),
        helper.make_node("Reshape", ["v", "heads"], ["v4"]),
        helper.make_node("Transpose", ["q4"], ["qt"], perm=[0, 2, 1, 3]),
        helper.make_node("Transpose", ["k4"], ["kt"], perm=[0, 2, 3, 1]),
        helper.make_node("Transpose", ["v4"], ["vt"], perm=[0, 2, 1, 3]),
        helper.make_node("MatMul", ["qt", "kt"], ["raw"]),
        helper.make_node("Div", ["raw", "root"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], ["share"], axis=-1),
        helper.make_node("MatMul", ["share", "vt"], ["mixed"]),
        helper.make_node("Transpose", ["mixed"], ["back"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["back", "flat"], ["out"]),
        helper.make_node("Mul", ["out", "gain"], ["y"]),
    ]
    constants = {
        "heads": np.array([2, 10, 3, 4]),
        "flat": np.array([2, 10, 12]),
        "root": np.array(2.0, np.float32),
        "gain": _numbers(12),
    }
    model = _model(nodes, dict.fromkeys("qkv", (2, 10, 12)), constants)
    ran, found, wanted = _both(monkeypatch, model, costs={"dot": 9.0})
    assert ran.launched == ["product", "normalise", "product", "strided"]
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def _op(name: str, inputs: str = "x", **settings: object) -> onnx.NodeProto:
    return helper.make_node(name, inputs.split(), ["y"], **settings)


SINGLE: list[tuple[str, onnx.NodeProto, tuple[int, ...], dict[str, np.ndarray]]] = [
    ("pad reflect", _op("Pad", "x p", mode="reflect"), (2, 5, 6), {
        "p": np.array([0, 2, 1, 0, 1, 3]),
    }),
    ("pad edge", _op("Pad", "x p", mode="edge"), (4, 5), {"p": np.array([2, 0, 1, 3])}),
    ("pad", _op("Pad", "x p"), (2, 5, 6), {"p": np.array([1, 2, 0, 0, 3, 1])}),
    ("slice back", _op("Slice", "x s e a t"), (4, 9), {
        "s": np.array([-1, 8]), "e": np.array([-9, 1]),
        "a": np.array([0, 1]), "t": np.array([-2, -3]),
    }),
    ("tile", _op("Tile", "x r"), (2, 3, 4), {"r": np.array([2, 1, 3])}),
    ("gather", _op("Gather", "x i", axis=1), (2, 5, 3), {"i": np.array([[4, -1], [0, 2]])}),
    ("space to depth", _op("SpaceToDepth", blocksize=2), (2, 3, 4, 6), {}),
    ("transpose", _op("Transpose", perm=[3, 0, 4, 2, 1]), (2, 3, 1, 4, 5), {}),
    ("expand", _op("Expand", "x s"), (3, 1), {"s": np.array([2, 3, 4])}),
    ("concat constant", _op("Concat", "x c x", axis=1), (2, 3), {"c": _numbers(2, 4)}),
    ("concat of many", _op("Concat", " ".join("x" * 19), axis=-1), (2, 3), {}),
    ("mean of all", _op("ReduceMean", keepdims=0), (3, 4, 5), {}),
    ("logsumexp", _op("ReduceLogSumExp", "x a"), (3, 4, 5), {"a": np.array([-1])}),
    ("layer norm", _op("LayerNormalization", "x s b", axis=1), (3, 4, 5), {
        "s": _numbers(4, 5), "b": _numbers(4, 5),
    }),
    ("softmax in the middle", _op("Softmax", axis=1), (3, 4, 5), {}),
    ("gemm", _op("Gemm", "x w b", transB=1, alpha=0.5, beta=2.0), (5, 4), {
        "w": _numbers(3, 4), "b": _numbers(3),
    }),
    ("einsum", _op("Einsum", "x w", equation="...ij,kj->...ki"), (2, 3, 4), {"w": _numbers(5, 4)}),
    ("vector times matrix", _op("MatMul", "x w"), (4,), {"w": _numbers(2, 4, 3)}),
    ("broadcast both ways", _op("Sub", "x c"), (4, 1), {"c": _numbers(3, 1, 5)}),
    ("many operands", _op("Max", "x c d"), (2, 3), {"c": _numbers(3), "d": _numbers(2, 1)}),
    ("rank five", _op("Mul", "x c"), (2, 3, 4, 2, 2), {"c": _numbers(3, 1, 1, 1)}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("node", "shape", "constants"), [c[1:] for c in SINGLE], ids=[c[0] for c in SINGLE]
)
def test_an_operator_alone(monkeypatch, node, shape, constants):
    _, found, wanted = _both(monkeypatch, _model([node], {"x": shape}, constants))
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


CHAINS: dict[str, Callable[[], tuple[list[onnx.NodeProto], dict[str, np.ndarray]]]] = {
    "windows of an image": lambda: (
        [
            helper.make_node("Reshape", ["x", "six"], ["a"]),
            helper.make_node("Transpose", ["a"], ["b"], perm=[0, 2, 4, 1, 3, 5]),
            helper.make_node("Reshape", ["b", "rows"], ["c"]),
            helper.make_node("Relu", ["c"], ["y"]),
        ],
        {"six": np.array([2, 3, 2, 2, 2, 3]), "rows": np.array([8, 18])[[0, 1]]},
    ),
    "slices of a shape": lambda: (
        [
            helper.make_node("Shape", ["x"], ["s"]),
            helper.make_node("Gather", ["s", "first"], ["n"]),
            helper.make_node("Unsqueeze", ["n", "zero"], ["n1"]),
            helper.make_node("Concat", ["n1", "rest"], ["to"], axis=0),
            helper.make_node("Reshape", ["x", "to"], ["r"]),
            helper.make_node("Slice", ["r", "zero", "two", "one"], ["c"]),
            helper.make_node("Neg", ["c"], ["y"]),
        ],
        {
            "first": np.array(0),
            "zero": np.array([0]),
            "one": np.array([1]),
            "two": np.array([2]),
            "rest": np.array([-1]),
        },
    ),
    "rows of a table": lambda: (
        [
            helper.make_node("Clip", ["x", "low", "high"], ["c"]),
            helper.make_node("Cast", ["c"], ["i"], to=7),
            helper.make_node("Gather", ["t", "i"], ["y"], axis=1),
        ],
        {
            "low": np.array(-2, np.float32),
            "high": np.array(2, np.float32),
            "t": np.float32(np.arange(10).reshape(2, 5)),
        },
    ),
    "a mask": lambda: (
        [
            helper.make_node("Greater", ["x", "c"], ["m"]),
            helper.make_node("Not", ["m"], ["n"]),
            helper.make_node("Where", ["n", "x", "c"], ["w"]),
            helper.make_node("ArgMax", ["w"], ["i"], axis=1, keepdims=0),
            helper.make_node("Cast", ["i"], ["y"], to=1),
        ],
        {"c": np.array(0.25, np.float32)},
    ),
}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", CHAINS)
def test_chains_of_operators(monkeypatch, name, precision):
    nodes, constants = CHAINS[name]()
    model = _model(nodes, {"x": (2, 3, 4, 6)}, constants)
    _, found, wanted = _both(monkeypatch, model, precision=precision)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=1e-5 if precision == "fp32" else 2e-3)


def test_few_rows_are_no_tile(monkeypatch):
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"])]
    model = _model(nodes, {"x": (2, 96)}, {"w": _numbers(96, 24), "b": _numbers(24)})
    for costs, launched in (({"product": 9.0}, ["dot"]), ({"dot": 9.0}, ["product"])):
        ran, found, wanted = _both(monkeypatch, model, costs=costs)
        assert ran.launched == launched
        np.testing.assert_allclose(found, wanted, atol=1e-4)
