"""Operations on values of any rank: they know strides, so images and dense values alike.

Sizes and axes are the graph's: N C H W for an image, however it lies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from segrt.cuda.kernels._access import Access, Instruction
from segrt.cuda.operations import Operation, Pair, Weights

ReduceKind = Literal[
    "sum", "mean", "max", "min", "prod", "l1", "l2", "sum_square", "log_sum_exp", "argmax", "argmin"
]
NormaliseKind = Literal["softmax", "log_softmax", "standard", "root"]


@dataclass(frozen=True, eq=False)
class TensorOperation(Operation):
    """Reads and writes values of any layout, rank and element type."""


@dataclass(frozen=True, eq=False)
class Strided(TensorOperation):
    """Moving elements, and element-by-element steps on what is found.

    Attributes:
        accesses: Where each operand is read: the inputs', then the constants'.
        program: What is done with the numbers read; the last result is written.
        constants: Operands that are arrays, float32.
    """

    accesses: tuple[Access, ...]
    program: tuple[Instruction, ...]
    constants: tuple[Weights, ...] = ()


@dataclass(frozen=True, eq=False)
class Reshape(TensorOperation):
    """Other sizes for the same elements in the same order; a copy only where they lie otherwise."""


@dataclass(frozen=True, eq=False)
class Reduce(TensorOperation):
    """One number for all elements along some axes."""

    kind: ReduceKind
    axes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Normalise(TensorOperation):
    """Every element in relation to all those along some axes.

    Attributes:
        kind: ``standard`` takes the mean away and divides by the deviation, ``root`` divides by
            the root of the mean square.
        axes: Along which the elements belong together.
        epsilon: Added to the variance or mean square.
        scale: Multiplied with the result, float32, of the input's rank; None: nothing.
        shift: Added behind it, likewise.
    """

    kind: NormaliseKind
    axes: tuple[int, ...]
    epsilon: float = 0.0
    scale: Weights | None = None
    shift: Weights | None = None


@dataclass(frozen=True, eq=False)
class Product(TensorOperation):
    """A sum of products over axes that two operands share, as an equation of axes says it.

    Attributes:
        left: A letter for each axis of the first operand.
        right: Likewise of the second.
        result: Letters of the output's axes.
        constants: An operand that is an array, by its place; ``inputs`` are the others.
        bias: Added along the output's last axis, float32; None: nothing.
        factor: What the sums are multiplied with.
    """

    left: str
    right: str
    result: str
    constants: dict[int, Weights] = field(default_factory=dict)
    bias: Weights | None = None
    factor: float = 1.0


@dataclass(frozen=True, eq=False)
class Take(TensorOperation):
    """Elements along an axis, picked by computed numbers; those below 0 count from the end."""

    axis: int
    constants: dict[int, Weights] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Scatter(TensorOperation):
    """Updates put to computed places along an axis; inputs are data, places and updates."""

    axis: int
    reduction: str
    constants: dict[int, Weights] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class PoolPlaces(TensorOperation):
    """Where each window's largest element is, counted in N C H W."""

    window: Pair
    stride: Pair
    before: Pair
    dilation: Pair
