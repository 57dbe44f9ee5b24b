"""Operations on images and volumes that one kernel, or two of the engine's own, compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from segrt.cuda.kernels.global_pooling import Kind
from segrt.cuda.kernels.pointwise import Step
from segrt.cuda.operations import Convolution, Operation, Pair, Weights

Triple: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class GatherPixels(Operation):
    """Rows, columns and channels by tables: padding, cropping, strides, flips.

    Attributes:
        rows: The source's row for each of the result's, -1 where it is filled.
        columns: Likewise.
        size: Rows and columns of the source.
        channels: As rows; None where all stay where they are.
        fill: What it is filled with.
    """

    rows: Weights
    columns: Weights
    size: Pair
    channels: Weights | None = None
    fill: float = 0.0


@dataclass(frozen=True, eq=False)
class Resample(Operation):
    """Rows and columns as weighted sums.

    Attributes:
        rows: Places of what each of the result's rows is made of (rows, taps), int32.
        columns: Likewise.
        row_weights: What these are multiplied with, float32.
        column_weights: Likewise.
    """

    rows: Weights
    columns: Weights
    row_weights: Weights
    column_weights: Weights


@dataclass(frozen=True, eq=False)
class Softmax(Operation):
    """Softmax over channels, or its logarithm."""

    logarithm: bool = False


@dataclass(frozen=True, eq=False)
class Decide(Operation):
    """The largest (smallest) channel's number; the first or last of equals."""

    minimum: bool = False
    last: bool = False


@dataclass(frozen=True, eq=False)
class GlobalPool(Operation):
    """One pixel from all."""

    kind: Kind


@dataclass(frozen=True, eq=False)
class GroupNormalize(Operation):
    """Groups of channels by their own statistics.

    Attributes:
        groups: How many; as many as channels for an instance normalization.
        vectors: Scale and shift (2, channels), float32.
        epsilon: Added to the variance.
        relu: Whether a ReLU follows.
        steps: What follows that: an activation, see `segrt.cuda.epilogues`.
    """

    groups: int
    vectors: Weights
    epsilon: float
    relu: bool = False
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, eq=False)
class Slices(Operation):
    """Slices of a volume side by side: what a window meets along the depth, as channels.

    Attributes:
        table: The source's slice (slices written, taps), int32; -1 for one of zeros.
        groups: Of channels; those that a group has of all taps stay together.
    """

    table: Weights
    groups: int = 1


@dataclass(frozen=True, eq=False)
class VolumeConvolution(Operation):
    """A convolution of slices side by side, which need not be put there.

    Attributes:
        slices: What would be side by side.
        convolution: Of that.
        heights: Of the volume's slices, and of the slices that are made.
    """

    slices: Slices
    convolution: Convolution
    heights: Pair


@dataclass(frozen=True, eq=False)
class VolumePool(Operation):
    """Max or average pooling of volumes: as `Pool`, along depth, height and width."""

    window: Triple
    stride: Triple
    before: Triple
    maximum: bool
    count_padding: bool
    after: Triple = (0, 0, 0)
    dilation: Triple = (1, 1, 1)
