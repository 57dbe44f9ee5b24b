"""Networks in PyTorch and JAX: the golden models whole, and operators one by one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from helpers.closeness import assert_close
from helpers.goldens import GOLDENS
from helpers.quantised import quantise
from helpers.tensorrt_graphs import Fill, one_node, unet, weights
from segrt.errors import UnsupportedLayerError
from segrt.graph.fix_shapes import fix_shapes
from segrt.targets._engine import serialize

Arrays = dict[str, np.ndarray]
# Each model once, as the newest Keras that has it saved it; and what a golden cannot have in JAX.
ONCE = {golden.name: golden for golden in GOLDENS}
NOT_IN_JAX = {"published_segnet": "ScatterElements"}
# Rounding that a long net adds up, in another order of summation.
BOUND = 1e-5


def run_torch(model: ir.Model, feeds: Arrays) -> list[np.ndarray]:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from segrt.measurement.torch_ops._base import torch_module

    net = torch_module(model, torch.float32, torch.device("cpu"))
    with torch.inference_mode():
        inputs = [torch.from_numpy(np.array(feeds[str(v.name)])) for v in model.graph.inputs]
        return [output.numpy() for output in net(*inputs)]


def run_jax(model: ir.Model, feeds: Arrays) -> list[np.ndarray]:
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    from segrt.measurement.jax_ops._base import JaxNet

    net = JaxNet(model, jax.numpy.float32)
    inputs = [jax.numpy.asarray(feeds[str(v.name)]) for v in model.graph.inputs]
    return [np.asarray(output) for output in jax.jit(net)(net.parameters, *inputs)]


RUNNERS: dict[str, Callable[[ir.Model, Arrays], list[np.ndarray]]] = {
    "torch": run_torch,
    "jax": run_jax,
}


def ort_run(model: ir.Model, feeds: Arrays) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        serialize(model), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


@pytest.fixture(params=RUNNERS)
def library(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    return request.param


@pytest.mark.parametrize("golden", ONCE.values(), ids=str)
def test_golden_models_say_what_keras_said(library, golden):
    feeds = golden.arrays("input")
    model = golden.read()
    feeds = {str(v.name): feeds[str(v.name)].astype(v.dtype.numpy()) for v in model.graph.inputs}
    model = fix_shapes(model, {name: array.shape for name, array in feeds.items()})
    if library == "jax" and golden.name in NOT_IN_JAX:
        with pytest.raises(UnsupportedLayerError, match=NOT_IN_JAX[golden.name]):
            run_jax(model, feeds)
        return
    outputs = golden.arrays("output")
    for value, found in zip(model.graph.outputs, RUNNERS[library](model, feeds), strict=True):
        assert_close(found, outputs[str(value.name)], max(BOUND, golden.tolerance))


def _resize(mode: str, rule: str, rounding: str = "floor", sizes=(5, 13)) -> Fill:
    def fill(b, x):
        target = b.constant("sizes", np.array([*x.shape.numpy()[:2], *sizes], np.int64))
        return b.op(
            "Resize", [x, None, None, target], name="y", mode=mode, nearest_mode=rounding,
            coordinate_transformation_mode=rule,
        )  # fmt: skip

    return fill


def _conv(kernel, transposed=False, **settings) -> Fill:
    def fill(b, x):
        count = kernel[1] * settings.get("group", 1) if transposed else kernel[0]
        parts = [x, b.constant("k", weights(*kernel)), b.constant("b", weights(count))]
        return b.op("ConvTranspose" if transposed else "Conv", parts, name="y", **settings)

    return fill


def _unary(op: str, **settings) -> Fill:
    return lambda b, x: b.op(op, [x], name="y", **settings)


def _with(op: str, *constants, **settings) -> Fill:
    def fill(b, x):
        rest = [
            None if array is None else b.constant(f"c{index}", np.asarray(array))
            for index, array in enumerate(constants)
        ]
        return b.op(op, [x, *rest], name="y", **settings)

    return fill


def _floats(*numbers):
    return np.array(numbers, np.float32)


CASES: dict[str, Fill] = {
    **{op.lower(): _unary(op) for op in (
        "Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "HardSigmoid", "HardSwish", "Identity",
        "Mish", "Neg", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign",
        "Tanh",
    )},
    "elu": _unary("Elu", alpha=0.3),
    "celu": _unary("Celu", alpha=0.7),
    "leaky": _unary("LeakyRelu", alpha=0.2),
    "hard_sigmoid_steep": _unary("HardSigmoid", alpha=0.4, beta=0.3),
    "clip": _with("Clip", np.float32(-0.5), np.float32(0.25)),
    "clip_above": _with("Clip", None, np.float32(0.25)),
    "prelu": _with("PRelu", weights(4, 1, 1)),
    "power": _with("Pow", np.float32(2)),
    "mod": _with("Mod", np.float32(0.3), fmod=1),
    "maximum": _with("Max", weights(4, 1, 1), np.float32(0.1)),
    "minimum": _with("Min", weights(9)),
    "broadcast": _with("Mul", weights(4, 1, 9)),
    "where": lambda b, x: b.op("Where", [b.op("Greater", [x, b.constant("z", np.float32(0))],
                               name="g"), x, b.constant("o", weights(9))], name="y"),
    "cast": lambda b, x: b.op("Cast", [b.op("Cast", [x], name="i", to=7)], name="y", to=1),
    "conv_uneven": _conv((6, 4, 2, 3), pads=[0, 1, 1, 2]),
    "conv_same_upper": _conv((6, 4, 3, 2), auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv_same_lower": _conv((6, 4, 3, 2), auto_pad="SAME_LOWER", strides=[1, 2]),
    "conv_grouped": _conv((6, 2, 3, 3), group=2, dilations=[2, 1], pads=[2, 1, 2, 1]),
    "transposed": _conv((4, 6, 3, 3), transposed=True, strides=[2, 2], pads=[0, 0, 1, 1]),
    "transposed_even": _conv((4, 6, 3, 3), transposed=True, strides=[2, 2], pads=[1, 1, 1, 1]),
    "transposed_grouped": _conv((4, 3, 2, 4), transposed=True, group=2, strides=[2, 3]),
    "transposed_longer": _conv((4, 6, 2, 2), transposed=True, strides=[3, 3],
                               output_padding=[1, 2]),
    "transposed_dilated": _conv((4, 6, 3, 2), transposed=True, dilations=[2, 3]),
    "max_pool_uneven": _unary("MaxPool", kernel_shape=[3, 2], strides=[2, 2], pads=[0, 0, 1, 1]),
    "max_pool_ceil": _unary("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    "max_pool_dilated": _unary("MaxPool", kernel_shape=[2, 3], dilations=[3, 2]),
    "average_pool": _unary("AveragePool", kernel_shape=[3, 3], strides=[2, 1], pads=[1, 0, 1, 2]),
    "average_pool_padding_counts": _unary("AveragePool", kernel_shape=[3, 3], pads=[1, 0, 1, 2],
                                          count_include_pad=1),
    "average_pool_ceil": _unary("AveragePool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    "global_average": _unary("GlobalAveragePool"),
    "global_max": _unary("GlobalMaxPool"),
    **{f"resize_{mode}_{rule}": _resize(mode, rule)
       for mode in ("nearest", "linear", "cubic")
       for rule in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")},
    **{f"resize_{rounding}": _resize("nearest", "half_pixel", rounding)
       for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")},
    "resize_twice": _resize("nearest", "asymmetric", "floor", (14, 27)),
    "batch_norm": _with("BatchNormalization", weights(4), weights(4, seed=1), weights(4, seed=2),
                        np.abs(weights(4, seed=3)) + 0.5, epsilon=1e-3),
    "instance_norm": _with("InstanceNormalization", weights(4), weights(4, seed=1)),
    "layer_norm": _with("LayerNormalization", weights(7, 9), weights(7, 9, seed=1), axis=2),
    "softmax": _unary("Softmax", axis=1),
    "log_softmax": _unary("LogSoftmax", axis=-1),
    "matmul": _with("MatMul", weights(9, 5)),
    "reduce_mean": _with("ReduceMean", np.array([2, 3])),
    "reduce_max": _with("ReduceMax", np.array([1]), keepdims=0),
    "reduce_l2": _with("ReduceL2", np.array([-1])),
    "reduce_sum_square": _with("ReduceSumSquare", np.array([1, 2]), keepdims=0),
    "arg_max": lambda b, x: b.op("Cast", [b.op("ArgMax", [x], name="a", axis=1)], name="y", to=1),
    "slice": _with("Slice", np.array([1, -4]), np.array([100, -1]), np.array([2, 3]),
                   np.array([2, 1])),
    "slice_backwards": _with("Slice", np.array([-1]), np.array([-1000]), np.array([3]),
                             np.array([-2])),
    "pad": _with("Pad", np.array([0, 1, 0, 2, 0, 0, 3, 1]), np.float32(0.5)),
    "pad_crops": _with("Pad", np.array([0, 0, -1, 2, 0, 0, 1, -3])),
    "pad_reflect": _with("Pad", np.array([0, 0, 2, 3, 0, 0, 1, 0]), mode="reflect"),
    "pad_edge": _with("Pad", np.array([0, 0, 2, 3, 0, 0, 1, 0]), mode="edge"),
    "tile": _with("Tile", np.array([1, 2, 1, 3])),
    "gather": _with("Gather", np.array([[0, -1], [2, 1]]), axis=2),
    "concat": lambda b, x: b.op("Concat", [x, b.op("Relu", [x], name="r")], name="y", axis=3),
    "split": lambda b, x: b.ops("Split", [x, b.constant("s", np.array([3, 4]))], name="y",
                                outputs=2, axis=2)[1],
    "squeeze": lambda b, x: b.op("Squeeze", [b.op("ReduceMax", [x, b.constant("a", np.array([1]))],
                                 name="m"), b.constant("b", np.array([1]))], name="y"),
    "space_to_depth": lambda b, x: b.op("SpaceToDepth", [b.op("Slice", [
        x, b.constant("s", np.array([0, 0])), b.constant("e", np.array([6, 8])),
        b.constant("a", np.array([2, 3]))], name="c")], name="y", blocksize=2),
    "depth_to_space": _unary("DepthToSpace", blocksize=2),
    "depth_to_space_crd": _unary("DepthToSpace", blocksize=2, mode="CRD"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_operators_say_what_onnx_runtime_says(library, case):
    model = one_node(CASES[case], (2, 4, 7, 9))
    feeds = {"x": np.random.default_rng(5).normal(0, 1, (2, 4, 7, 9)).astype(np.float32)}
    (wanted,), (found,) = ort_run(model, feeds), RUNNERS[library](model, feeds)
    assert_close(found, wanted, 2e-6)


def test_images_stay_channels_last_in_jax():
    pytest.importorskip("jax", reason="JAX is not installed")
    import jax

    from segrt.measurement.jax_ops._base import JaxNet

    model = unet((4, 8), side=16)
    net = JaxNet(model, jax.numpy.float32)
    shape = jax.ShapeDtypeStruct((1, 16, 16, 1), "float32")
    text = str(jax.make_jaxpr(net)(net.parameters, shape))
    # Kernels are turned once; no image is.
    turned = [line for line in text.splitlines() if "transpose[" in line and "conv" not in line]
    assert all("permutation=(2, 3, 1, 0)" in line for line in turned)
    assert turned


def test_quantised_graphs_run_in_floats(library, tmp_path):
    rng = np.random.default_rng(0)
    feeds = {"image": rng.random((1, 16, 16, 1), dtype=np.float32)}
    plain = unet((16, 32), side=16)
    model = quantise(plain, [feeds], tmp_path)
    (wanted,), (found,) = ort_run(plain, feeds), RUNNERS[library](model, feeds)
    assert wanted.std() > 1e-3
    # The weights stay rounded to eight bits, the activations do not.
    assert_close(found, wanted, 2e-2)


def test_an_operator_without_translation_is_named(library):
    model = one_node(_unary("Hardmax"), (2, 4, 7, 9))
    with pytest.raises(UnsupportedLayerError, match="Hardmax"):
        RUNNERS[library](model, {"x": np.zeros((2, 4, 7, 9), np.float32)})


def test_a_wrong_translation_is_seen():
    model = one_node(CASES["conv_uneven"], (2, 4, 7, 9))
    feeds = {"x": np.random.default_rng(5).normal(0, 1, (2, 4, 7, 9)).astype(np.float32)}
    (wanted,) = ort_run(model, feeds)
    for wrong in (wanted * 1.01, np.roll(wanted, 1, 2), wanted[:, ::-1]):
        with pytest.raises(AssertionError):
            assert_close(wrong, wanted, 2e-6)
