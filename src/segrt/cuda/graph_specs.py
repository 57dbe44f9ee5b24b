"""What a graph of cuDNN's is made from, and which of its plans is meant; plain values."""

from __future__ import annotations

from dataclasses import dataclass

from segrt.cuda.epilogues import NONE, Word
from segrt.cuda.operations import Convolution, TransposedConvolution
from segrt.cuda.views import View
from segrt.types import Precision


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """What a convolution's graph depends on; its weights do not belong to it.

    Attributes:
        kernel: Sizes: outputs, inputs of a group, height, width.
        transposed: Whether it is a transposed convolution.
        before: Padding above and left.
        after: Padding below and right.
        stride: (y, x).
        dilation: (y, x).
        relu: Whether a ReLU follows.
        views: The image read, the residual if there is one, the image written.
        precision: FP32 refuses plans on the tensor cores, which round their inputs to TF32.
        bias: Element type of a bias inside the graph, "" leaves out all that follows the
            convolution. The type decides which of cuDNN's engines can be had, and neither kind is
            always faster.
        fallback: Ask for the plans of last resort too; some take minutes to build.
        word: What follows instead of a ReLU, and a number that belongs to it; see
            `segrt.cuda.epilogues`.
        affine: What follows all that, a channel: ``mul``, ``add`` or ``mul add``.
    """

    kernel: tuple[int, int, int, int]
    transposed: bool
    before: tuple[int, int]
    after: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    relu: bool
    views: tuple[View, ...]
    precision: Precision
    bias: str
    fallback: bool
    word: Word = NONE
    affine: str = ""

    @classmethod
    def of(
        cls,
        operation: Convolution | TransposedConvolution,
        views: tuple[View, ...],
        precision: Precision,
        *,
        bias: str,
        fallback: bool,
    ) -> GraphSpec:
        """Return the one of an operation; see the attributes."""
        outputs, inputs, height, width = operation.kernel.shape
        return cls(
            kernel=(outputs, inputs, height, width),
            transposed=isinstance(operation, TransposedConvolution),
            before=operation.before,
            after=operation.after,
            stride=operation.stride,
            dilation=operation.dilation,
            relu=operation.activation == "relu",
            views=views,
            precision=precision,
            bias=bias,
            fallback=fallback,
        )


@dataclass(frozen=True, slots=True)
class PlanId:
    """Which plan of which graph.

    Attributes:
        spec: What the graph is made from.
        index: In the order of the heuristics.
        name: cuDNN's.
        slow: Whether cuDNN compiles it at run time.
    """

    spec: GraphSpec
    index: int
    name: str
    slow: bool
