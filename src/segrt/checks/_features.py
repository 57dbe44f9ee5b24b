"""What each release of TensorRT has: data, each line with its source.

``first`` is the first release whose headers, notes or operator list show it; ``last`` the last one
that has it. Sources: "headers" are NvInfer.h and its companions at the tags of NVIDIA/TensorRT;
"operator list" is operators.md of onnx-tensorrt for that release; "built" was compiled by
TensorRT for RTX 1.7.1 on a machine without a GPU. Nothing here was timed or run on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Version: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Feature:
    """One thing that a release can or cannot do.

    Attributes:
        name: What rules call it.
        first: First release of TensorRT that has it.
        source: Where that is written.
        last: Last release that has it; None: still there.
        rtx: Whether TensorRT for RTX has it.
    """

    name: str
    first: Version
    source: str
    last: Version | None = None
    rtx: bool = True


_V5 = "headers of TensorRT 5.1.5"
_V5_OPS = "operator list of onnx-tensorrt for TensorRT 5.1"
_CHANGES = "change log of onnx-tensorrt for TensorRT"
_ISSUES = "onnx/onnx-tensorrt issues 457 and 732"

FEATURES = (
    Feature("convolution", (5, 1), f"{_V5}: IConvolutionLayer, setPrePadding, setPostPadding"),
    Feature("deconvolution", (5, 1), f"{_V5}: IDeconvolutionLayer, setNbGroups, setPrePadding"),
    Feature("deconvolution-dilation", (10, 0), "built by TensorRT for RTX 1.7.1: dilation_nd"),
    Feature("3-d", (6, 0, 1), "headers of TensorRT 6.0.1: addConvolutionNd, addPoolingNd"),
    Feature("pooling", (5, 1), f"{_V5}: IPoolingLayer"),
    Feature("scale", (5, 1), f"{_V5}: IScaleLayer"),
    Feature("activation", (5, 1), f"{_V5}: IActivationLayer; {_V5_OPS}"),
    Feature("parametric-relu", (6, 0, 1), "headers of TensorRT 6.0.1: addParametricReLU"),
    Feature("gelu", (10, 0), "headers of TensorRT 10.0: ActivationType GELU_ERF, GELU_TANH"),
    Feature("elementwise", (5, 1), f"{_V5}: IElementWiseLayer; support matrix 5.1.5: broadcasts"),
    Feature("unary", (5, 1), f"{_V5}: IUnaryLayer"),
    Feature("unary-logic", (8, 2, 0), f"{_CHANGES} 8.2 EA: IsNaN, Sign, Round; 8.6: IsInf"),
    Feature("erf", (7, 0), "operator lists of onnx-tensorrt: Erf N for 6.0, Y for 7.0"),
    Feature("compare", (7, 0), "operator lists of onnx-tensorrt: Greater N for 6.0, Y for 7.0"),
    Feature("broadcast-slice", (7, 0), "operator lists of onnx-tensorrt: Expand from 7.0"),
    Feature("softmax", (5, 1), f"{_V5}: ISoftMaxLayer"),
    Feature("concatenation", (5, 1), f"{_V5}: IConcatenationLayer"),
    Feature("reduction", (5, 1), f"{_V5}: IReduceLayer"),
    Feature("top-k", (5, 1), f"{_V5}: ITopKLayer; {_V5_OPS}: ArgMax"),
    Feature("gather", (5, 1), f"{_V5}: IGatherLayer"),
    Feature("gather-modes", (8, 2, 0), f"{_CHANGES} 8.2 EA: GatherND, GatherElements"),
    Feature("scatter", (8, 2, 0), f"{_CHANGES} 8.2 EA: ScatterElements, ScatterND"),
    Feature("fill", (7, 2), "API reference of TensorRT 7.2.2: IFillLayer; not sought before it"),
    Feature("einsum", (8, 2, 0), "headers of TensorRT 8.2.0: IEinsumLayer"),
    Feature("grid-sample", (8, 5, 1), "headers of TensorRT 8.5.1: IGridSampleLayer"),
    Feature("cumulative", (10, 8), "release notes of TensorRT 10.8: ICumulativeLayer"),
    Feature("shuffle", (5, 1), f"{_V5}: IShuffleLayer; {_V5_OPS}: DepthToSpace"),
    Feature("matrix-multiply", (5, 1), f"{_V5}: IMatrixMultiplyLayer"),
    Feature("padding", (5, 1), f"{_V5}: IPaddingLayer (zeros only)"),
    Feature("padding-by-slice", (8, 2, 0), "headers of TensorRT 8.2.0: SliceMode REFLECT"),
    Feature("slice", (5, 1), f"{_V5}: ISliceLayer"),
    Feature("identity", (5, 1), f"{_V5}: IIdentityLayer"),
    Feature("cast", (8, 6, 0), "headers of TensorRT 8.6.0: ICastLayer; 8.5.1: UINT8"),
    Feature("normalization", (8, 6, 0), "headers of TensorRT 8.6.0: INormalizationLayer"),
    Feature("normalization-v2", (10, 15), "headers of TensorRT 10.15: addNormalizationV2"),
    Feature("shape-tensors", (6, 0, 1), "release notes of TensorRT 6.0.1: IShapeLayer"),
    Feature("dynamic-shapes", (6, 0, 1), "headers of TensorRT 6.0.1: IOptimizationProfile"),
    Feature("resize", (6, 0, 1), "release notes and headers of TensorRT 6.0.1: IResizeLayer"),
    Feature(
        "resize-coordinates", (8, 0, 1),
        "release notes of TensorRT 8.0.1 (Resize); headers: ResizeCoordinateTransformation",
    ),
    Feature("resize-half-pixel", (8, 0, 1), f"headers of TensorRT 8.0.1; {_ISSUES}"),
    Feature("resize-cubic", (8, 5, 1), "headers of TensorRT 8.5.1: CUBIC"),
    Feature("plugins", (5, 1), f"{_V5}: IPluginV2; absent from TensorRT for RTX 1.7", rtx=False),
    Feature("aot-plugins", (10, 9), "release notes of TensorRT 10.9: AOT plugins", rtx=False),
    Feature("uff", (5, 1), "deprecated in 7.0, gone after 8.6", last=(8, 6), rtx=False),
    Feature("weak-typing", (5, 1), "migration guide of TensorRT 11", last=(10, 16), rtx=False),
)  # fmt: skip

# Largest ONNX opset that the parser of a release reads, by operators.md of onnx-tensorrt and, for
# 11, NVIDIA's opset guide.
PARSER_OPSETS: tuple[tuple[Version, int], ...] = (
    ((5, 1), 9), ((6, 0), 10), ((7, 2), 13), ((8, 6), 17), ((10, 0), 20), ((10, 9), 22),
    ((10, 13), 24), ((11, 0), 25),
)  # fmt: skip

# Newest minor release of each major one that was looked at.
NEWEST_MINOR = {5: 1, 6: 0, 7: 2, 8: 6, 9: 3, 10: 16, 11: 5}
OLDEST: Version = (5, 1)
RTX_NEWEST: Version = (1, 7)
RTX_MEASURED: Version = (1, 7, 1)
