"""What the engine can do: the operations that a network is partitioned into.

Values are known by name. Batches of images are N C H W in the graph and N H W C in memory; values
of other kinds (`segrt.cuda.tensor_operations`) are dense in the order of their axes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy.typing as npt

from segrt.cuda.kernels.pointwise import Step
from segrt.graph.custom_ops import Attributes, CustomOp

Pair: TypeAlias = tuple[int, int]
Weights: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Operation:
    """One step of a network.

    Attributes:
        layer: The Keras layer it belongs to, for messages and reports.
        inputs: Names of the values it reads.
        output: Name of the value it makes.
        sizes: Of the output, where it is no value of the graph.
    """

    layer: str
    inputs: tuple[str, ...]
    output: str
    sizes: tuple[int, ...] | None = field(default=None, kw_only=True)


@dataclass(frozen=True, eq=False)
class Import(Operation):
    """From a graph input, as it is given, to the engine's layout."""

    channels_first: bool


@dataclass(frozen=True, eq=False)
class Export(Operation):
    """From the engine's layout to a graph output."""

    channels_first: bool


@dataclass(frozen=True, eq=False)
class Convolution(Operation):
    """A convolution with bias and perhaps a ReLU or what ends a network.

    A second image that it reads, the residual, is added in front of the ReLU.

    Attributes:
        kernel: O I/groups H W, float32.
        bias: O, float32.
        stride: (y, x).
        dilation: (y, x).
        before: Padding above and left.
        after: Padding below and right.
        groups: Groups of channels.
        activation: ``none``, ``relu``; ``sigmoid`` and ``softmax`` for 1x1 heads only.
        scales: O; where the weights are integers of eight bits times one number an output.
        ranges: Factor and shift of every input channel (2, I), applied to what is read; padding
            is zero behind that.
        decision: ``threshold`` and ``argmax`` for 1x1 heads only: they write these in the place of
            the values.
        limit: What a threshold compares with, before the activation.
    """

    kernel: Weights
    bias: Weights
    stride: Pair
    dilation: Pair
    before: Pair
    after: Pair
    groups: int
    activation: Literal["none", "relu", "sigmoid", "softmax"] = "none"
    scales: Weights | None = None
    ranges: Weights | None = None
    decision: Literal["none", "threshold", "argmax"] = "none"
    limit: float = 0.0

    @property
    def residual(self) -> bool:
        """Whether it adds a second image, of the size of its output."""
        return len(self.inputs) > 1


@dataclass(frozen=True, eq=False)
class TransposedConvolution(Operation):
    """A transposed convolution with bias and perhaps a ReLU; ``kernel`` is I O/groups H W.

    Padding is what is cut off; ``scales`` as of a `Convolution`.
    """

    kernel: Weights
    bias: Weights
    stride: Pair
    dilation: Pair
    before: Pair
    after: Pair
    groups: int
    activation: Literal["none", "relu"] = "none"
    scales: Weights | None = None


@dataclass(frozen=True, eq=False)
class MergedUpsampling(Operation):
    """A convolution to the four phases of an image twice as large, and their shuffle.

    Attributes:
        convolution: To the phases (0, 0), (0, 1), (1, 0), (1, 1), one behind the other.
        transposed: What it was, if it was a transposed convolution of images.
        depth: Images that each one becomes, slices of a volume: then the phases of the first one,
            behind these those of the next one.
        height: Of an image that is made, where there are several.
    """

    convolution: Convolution
    transposed: TransposedConvolution | None = None
    depth: int = 1
    height: int = 0


@dataclass(frozen=True, eq=False)
class PooledConvolution(Operation):
    """A convolution and max pooling by two behind it: writes both images."""

    convolution: Convolution | ActivatedConvolution
    pool: Pool


@dataclass(frozen=True, eq=False)
class ActivatedConvolution(Operation):
    """A convolution and steps of `segrt.cuda.epilogues` on what it makes.

    Attributes:
        convolution: Perhaps with a ReLU of its own.
        steps: At the end perhaps a factor and a shift of each channel.
        vectors: These.
    """

    convolution: Convolution | TransposedConvolution
    steps: tuple[Step, ...]
    vectors: tuple[Weights, ...] = ()


@dataclass(frozen=True, eq=False)
class Opening(Operation):
    """The first two convolutions, the second perhaps with max pooling by two behind it.

    Attributes:
        first: From the image.
        second: From what the first makes, which is never written; perhaps with factors and shifts.
        middle: Height and width of that.
    """

    first: Convolution
    second: Convolution | ActivatedConvolution
    middle: Pair


@dataclass(frozen=True, eq=False)
class Upsample(Operation):
    """Upsampling by whole factors (y, x)."""

    factors: Pair
    mode: Literal["nearest", "bilinear"]


@dataclass(frozen=True, eq=False)
class Pool(Operation):
    """Max or average pooling; windows may reach further than the padding ``after``."""

    window: Pair
    stride: Pair
    before: Pair
    maximum: bool
    count_padding: bool
    after: Pair = (0, 0)
    dilation: Pair = (1, 1)


@dataclass(frozen=True, eq=False)
class Shuffle(Operation):
    """Depth to space."""

    block: int
    phase_first: bool


@dataclass(frozen=True, eq=False)
class Join(Operation):
    """Concatenation of channels."""


@dataclass(frozen=True, eq=False)
class Chain(Operation):
    """Element-by-element steps on one image or several; ``vectors`` as `Step`s ask for them."""

    steps: tuple[Step, ...]
    vectors: tuple[Weights, ...] = ()


@dataclass(frozen=True, eq=False)
class Custom(Operation):
    """An operation of the user's own.

    Attributes:
        op: The operation.
        attributes: Of this node.
        constants: Inputs that are constants, by their place among all inputs; ``inputs`` are the
            others.
    """

    op: CustomOp
    attributes: Attributes
    constants: dict[int, Weights]


@dataclass(frozen=True, slots=True)
class Program:
    """A network of fixed sizes.

    Attributes:
        operations: In an order that computes.
        shapes: Of every value; N C H W of an image.
        inputs: Names of the graph inputs, in order.
        outputs: Names of the graph outputs, in order.
        scales: Of the values that are kept as integers of eight bits.
        dense: Values that are no images.
        types: Element types of values that are kept in one of their own whatever the precision.
        unsigned: Those of the integers that are never negative, kept without a sign.
    """

    operations: tuple[Operation, ...]
    shapes: dict[str, tuple[int, ...]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    scales: dict[str, float] = field(default_factory=dict)
    dense: frozenset[str] = frozenset()
    types: dict[str, str] = field(default_factory=dict)
    unsigned: frozenset[str] = frozenset()

    def uses(self, value: str) -> int:
        """Return how often a value is read."""
        return sum(operation.inputs.count(value) for operation in self.operations)
