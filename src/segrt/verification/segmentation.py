"""Masks: how they follow from a network's output, and how well two of them agree.

Outputs become masks like this, unless a threshold is given:

====================================  =========================================
one channel behind a (hard) sigmoid   class 1 where the value is over 0.5
one channel behind anything else      class 1 where the value is over 0 (logits)
several channels                      the channel with the largest value
a mask                                as it is
====================================  =========================================

A pixel whose output is NaN belongs to no class and agrees with nothing. A pixel that differs is
undecided where both sides give its two classes the same value up to a margin: on large images a
few pixels always lie so near to the decision that the order of a sum decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from segrt.errors import UsageError

Array: TypeAlias = npt.NDArray[Any]
Masks: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

_SIGMOIDS = frozenset({"Sigmoid", "HardSigmoid"})


@dataclass(frozen=True, slots=True)
class MaskRule:
    """How an output becomes a mask.

    Attributes:
        kind: ``threshold`` (one channel), ``argmax``, or ``classes``: a mask already.
        threshold: Values over it are class 1.
    """

    kind: Literal["threshold", "argmax", "classes"]
    threshold: float = 0.0

    @classmethod
    def choose(cls, operator: str, channels: int, threshold: float | None) -> Self:
        """Return the rule for an output; see the module's table.

        Args:
            operator: ONNX operator that made the output, such as ``Sigmoid``.
            channels: How many channels it has.
            threshold: What the user asked for, None to decide by the operator.

        Raises:
            UsageError: A threshold for an output of several channels.
        """
        if channels > 1:
            if threshold is not None:
                raise UsageError(
                    "a threshold makes masks of one-channel outputs only",
                    found=f"an output of {channels} channels",
                    hint="leave the threshold out: the largest channel wins",
                )
            return cls("argmax")
        if threshold is None:
            threshold = 0.5 if operator in _SIGMOIDS else 0.0
        return cls("threshold", threshold)

    def masks(self, output: Array, channel_axis: int = -1) -> Masks:
        """Return class numbers, shape (batch, y, x); -1 where the output is NaN."""
        moved = np.moveaxis(output, channel_axis, -1)
        if self.kind == "classes":
            return np.asarray(moved[..., 0], np.int64)
        if self.kind == "argmax":
            masks: Masks = moved.argmax(axis=-1).astype(np.int64)
        else:
            masks = (moved[..., 0] > self.threshold).astype(np.int64)
        masks[np.isnan(moved).any(axis=-1)] = -1
        return masks


@dataclass(frozen=True, slots=True)
class MaskAgreement:
    """How well two sets of masks agree.

    Attributes:
        pixels: How many were compared.
        agreement: Share of pixels with the same class.
        undecided: How many of the differing pixels both sides hold for equal, up to the margin.
        iou: Intersection over union by class; None for a class neither has.
        dice: Twice the intersection over the sum, by class; None likewise.
        band_px: Width of the band on either side of the reference's boundaries.
        band_error: Share of differing pixels inside the band, None if there are no boundaries.
        elsewhere_error: Share of differing pixels outside it, None if the band is everything.
    """

    pixels: int
    agreement: float
    undecided: int
    iou: tuple[float | None, ...]
    dice: tuple[float | None, ...]
    band_px: int
    band_error: float | None
    elsewhere_error: float | None


class MaskComparison:
    """Gathers `MaskAgreement` over pieces of a batch.

    Args:
        rule: How outputs become masks.
        classes: How many classes there are (2 for one channel).
        band_px: Width of the boundary band in pixels.
        channel_axis: Axis of the channels.
        margin: What counts as equal, as a share of the reference's largest absolute value.
    """

    def __init__(
        self,
        rule: MaskRule,
        *,
        classes: int,
        band_px: int,
        channel_axis: int = -1,
        margin: float = 0.0,
    ) -> None:
        self._rule = rule
        self._classes = classes
        self._band_px = band_px
        self._channel_axis = channel_axis
        self._margin = margin
        self._largest = 0.0
        # Row: reference class, column: candidate class; the last of both is "none" (NaN).
        self._counts = np.zeros((classes + 1, classes + 1), np.int64)
        self._band = self._band_wrong = self._wrong = self._undecided = 0

    def update(self, reference: Array, candidate: Array) -> None:
        """Add a piece of both outputs, of the same shape (batch, y, x, channels)."""
        ref = self._rule.masks(reference, self._channel_axis)
        cand = self._rule.masks(candidate, self._channel_axis)
        finite = np.isfinite(reference)
        self._largest = max(self._largest, float(abs(reference).max(initial=0.0, where=finite)))
        size = self._classes + 1
        pairs = (ref % size) * size + cand % size  # -1 becomes the last row or column
        self._counts += np.bincount(pairs.reshape(-1), minlength=size * size).reshape(size, size)
        wrong = (ref != cand) | (ref < 0)
        band = boundary_band(ref, self._band_px)
        self._band += int(band.sum())
        self._band_wrong += int((wrong & band).sum())
        self._wrong += int(wrong.sum())
        known = wrong & (ref >= 0) & (cand >= 0)
        if self._margin and known.any() and self._rule.kind != "classes":
            moved = [np.moveaxis(one, self._channel_axis, -1) for one in (reference, candidate)]
            near = self._is_near(moved[0][known], ref[known], cand[known])
            near &= self._is_near(moved[1][known], ref[known], cand[known])
            self._undecided += int(near.sum())

    def _is_near(self, values: Array, one: Masks, other: Masks) -> Flags:
        """Say of pixels (N, channels) whether two classes (N,) are equal up to the margin."""
        if self._rule.kind == "threshold":
            apart = values[:, 0] - self._rule.threshold
        else:
            at = np.arange(len(values))
            apart = values[at, one] - values[at, other]
        near: Flags = abs(apart) <= self._margin * self._largest
        return near

    def result(self) -> MaskAgreement:
        """Return the figures of all pieces so far."""
        pixels = int(self._counts.sum())
        both = np.diag(self._counts)[:-1]
        total = self._counts.sum(axis=0)[:-1] + self._counts.sum(axis=1)[:-1]
        return MaskAgreement(
            pixels=pixels,
            agreement=_share(int(both.sum()), pixels) or 0.0,
            undecided=self._undecided,
            iou=tuple(_share(int(b), int(t - b)) for b, t in zip(both, total, strict=True)),
            dice=tuple(_share(2 * int(b), int(t)) for b, t in zip(both, total, strict=True)),
            band_px=self._band_px,
            band_error=_share(self._band_wrong, self._band),
            elsewhere_error=_share(self._wrong - self._band_wrong, pixels - self._band),
        )


def boundary_band(masks: Masks, width_px: int) -> Flags:
    """Return the pixels within ``width_px`` (in y and x each) of a boundary between classes.

    The pixels on both sides of a boundary are at distance 0.

    Args:
        masks: Class numbers, shape (batch, y, x).
        width_px: How far the band reaches.
    """
    band = np.zeros(masks.shape, np.bool_)
    for axis in (1, 2):
        low, high = _pair(axis)
        differs = masks[low] != masks[high]
        band[low] |= differs
        band[high] |= differs
    for axis in (1, 2):
        low, high = _pair(axis)
        for _ in range(width_px):
            before = band.copy()
            band[low] |= before[high]
            band[high] |= before[low]
    return band


def _pair(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return indices of all but the last, and all but the first, along an axis of three."""
    whole = slice(None)
    low, high = [whole] * 3, [whole] * 3
    low[axis], high[axis] = slice(None, -1), slice(1, None)
    return tuple(low), tuple(high)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
