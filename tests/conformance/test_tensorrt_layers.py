"""Every operator family: written to TensorRT, built, read back, and run beside the graph."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from helpers.closeness import relative_l2
from helpers.tensorrt_graphs import Fill, one_node, run, weights
from segrt.errors import SegrtError, UnsupportedConfigError
from segrt.graph.builder import GraphBuilder
from segrt.targets.trt._flavour import RTX
from segrt.targets.trt.decompile import decompile
from segrt.targets.trt.engine import build_engine
from segrt.targets.trt.layers._base import REGISTRY
from segrt.targets.trt.network import write_network
from segrt.targets.trt.parser import parse_network
from segrt.types import Precision

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install .[rtx]")

FP32_BOUND = 2e-6
# Weights are rounded to half precision, arithmetic is not.
FP16_BOUND = 2e-3
IMAGE = (1, 4, 16, 16)

CASES: dict[str, tuple[Fill, tuple[int | None, ...]]] = {}


def case(name: str, fill: Fill, shape: tuple[int | None, ...] = IMAGE) -> None:
    assert name not in CASES
    CASES[name] = (fill, shape)


def op(op_type: str, *constants: object, **attributes: object) -> Fill:
    """One node of ``x`` and constants; None leaves an input out."""

    def fill(b: GraphBuilder, x: ir.Value) -> ir.Value:
        inputs = [
            None if array is None else b.constant(f"c{index}", np.asarray(array))
            for index, array in enumerate(constants)
        ]
        return b.op(op_type, [x, *inputs], name="y", **attributes)

    return fill


def conv(kernel: tuple[int, ...], *, bias: bool = True, **attributes: object) -> Fill:
    arrays = [weights(*kernel), *([weights(kernel[0], seed=1)] if bias else [])]
    return op("Conv", *arrays, **attributes)


def deconv(kernel: tuple[int, ...], *, groups: int = 1, bias: bool = True, **rest: object) -> Fill:
    arrays = [weights(*kernel), *([weights(kernel[1] * groups, seed=1)] if bias else [])]
    return op("ConvTranspose", *arrays, group=groups, **rest)


i64 = lambda *numbers: np.array(numbers, np.int64)  # noqa: E731
f32 = lambda *numbers: np.array(numbers, np.float32)  # noqa: E731

# Convolutions
case("conv 3x3", conv((8, 4, 3, 3), pads=[1, 1, 1, 1]))
case("conv without bias", conv((8, 4, 3, 3), bias=False, pads=[1, 1, 1, 1]))
case("conv 2x2 padded behind", conv((8, 4, 2, 2), pads=[0, 0, 1, 1]))
case("conv 4x4 padded unevenly", conv((8, 4, 4, 4), pads=[1, 1, 2, 2]))
case("conv same, stride 2, even", conv((8, 4, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"))
case("conv same, stride 2, odd", conv((8, 4, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
     (1, 4, 17, 15))  # fmt: skip
case("conv same lower", conv((8, 4, 4, 4), auto_pad="SAME_LOWER"))
case("conv same, one tap, stride 2", conv((8, 4, 1, 1), strides=[2, 2], auto_pad="SAME_UPPER"),
     (1, 4, 17, 16))  # fmt: skip
case("conv shorter than its stride", conv((8, 4, 1, 1), strides=[2, 2], pads=[0, 0, 0, 0]))
case("conv valid", conv((8, 4, 3, 3)))
case("conv dilated", conv((8, 4, 3, 3), dilations=[2, 3], pads=[2, 3, 2, 3]))
case("conv grouped", conv((8, 2, 3, 3), group=2, pads=[1, 1, 1, 1]))
case("conv depthwise", conv((4, 1, 3, 3), group=4, pads=[1, 1, 1, 1]))
case("conv depthwise, two each", conv((8, 1, 3, 3), group=4, pads=[1, 1, 1, 1]))
case("conv 1x7", conv((8, 4, 1, 7), pads=[0, 3, 0, 3]))
case("conv of free batch, same, stride 2", conv((8, 4, 3, 3), strides=[2, 2],
     auto_pad="SAME_UPPER"), (None, 4, 17, 16))  # fmt: skip

# Transposed convolutions
case("deconv 2x2", deconv((4, 8, 2, 2), strides=[2, 2]))
case("deconv 3x3 cut behind", deconv((4, 8, 3, 3), strides=[2, 2], pads=[0, 0, 1, 1]))
case("deconv 4x4 cut", deconv((4, 8, 4, 4), strides=[2, 2], pads=[1, 1, 1, 1]))
case("deconv lengthened", deconv((4, 8, 2, 2), strides=[3, 3], output_padding=[1, 1]))
case("deconv lengthened, no bias", deconv((4, 8, 2, 2), bias=False, strides=[3, 3],
     output_padding=[1, 1]))  # fmt: skip
case("deconv with less cut", deconv((4, 8, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1],
     output_padding=[1, 1]))  # fmt: skip
case("deconv grouped", deconv((4, 4, 2, 2), groups=2, strides=[2, 2]))
case("deconv depthwise", deconv((4, 1, 4, 4), groups=4, strides=[2, 2], pads=[1, 1, 1, 1]))
case("deconv dilated", deconv((4, 8, 3, 3), dilations=[2, 2], pads=[2, 2, 2, 2]))

# Resizes
NEAREST = {"mode": "nearest", "nearest_mode": "floor",
           "coordinate_transformation_mode": "asymmetric"}  # fmt: skip
case("resize nearest 2", op("Resize", None, f32(1, 1, 2, 2), **NEAREST))
case("resize nearest 3 by 2", op("Resize", None, f32(1, 1, 3, 2), **NEAREST))
case("resize nearest to a size", op("Resize", None, None, i64(1, 4, 24, 40), mode="nearest",
     coordinate_transformation_mode="half_pixel", nearest_mode="round_prefer_ceil"))  # fmt: skip
for rule in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"):
    case(f"resize linear {rule}", op("Resize", None, f32(1, 1, 2, 2), mode="linear",
         coordinate_transformation_mode=rule))  # fmt: skip
case("resize linear down", op("Resize", None, None, i64(1, 4, 5, 7), mode="linear"))
case("resize cubic", op("Resize", None, f32(1, 1, 2, 2), mode="cubic", cubic_coeff_a=-0.5,
     exclude_outside=1))  # fmt: skip
case("resize nearest, free batch", op("Resize", None, f32(1, 1, 2, 2), **NEAREST),
     (None, 4, 8, 8))  # fmt: skip

# What a decoder of odd sizes does: up to the size of its skip.
case("resize to another's size", lambda b, x: b.op("Resize", [b.op("MaxPool", [x], name="p",
     kernel_shape=[2, 2], strides=[2, 2]), None, None, b.op("Shape", [x], name="s")], name="y",
     **NEAREST), (1, 4, 17, 15))  # fmt: skip

case("broadcast to another's size", lambda b, x: b.op("Expand", [b.op("ReduceMean", [x,
     b.constant("a", i64(2, 3))], name="m"), b.op("Shape", [x], name="s")], name="y"))  # fmt: skip

# Pools and reductions
for kind in ("MaxPool", "AveragePool"):
    case(f"{kind} 2x2", op(kind, kernel_shape=[2, 2], strides=[2, 2]))
    case(f"{kind} odd", op(kind, kernel_shape=[2, 2], strides=[2, 2]), (1, 4, 17, 17))
    case(f"{kind} same", op(kind, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"))
    case(f"{kind} stride 1", op(kind, kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
    case(f"{kind} ceil", op(kind, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
         (1, 4, 17, 17))  # fmt: skip
case("AveragePool uneven", op("AveragePool", kernel_shape=[2, 2], pads=[0, 0, 1, 1]))
case("AveragePool over padding", op("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1],
     count_include_pad=1))  # fmt: skip
for kind in ("GlobalAveragePool", "GlobalMaxPool"):
    case(kind, op(kind))
for kind in ("Max", "Mean", "Min", "Prod", "Sum"):
    case(f"Reduce{kind}", op(f"Reduce{kind}", i64(1), keepdims=1))
case("ReduceMean of two axes, dropped", op("ReduceMean", i64(2, 3), keepdims=0))
case("ArgMax", op("ArgMax", axis=1, keepdims=0))
case("ArgMax kept", op("ArgMax", axis=1, keepdims=1))

# Normalizations
case("batch norm", op("BatchNormalization", weights(4), weights(4, seed=1), weights(4, seed=2),
     np.abs(weights(4, seed=3)) + 0.5, epsilon=1e-3))  # fmt: skip
case("batch norm of a vector", op("BatchNormalization", weights(4), weights(4, seed=1),
     weights(4, seed=2), np.abs(weights(4, seed=3)) + 0.5), (2, 4))  # fmt: skip
case("layer norm, last axis", op("LayerNormalization", weights(16), weights(16, seed=1), axis=-1,
     epsilon=1e-3))  # fmt: skip
case("layer norm without bias", op("LayerNormalization", weights(16, 16), axis=2))
case("instance norm", op("InstanceNormalization", weights(4), weights(4, seed=1), epsilon=1e-3))

# Activations
for kind in ("Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "Exp", "Erf", "Abs", "Neg", "Sign",
             "Floor", "Ceil", "Sin", "Cos", "Selu", "Elu", "Celu", "LeakyRelu", "HardSigmoid",
             "HardSwish", "Mish", "ThresholdedRelu", "Shrink", "Identity"):  # fmt: skip
    case(kind, op(kind))
case("LeakyRelu 0.3", op("LeakyRelu", alpha=0.3))
case("Elu 0.5", op("Elu", alpha=0.5))
case("Celu 0.5", op("Celu", alpha=0.5))
case("HardSigmoid 1/6", op("HardSigmoid", alpha=1 / 6, beta=0.5))
case("Shrink soft", op("Shrink", lambd=0.3, bias=0.3))
case("Clip", op("Clip", np.float32(-0.5), np.float32(0.7)))
case("Clip below", op("Clip", np.float32(-0.5)))
case("PRelu by channel", op("PRelu", weights(4, 1, 1)))
case("PRelu by pixel", op("PRelu", weights(4, 16, 16)))
case("Sqrt of squares", lambda b, x: b.op("Sqrt", [b.op("Mul", [x, x], name="s")], name="y"))
case("Log, Reciprocal", lambda b, x: b.op("Reciprocal", [b.op("Log", [b.op("Exp", [x], name="e")],
     name="l")], name="y"))  # fmt: skip
case("Softmax of channels", op("Softmax", axis=1))
case("Softmax of the last axis", op("Softmax", axis=-1))
case("LogSoftmax", op("LogSoftmax", axis=1))

# Merges
for kind in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Mean", "Sum"):
    case(f"{kind} a tensor", op(kind, weights(1, 4, 16, 16)))
    case(f"{kind} by channel", op(kind, weights(4, 1, 1)))
case("Pow", lambda b, x: b.op("Pow", [b.op("Abs", [x], name="a"), b.constant("p", f32(1.5))],
     name="y"))  # fmt: skip
case("Mean of three", op("Mean", weights(*IMAGE), weights(4, 1, 1, seed=1)))
case("Concat", op("Concat", weights(1, 6, 16, 16), axis=1))
case("Concat of the last axis", op("Concat", weights(1, 4, 16, 3), axis=-1))
case("Concat twice the same", lambda b, x: b.op("Concat", [x, x], name="y", axis=1))
case("Mod", op("Mod", np.float32(0.3), fmod=1))
case("Mod by channel", op("Mod", f32(0.5, -0.25, 3, -0.1).reshape(4, 1, 1), fmod=1))
for name, fmod in (("as Python", 0), ("as C", 1)):
    case(f"Mod of integers {name}", lambda b, x, fmod=fmod: b.op("Cast", [b.op("Mod", [b.op("Cast",
         [b.op("Mul", [x, b.constant("m", f32(20))], name="l")], name="i", to=7),
         b.constant("d", i64(3, -3, 5, -7).reshape(4, 1, 1))], name="r", fmod=fmod)], name="y",
         to=1))  # fmt: skip
case("Where", lambda b, x: b.op("Where", [b.op("Greater", [x, b.constant("t", np.float32(0.1))],
     name="g"), x, b.constant("z", np.float32(0))], name="y"))  # fmt: skip
case("gate by a pooled vector", lambda b, x: b.op("Mul", [x, b.op("Sigmoid", [
     b.op("GlobalAveragePool", [x], name="p")], name="s")], name="y"))  # fmt: skip

# Movement
case("Transpose", op("Transpose", perm=[0, 2, 3, 1]))
case("Reshape", op("Reshape", i64(0, 4, -1)))
case("Reshape of free batch", op("Reshape", i64(0, -1)), (None, 4, 6, 6))
case("Flatten", op("Flatten", axis=1))
case("Flatten of free batch", op("Flatten", axis=1), (None, 4, 6, 6))
case("Unsqueeze", op("Unsqueeze", i64(3, 5)))
case("Unsqueeze of free batch", op("Unsqueeze", i64(1)), (None, 4, 6, 6))
case("Squeeze", op("Squeeze", i64(0)))
for mode in ("DCR", "CRD"):
    case(f"DepthToSpace {mode}", op("DepthToSpace", blocksize=2, mode=mode), (1, 8, 3, 5))
    case(f"DepthToSpace {mode}, free batch", op("DepthToSpace", blocksize=2, mode=mode),
         (None, 8, 3, 5))  # fmt: skip
case("SpaceToDepth", op("SpaceToDepth", blocksize=2))
case("Expand", op("Expand", i64(1, 4, 3, 5)), (1, 4, 1, 1))
case("Expand of free batch", op("Expand", i64(1, 4, 3, 5)), (None, 4, 1, 1))
case("Slice", op("Slice", i64(1, 2), i64(-2, 15), i64(2, 3)))
case("Slice forwards with steps", op("Slice", i64(1, -11), i64(1 << 40, -2), i64(2, 3), i64(2, 3)))
case("Slice with steps", op("Slice", i64(0, 15), i64(16, -17), i64(2, 3), i64(2, -3)))
case("Slice of free size", op("Slice", i64(1, 2), i64(-2, 1 << 40), i64(2, 3)),
     (None, 4, None, None))  # fmt: skip
case("Slice backwards from within", op("Slice", i64(-2, 9), i64(-10, 1), i64(2, 3), i64(-1, -2)))
case("Slice backwards to half the size", lambda b, x: b.op("Slice", [x, b.op("Gather",
     [SIZES(b, x), b.constant("p", i64(2, 3))], name="hw"), b.op("Div", [b.op("Gather",
     [SIZES(b, x), b.constant("q", i64(2, 3))], name="wh"), b.constant("two", i64(2, -4))],
     name="half"), b.constant("a", i64(2, 3)), b.constant("t", i64(-1, -2))],
     name="y"))  # fmt: skip
SIZES = lambda b, x: b.op("Shape", [x], name="s")  # noqa: E731
case("Slice to half the size", lambda b, x: b.op("Slice", [x, b.constant("f", i64(1, -7)),
     b.op("Div", [b.op("Slice", [SIZES(b, x), b.constant("p", i64(2)), b.constant("q", i64(4))],
     name="hw"), b.constant("two", i64(2, -4))], name="half"), b.constant("a", i64(2, 3)),
     b.constant("t", i64(2, 1))], name="y"))  # fmt: skip
case("Range", lambda b, x: b.op("Gather", [x, b.op("Range", [b.constant("from", np.int64(1)),
     b.op("Gather", [SIZES(b, x), b.constant("i", np.int64(3))], name="to"),
     b.constant("step", np.int64(3))], name="r")], name="y", axis=3))  # fmt: skip
case("ConstantOfShape", lambda b, x: b.op("Sub", [b.op("ConstantOfShape", [SIZES(b, x)], name="c",
     value=ir.AttrTensor("value", ir.Tensor(f32(1.5)))), x], name="y"))  # fmt: skip
case("Pad zeros", op("Pad", i64(0, 0, 1, 2, 0, 0, 3, 1)))
case("Pad channels", op("Pad", i64(0, 1, 0, 0, 0, 2, 0, 0)))
case("Pad a constant", op("Pad", i64(0, 0, 1, 2, 0, 0, 3, 1), np.float32(-2)))
case("Pad edge", op("Pad", i64(0, 0, 1, 2, 0, 0, 3, 1), mode="edge"))
case("Pad reflect", op("Pad", i64(0, 0, 1, 2, 0, 0, 3, 1), mode="reflect"))
case("Pad reflect, free batch", op("Pad", i64(0, 0, 1, 2, 0, 0, 3, 1), mode="reflect"),
     (None, 4, 8, 8))  # fmt: skip
case("Gather", op("Gather", i64(0, 2, 3), axis=1))
# NumPy's other type of eight bytes, which arithmetic may give.
case("Gather by long long", op("Gather", np.array([0, 2, 3], np.longlong), axis=1))
case("Gemm", op("Gemm", weights(10, 32), weights(10, seed=1), transB=1, alpha=0.5, beta=2.0),
     (2, 32))  # fmt: skip
case("MatMul of maps", op("MatMul", weights(16, 10)))
case("MatMul of two", lambda b, x: b.op("MatMul", [x, b.op("Transpose", [x], name="t",
     perm=[0, 1, 3, 2])], name="y"))  # fmt: skip
case("Cast there and back", lambda b, x: b.op("Cast", [b.op("Cast", [x], name="i",
     to=int(ir.DataType.INT32))], name="y", to=int(ir.DataType.FLOAT)))  # fmt: skip

# Three axes
VOLUME = (1, 3, 6, 8, 10)
case("conv 3-D", conv((5, 3, 3, 3, 3), pads=[1] * 6), VOLUME)
case("conv 3-D same, stride 2", conv((5, 3, 3, 3, 3), strides=[2] * 3, auto_pad="SAME_UPPER"),
     (1, 3, 7, 8, 9))  # fmt: skip
case("deconv 3-D", deconv((3, 5, 2, 2, 2), strides=[2] * 3), VOLUME)
case("deconv 3-D lengthened", deconv((3, 5, 2, 2, 2), strides=[3] * 3, output_padding=[1] * 3),
     VOLUME)  # fmt: skip
case("MaxPool 3-D", op("MaxPool", kernel_shape=[2] * 3, strides=[2] * 3), VOLUME)
case("AveragePool 3-D same", op("AveragePool", kernel_shape=[3] * 3, strides=[2] * 3,
     auto_pad="SAME_UPPER"), VOLUME)  # fmt: skip
case("GlobalAveragePool 3-D", op("GlobalAveragePool"), VOLUME)
case("resize 3-D nearest", op("Resize", None, f32(1, 1, 2, 3, 2), **NEAREST), VOLUME)
case("resize 3-D trilinear", op("Resize", None, f32(1, 1, 2, 2, 2), mode="linear"), VOLUME)
case("batch norm 3-D", op("BatchNormalization", weights(3), weights(3, seed=1), weights(3, seed=2),
     np.abs(weights(3, seed=3)) + 0.5), VOLUME)  # fmt: skip
case("instance norm 3-D", op("InstanceNormalization", weights(3), weights(3, seed=1)), VOLUME)
case("Pad 3-D", op("Pad", i64(0, 0, 1, 2, 0, 0, 0, 3, 1, 1)), VOLUME)
case("Slice 3-D", op("Slice", i64(1, 2, 0), i64(-2, 7, 9), i64(2, 3, 4)), VOLUME)
case("Concat 3-D", op("Concat", weights(1, 2, 6, 8, 10), axis=1), VOLUME)
case("Softmax 3-D", op("Softmax", axis=1), VOLUME)
case("Transpose 3-D", op("Transpose", perm=[0, 2, 3, 4, 1]), VOLUME)

# One axis
LINE = (2, 3, 17)
case("conv 1-D", conv((5, 3, 3), pads=[1, 1]), LINE)
case("conv 1-D same, stride 2", conv((5, 3, 4), strides=[2], auto_pad="SAME_UPPER"), LINE)
case("conv 1-D of free size", conv((5, 3, 4), strides=[2], auto_pad="SAME_UPPER"), (None, 3, None))
case("deconv 1-D", deconv((3, 5, 3), strides=[2], pads=[0, 1]), LINE)
case("deconv 1-D lengthened", deconv((3, 5, 2), strides=[3], output_padding=[1]), LINE)
case("MaxPool 1-D", op("MaxPool", kernel_shape=[2], strides=[2]), LINE)
case("AveragePool 1-D same", op("AveragePool", kernel_shape=[3], strides=[2],
     auto_pad="SAME_UPPER"), LINE)  # fmt: skip
case("resize 1-D", op("Resize", None, f32(1, 1, 2), mode="linear"), LINE)
case("batch norm 1-D", op("BatchNormalization", weights(3), weights(3, seed=1), weights(3, seed=2),
     np.abs(weights(3, seed=3)) + 0.5), LINE)  # fmt: skip

# Heads, whose masks leave the engine as uint8
BYTES = int(ir.DataType.UINT8)
case("argmax head", lambda b, x: b.op("Cast", [b.op("Transpose", [b.op("ArgMax", [x], name="a",
     axis=1)], name="t", perm=[0, 2, 3, 1])], name="y", to=BYTES))  # fmt: skip
case("threshold head", lambda b, x: b.op("Cast", [b.op("Transpose", [b.op("Greater", [x,
     b.constant("t", np.float32(0.1))], name="g")], name="m", perm=[0, 2, 3, 1])], name="y",
     to=BYTES))  # fmt: skip

# Attention, written out
case("attention", lambda b, x: b.op("MatMul", [b.op("Softmax", [b.op("Mul", [b.op("MatMul", [x,
     b.op("Transpose", [x], name="k", perm=[0, 1, 3, 2])], name="qk"),
     b.constant("s", np.float32(0.25))], name="scaled")], name="shares", axis=-1), x],
     name="y"))  # fmt: skip
case("Einsum", op("Einsum", weights(16, 5), equation="bchw,wk->bhck"))
case("Einsum of two", lambda b, x: b.op("Einsum", [x, x], name="y", equation="bcqd,bckd->bcqk"))
case("layer norm of channels", lambda b, x: b.op("Transpose", [b.op("LayerNormalization",
     [b.op("Transpose", [x], name="t", perm=[0, 2, 3, 1]), b.constant("g", weights(4)),
     b.constant("o", weights(4, seed=1))], name="n", axis=-1, epsilon=1e-3)], name="y",
     perm=[0, 3, 1, 2]))  # fmt: skip
case("x * sigmoid", lambda b, x: b.op("Mul", [x, b.op("Sigmoid", [x], name="s")], name="y"))

# Logic and comparison
FLAG = int(ir.DataType.FLOAT)
for kind in ("GreaterOrEqual", "LessOrEqual", "Equal", "Less"):
    case(kind, lambda b, x, kind=kind: b.op("Cast", [b.op(kind, [b.op("Round", [x], name="r"),
         b.constant("c", np.float32(1))], name="f")], name="y", to=FLAG))  # fmt: skip
for kind in ("And", "Or", "Xor"):
    case(kind, lambda b, x, kind=kind: b.op("Cast", [b.op(kind, [
         b.op("Greater", [x, b.constant("l", np.float32(-0.3))], name="g"),
         b.op("Not", [b.op("Less", [x, b.constant("h", np.float32(0.6))], name="s")], name="n")],
         name="f")], name="y", to=FLAG))  # fmt: skip
case("IsNaN", lambda b, x: b.op("Cast", [b.op("IsNaN", [b.op("Log", [x], name="l")], name="n")],
     name="y", to=FLAG))  # fmt: skip

case("IsInf", lambda b, x: b.op("Cast", [b.op("IsInf", [b.op("Div", [x, b.op("Floor", [
     b.op("Abs", [x], name="s")], name="f")], name="d")], name="n")], name="y",
     to=FLAG))  # fmt: skip

# Functions of one element
for kind in ("Tan", "Atan", "Sinh", "Cosh", "Asinh", "Round"):
    case(kind, op(kind))
for kind in ("Asin", "Acos", "Atanh"):
    case(kind, lambda b, x, kind=kind: b.op(kind, [b.op("Tanh", [x], name="t")], name="y"))
case("Acosh", lambda b, x: b.op("Acosh", [b.op("Cosh", [x], name="c")], name="y"))

# Norms and the best
for kind in ("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp"):
    case(kind, op(kind, i64(1), keepdims=1))
    case(f"{kind}, dropped", op(kind, i64(2, 3), keepdims=0))
case("ReduceLogSum", lambda b, x: b.op("ReduceLogSum", [b.op("Exp", [x], name="e"),
     b.constant("a", i64(1))], name="y", keepdims=1))  # fmt: skip
case("ReduceMean of all", op("ReduceMean", keepdims=0))
for power in (1, 2):
    case(f"LpNormalization {power}", op("LpNormalization", axis=1, p=power))
case("ArgMin", op("ArgMin", axis=2, keepdims=0))
case("TopK", lambda b, x: b.ops("TopK", [x, b.constant("k", i64(2))], name="y", outputs=2,
     axis=1)[0])  # fmt: skip
case("places of TopK", lambda b, x: b.op("Identity", [b.ops("TopK", [x, b.constant("k", i64(3))],
     name="t", outputs=2, axis=3, largest=0)[1]], name="y"))  # fmt: skip
case("Trilu", op("Trilu"))
case("Trilu above the diagonal", op("Trilu", np.int64(2)), (1, 4, 6, 9))
case("Trilu of the lower half", op("Trilu", np.int64(-1), upper=0), (1, 4, 9, 6))
case("Trilu of infinities", lambda b, x: b.op("Exp", [b.op("Trilu", [b.op("Div", [b.op("Abs", [x],
     name="a"), b.constant("zero", f32(-0.0))], name="d")], name="t", upper=0)],
     name="y"))  # fmt: skip
case("Size", lambda b, x: b.op("Div", [x, b.op("Cast", [b.op("Size", [x], name="s")], name="c",
     to=int(ir.DataType.FLOAT))], name="y"))  # fmt: skip
case("CumSum", op("CumSum", np.int64(2)))
case("CumSum backwards without itself", op("CumSum", np.int64(-1), exclusive=1, reverse=1))

# More movement
case("Split", lambda b, x: b.op("Concat", b.ops("Split", [x, b.constant("s", i64(1, 3))],
     name="s", outputs=2, axis=1)[::-1], name="y", axis=1))  # fmt: skip
case("Split equally", lambda b, x: b.op("Sub", b.ops("Split", [x], name="s", outputs=2, axis=1,
     num_outputs=2), name="y"))  # fmt: skip
case("Tile", op("Tile", i64(1, 2, 3, 1)))
case("Tile of nothing", op("Tile", i64(1, 1, 1, 1)))
case("GatherElements", op("GatherElements", np.random.default_rng(1).integers(0, 4, (1, 2, 5, 6)),
     axis=1))  # fmt: skip
case("GatherND", op("GatherND", i64([0, 1], [0, 3])))
PLACES = np.argsort(np.random.default_rng(1).random(IMAGE), axis=2)[:, :, :3, :7]
case("ScatterElements", op("ScatterElements", PLACES, weights(*PLACES.shape, seed=3), axis=2))
case("ScatterND", op("ScatterND", i64([0, 3], [0, 1]), weights(2, 16, 16, seed=3)))
case("OneHot", lambda b, x: b.op("OneHot", [b.op("ArgMax", [x], name="a", axis=1, keepdims=0),
     b.constant("d", np.int64(5)), b.constant("v", f32(-1, 2))], name="y", axis=1))  # fmt: skip
case("GridSample", op("GridSample", np.random.default_rng(2).uniform(-1.2, 1.2, (1, 5, 7, 2))
     .astype("f4")))  # fmt: skip
case("GridSample aligned at the border", op("GridSample", np.random.default_rng(2)
     .uniform(-1.2, 1.2, (1, 5, 7, 2)).astype("f4"), align_corners=1, padding_mode="border",
     mode="nearest"))  # fmt: skip
case("Gather of rows", op("Gather", i64(3, 0), axis=2))
case("resize of two axes", op("Resize", None, f32(2, 3), axes=[2, 3], **NEAREST))
case("resize of two axes to a size", op("Resize", None, None, i64(24, 40), axes=[2, 3],
     mode="linear"))  # fmt: skip
case("Clip by a tensor", lambda b, x: b.op("Clip", [x, None, b.op("ReduceMean", [x], name="m",
     keepdims=0)], name="y"))  # fmt: skip
case("Gemm with a tensor added", lambda b, x: b.op("Gemm", [x, b.constant("w", weights(8, 8)), x],
     name="y", beta=0.5), (8, 8))  # fmt: skip
case("MatMul of sequences", op("MatMul", weights(16, 10)), (2, 3, 16))

# What Keras networks are made of, and the cases that build it. GELU and GroupNormalization came
# with later versions of ONNX and have tests of their own.
FAMILIES = {
    "Conv2D": ("conv 3x3", "conv grouped", "conv dilated", "conv valid"),
    "even kernels, same": ("conv 2x2 padded behind", "conv 4x4 padded unevenly"),
    "stride 2, same": ("conv same, stride 2, even", "conv same, stride 2, odd"),
    "kernel shorter than its stride": ("conv shorter than its stride",),
    "DepthwiseConv2D": ("conv depthwise", "conv depthwise, two each"),
    "Conv2DTranspose": ("deconv 2x2", "deconv 3x3 cut behind", "deconv lengthened"),
    "UpSampling2D": ("resize nearest 2", "resize linear half_pixel", "resize cubic"),
    "Resizing": ("resize nearest to a size", "resize linear down"),
    "resize to another tensor's size": ("resize to another's size",),
    "pooling": ("MaxPool same", "AveragePool same", "GlobalAveragePool", "GlobalMaxPool"),
    "normalization": ("batch norm", "layer norm of channels", "instance norm"),
    "merging": ("Concat", "Add a tensor", "Sub a tensor", "Mul a tensor", "Max a tensor",
                "Min a tensor", "Mean of three"),
    "activation": ("Relu", "Clip", "LeakyRelu 0.3", "PRelu by channel", "PRelu by pixel", "Elu",
                   "Selu", "Softplus", "Softsign", "Tanh", "Sigmoid", "x * sigmoid", "Mish",
                   "HardSigmoid 1/6", "HardSwish", "Softmax of channels"),
    "heads": ("argmax head", "threshold head"),
    "padding and cropping": ("Pad zeros", "Pad edge", "Pad reflect", "Slice"),
    "Reshape, Flatten, Permute": ("Reshape", "Flatten", "Transpose"),
    "Dense": ("Gemm", "MatMul of maps"),
    "space and depth": ("DepthToSpace DCR", "DepthToSpace CRD", "SpaceToDepth"),
    "attention": ("attention", "Einsum of two"),
    "sampling and gathering": ("GridSample", "Gather", "GatherElements", "GatherND"),
    "scattering": ("ScatterElements", "ScatterND"),
    "3-D": ("conv 3-D", "deconv 3-D", "MaxPool 3-D", "AveragePool 3-D same",
            "resize 3-D trilinear", "resize 3-D nearest"),
    "1-D": ("conv 1-D", "deconv 1-D", "MaxPool 1-D"),
}  # fmt: skip

BOTH = pytest.mark.parametrize("name", CASES)


def test_every_family_is_built():
    assert {name for names in FAMILIES.values() for name in names} <= set(CASES)


def image(shape: tuple[int | None, ...]) -> np.ndarray:
    sizes = [2 if size is None and axis == 0 else size or 8 for axis, size in enumerate(shape)]
    return np.random.default_rng(5).normal(0, 1, sizes).astype("f4")


def check(name: str, found: np.ndarray, wanted: np.ndarray, bound: float) -> None:
    assert found.dtype == wanted.dtype
    error = relative_l2(found, wanted)
    assert error <= bound, f"{name}: relative L2 {error:.3g}"


@BOTH
def test_the_written_network_says_the_same(name: str):
    fill, shape = CASES[name]
    model, feeds = one_node(fill, shape), {"x": image(shape)}
    wanted = run(model, feeds)["y"]
    network = write_network(RTX, model, Precision.FP32)
    layers = [network.definition.get_layer(i).name for i in range(network.definition.num_layers)]
    assert "y" in layers or any(layer.startswith("y") for layer in layers)
    check(name, run(decompile(network), feeds)["y"], wanted, FP32_BOUND)
    build_engine(network, Precision.FP32)


# Their constants fix the size of the image, or they are about a size that is fixed.
FIXED = {
    "resize linear down", "layer norm, last axis", "layer norm without bias", "PRelu by pixel",
    "Mean of three", "Concat", "Concat of the last axis", "Expand", "Expand of free batch",
    "MatMul of maps", "Squeeze", "Einsum", "GridSample",
    "GridSample aligned at the border", "ScatterElements", "ScatterND",
    *(f"{kind} a tensor" for kind in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Mean", "Sum")),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [n for n, (_, shape) in CASES.items() if len(shape) == 4 and n not in FIXED]
)
def test_one_network_for_all_sizes(name: str):
    fill, shape = CASES[name]
    model = one_node(fill, (None, shape[1], None, None))
    network = write_network(RTX, model, Precision.FP32)
    read_back = decompile(network)
    for sizes in ((2, shape[1], 16, 16), (1, shape[1], 12, 21)):
        if sizes[3] % 2 and "SpaceToDepth" in name:
            continue
        feeds = {"x": image(sizes)}
        check(name, run(read_back, feeds)["y"], run(model, feeds)["y"], FP32_BOUND)
    build_engine(network, Precision.FP32)


# Half precision moves what these compare or round over an edge, or shifts a peak.
EDGES = {
    "Floor", "Ceil", "Sign", "Cast there and back", "Log, Reciprocal", "Mod", "Mod by channel",
    "Mod of integers as Python", "Mod of integers as C",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in CASES if name not in EDGES])
def test_half_precision(name: str):
    fill, shape = CASES[name]
    model, feeds = one_node(fill, shape), {"x": image(shape)}
    network = write_network(RTX, model, Precision.FP16)
    check(name, run(decompile(network), feeds)["y"], run(model, feeds)["y"], FP16_BOUND)
    build_engine(network, Precision.FP16)


# One of each family is enough for the route that is not ours.
PARSED = (
    "conv same, stride 2, odd", "conv depthwise", "deconv lengthened", "resize nearest 2",
    "resize linear half_pixel", "AveragePool same", "batch norm", "instance norm", "Mish",
    "PRelu by channel",
    "Softmax of channels", "Mean of three", "Concat", "DepthToSpace CRD", "Slice", "Pad a constant",
    "ReduceMean", "ArgMax", "Gemm", "Unsqueeze", "Expand", "Where",
    "argmax head", "threshold head", "attention", "Einsum", "conv 3-D", "deconv 3-D",
    "resize 3-D trilinear", "conv 1-D", "layer norm of channels", "GridSample", "GatherND",
    "CumSum", "Split", "TopK", "Tile", "OneHot", "ReduceL2", "Slice with steps", "Mod by channel",
    "Mod of integers as Python", "Mod of integers as C", "ScatterElements", "ScatterND",
    "Slice forwards with steps", "resize to another's size", "Trilu above the diagonal", "Size",
)  # fmt: skip


@pytest.mark.parametrize("name", PARSED)
def test_the_parsed_network_says_the_same(name: str):
    fill, shape = CASES[name]
    model, feeds = one_node(fill, shape), {"x": image(shape)}
    network = parse_network(RTX, model, Precision.FP32)
    check(name, run(decompile(network), feeds)["y"], run(model, feeds)["y"], FP32_BOUND)


# What the parser computes sizes for when the engine runs.
FREE = (
    "conv same, stride 2, odd", "deconv 2x2", "resize nearest 2", "resize linear half_pixel",
    "resize to another's size", "AveragePool same", "Slice", "Slice forwards with steps",
    "Slice with steps", "Slice backwards to half the size",
    "Pad a constant", "Pad edge", "Pad reflect", "DepthToSpace CRD", "Flatten",
    "Reshape", "Tile", "Split", "GatherND", "CumSum", "Unsqueeze", "instance norm",
    "Mod by channel", "broadcast to another's size", "Slice to half the size", "Range",
    "ConstantOfShape", "Trilu", "Trilu of the lower half", "Size",
)  # fmt: skip


@pytest.mark.parametrize("name", FREE)
def test_the_parsed_network_of_free_sizes_says_the_same(name: str):
    fill, shape = CASES[name]
    model = one_node(fill, (None, shape[1], None, None))
    read_back = decompile(parse_network(RTX, model, Precision.FP32))
    for sizes in ((2, shape[1], 16, 16), (1, shape[1], 12, 21)):
        feeds = {"x": image(sizes)}
        check(name, run(read_back, feeds)["y"], run(model, feeds)["y"], FP32_BOUND)


def test_every_converter_has_a_case():
    used = set()
    for fill, shape in CASES.values():
        used |= {node.op_type for node in one_node(fill, shape).graph}
    # Shapes are met inside nets; Constant and Dropout do not leave the passes.
    rest = {"Shape", "Constant", "Dropout"}
    # These two came with later versions of ONNX and have tests of their own.
    # Custom operations need plugins, which this flavour has none of (unit tests).
    rest |= {"segrt.custom"}
    assert set(REGISTRY.names()) - used - rest == {"Gelu", "GroupNormalization"}


def later(op_type: str, opset: int, *arrays: np.ndarray, **attributes: object) -> ir.Model:
    """One node of a later ONNX than the one that graphs are built with."""
    model = one_node(op("Identity"))
    graph = model.graph
    constants = [GraphBuilder(graph).constant(f"c{i}", array) for i, array in enumerate(arrays)]
    old = graph[0]
    output = ir.Value(name="z", shape=old.outputs[0].shape, type=old.outputs[0].type)
    inputs = [graph.inputs[0], *constants]
    made = ir.convenience.convert_attributes(attributes)
    graph.append(ir.Node("", op_type, inputs, made, outputs=[output], name="z"))
    graph.outputs[0] = output
    graph.remove(old, safe=True)
    graph.opset_imports[""] = opset
    return model


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_normalization(groups: int):
    arrays = (weights(4), weights(4, seed=1))
    model = later("GroupNormalization", 21, *arrays, num_groups=groups, epsilon=1e-3)
    feeds = {"x": image(IMAGE)}
    network = write_network(RTX, model, Precision.FP32)
    check("z", run(decompile(network), feeds)["z"], run(model, feeds)["z"], FP32_BOUND)
    build_engine(network, Precision.FP32)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu(approximate: str):
    model, feeds = later("Gelu", 20, approximate=approximate), {"x": image(IMAGE)}
    network = write_network(RTX, model, Precision.FP32)
    check("z", run(decompile(network), feeds)["z"], run(model, feeds)["z"], FP32_BOUND)
    build_engine(network, Precision.FP32)


@pytest.mark.parametrize(
    ("fill", "shape", "found"),
    [
        (op("MaxPool", kernel_shape=[3, 3], dilations=[2, 2]), IMAGE, "dilations"),
        (
            op("Resize", None, f32(1, 1, 2, 2), coordinate_transformation_mode="tf_crop_and_resize",
               mode="linear"), IMAGE, "tf_crop_and_resize",
        ),
        (
            conv((8, 4, 2, 2), strides=[3, 3], auto_pad="SAME_UPPER"), (1, 4, None, None),
            "free size",
        ),
        (op("Squeeze", i64(0)), (None, 4, 8, 8), "free size"),
        (op("Resize", None, f32(1, 1, 2, 2), antialias=1, mode="linear"), IMAGE, "antialias"),
    ],
)  # fmt: skip
def test_what_tensorrt_cannot_say_is_refused(fill: Fill, shape: tuple, found: str):
    with pytest.raises(UnsupportedConfigError, match="keras_y") as caught:
        write_network(RTX, one_node(fill, shape), Precision.FP32)
    assert found in str(caught.value)


def test_what_tensorrt_only_logs_becomes_an_error_that_names_the_layer():
    def fill(b: GraphBuilder, x: ir.Value) -> ir.Value:
        y = b.op("Conv", [x, b.constant("k", weights(8, 4, 3, 3))], name="y")
        # A kernel of the wrong depth, as no shape inference would let pass.
        wrong = b.constant("wrong", weights(8, 3, 3, 3))
        y.producer().replace_input_with(1, wrong)
        return y

    with pytest.raises(SegrtError, match="keras_y") as caught:
        write_network(RTX, one_node(fill), Precision.FP32)
    assert "kernel" in str(caught.value).lower()
