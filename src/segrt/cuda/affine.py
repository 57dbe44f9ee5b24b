"""Factors and shifts of channels behind a convolution's activation: a normalization there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels.pointwise import Step
from segrt.cuda.operations import ActivatedConvolution, Convolution, Operation, Weights

_OPS = ("add", "sub", "mul", "div")


@dataclass(frozen=True, eq=False, slots=True)
class Affine:
    """What is multiplied and then added, one number a channel each; None: nothing is."""

    scale: npt.NDArray[np.float32] | None = None
    shift: npt.NDArray[np.float32] | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """The same as steps of a chain."""
        parts = (("mul", self.scale), ("add", self.shift))
        return tuple(Step(op, "channel") for op, numbers in parts if numbers is not None)

    @property
    def vectors(self) -> tuple[Weights, ...]:
        """What these want."""
        return tuple(numbers for numbers in (self.scale, self.shift) if numbers is not None)

    @property
    def words(self) -> str:
        """What is done, as text."""
        return " ".join(step.op for step in self.steps)

    def rows(self, bias: Weights) -> Weights:
        """Return a bias, the factors and the shifts (3, channels)."""
        ones, zeros = np.ones(len(bias)), np.zeros(len(bias))
        scale = ones if self.scale is None else self.scale
        shift = zeros if self.shift is None else self.shift
        return np.stack([bias, scale, shift]).astype(np.float32)


NOTHING = Affine()


def split(
    steps: tuple[Step, ...], vectors: tuple[Weights, ...], channels: int
) -> tuple[tuple[Step, ...], Affine] | None:
    """Return the steps in front of factors and shifts of channels, and what these come to.

    Returns:
        None where vectors are used otherwise. Factors of all channels alike belong to the front.
    """
    if not any(step.other == "channel" for step in steps):
        return steps, NOTHING
    at = len(steps)
    while at and steps[at - 1].op in _OPS and steps[at - 1].other in ("number", "channel"):
        at -= 1
    front, behind = steps[:at], steps[at:]
    if any(step.other == "channel" for step in front):
        return None
    scale, shift, left = np.ones(channels), np.zeros(channels), list(vectors)
    for step in behind:
        other: Any = step.settings[0] if step.other == "number" else left.pop(0)
        numbers = np.asarray(other, np.float64)
        if step.op in ("add", "sub"):
            shift = shift + numbers if step.op == "add" else shift - numbers
        else:
            factor = numbers if step.op == "mul" else 1 / numbers
            scale, shift = scale * factor, shift * factor
    known = Affine(
        scale.astype(np.float32) if (scale != 1).any() else None,
        shift.astype(np.float32) if shift.any() else None,
    )
    return (front, known) if known.steps or front else None


def affine_of(operation: ActivatedConvolution) -> tuple[tuple[Step, ...], Affine]:
    """Return the steps of one number each behind a convolution, and what follows them."""
    channels = max((len(numbers) for numbers in operation.vectors), default=1)
    found = split(operation.steps, operation.vectors, channels)
    assert found is not None
    return found


def apart(operation: Operation) -> tuple[Convolution | None, Affine]:
    """Return a convolution with at most factors and shifts behind its ReLU, and these."""
    if isinstance(operation, ActivatedConvolution):
        steps, affine = affine_of(operation)
        inner = operation.convolution
        return (inner if isinstance(inner, Convolution) and not steps else None), affine
    return (operation if isinstance(operation, Convolution) else None), NOTHING


def numbers_of(operation: Operation) -> Weights:
    """Return what kernels want behind the sums: the bias, and factors and shifts if there are."""
    inner, affine = apart(operation)
    assert inner is not None
    return affine.rows(inner.bias) if affine.steps else inner.bias
