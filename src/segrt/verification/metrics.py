"""How far two arrays are apart: sums in float64, gathered piece by piece.

Definitions, with reference ``r`` and candidate ``c``:

``max_abs``      ``max |c - r|``
``peak``         ``max |c - r| / max |r|``
``relative_l2``  ``||c - r|| / ||r||``
``cosine``       ``c . r / (||c|| ||r||)``
``mape``         ``100 * mean(|c - r| / |r|)`` over the elements whose reference is not zero, in
                 percent. After a ReLU about half of all references are exactly zero and have no
                 percentage; they are left out and counted in ``zeros``, and the other figures
                 still see them. Tiny references make it large: it is reported because people
                 quote it, and nothing is judged by it.

Where ``r`` is zero everywhere, ``relative_l2``, ``peak`` and ``mape`` are 0 if ``c`` is zero
everywhere too and infinite otherwise; the cosine of two zero vectors is 1, of one 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
FloatArray: TypeAlias = npt.NDArray[np.float64]

# Elements turned into float64 at a time: half a MiB a buffer, which stays in the cache.
_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class Metrics:
    """The distance of a candidate from its reference; see the module for the definitions.

    Attributes:
        max_abs: In the units of the reference.
        relative_l2: A ratio.
        cosine: -1 to 1.
        mape: In percent.
        peak: A ratio.
        elements: How many pairs were compared.
        zeros: How many of them have a reference of exactly 0.
        problem: Why the figures mean nothing (shape, type, NaN, nothing compared), "" if they do.
        amplification: By how much the way the candidate was obtained magnifies rounding; 1
            unless it was recovered from a folded value.
    """

    max_abs: float
    relative_l2: float
    cosine: float
    mape: float
    peak: float
    elements: int
    zeros: int
    problem: str = ""
    amplification: float = 1.0


class Accumulator:
    """Gathers `Metrics` over pieces of one value, such as the images of a batch."""

    def __init__(self) -> None:
        self._problem = ""
        self._elements = self._zeros = 0
        self._max_abs = self._largest = 0.0
        self._difference = self._reference = self._candidate = self._product = 0.0
        self._percentage = 0.0
        self._carried = 0.0

    def update(self, reference: Array, candidate: Array, *, carried: float | None = None) -> None:
        """Add a piece.

        Args:
            reference: Any shape, floating or integer.
            candidate: The same shape, a type of the same kind.
            carried: Sum of squares of what the candidate was computed from, in the candidate's
                units, where it was recovered by a subtraction that magnifies rounding.
        """
        problem = mismatch(reference, candidate)
        if problem:
            self._problem = self._problem or problem
            return
        candidate_before = self._candidate
        for ref, cand in _pieces(reference, candidate):
            bad = int(np.count_nonzero(~(np.isfinite(ref) & np.isfinite(cand))))
            if bad:
                self._problem = self._problem or _not_finite(ref, cand)
                return
            self._add(ref, cand)
        self._carried += self._candidate - candidate_before if carried is None else carried

    def _add(self, ref: FloatArray, cand: FloatArray) -> None:
        size = np.abs(ref)
        away = np.abs(cand - ref)
        nonzero = size > 0
        self._elements += ref.size
        self._zeros += ref.size - int(np.count_nonzero(nonzero))
        self._max_abs = max(self._max_abs, float(away.max()))
        self._largest = max(self._largest, float(size.max()))
        self._difference += _dot(away, away)
        self._reference += _dot(ref, ref)
        self._candidate += _dot(cand, cand)
        self._product += _dot(ref, cand)
        # A denormal reference may overflow the quotient; the sum is then infinite, and says so.
        with np.errstate(over="ignore"):
            self._percentage += float(np.sum(away[nonzero] / size[nonzero]))

    def result(self) -> Metrics:
        """Return the figures of all pieces so far."""
        problem = self._problem or ("" if self._elements else "there was nothing to compare")
        if problem:
            return failed(problem)
        difference, reference = math.sqrt(self._difference), math.sqrt(self._reference)
        candidate = math.sqrt(self._candidate)
        with_value = self._elements - self._zeros
        relative = _ratio(difference, reference)
        # Squares of numbers below 1e-154 underflow: two arrays that differ must never seem equal.
        if relative == 0.0 and self._max_abs > 0.0:
            relative = _ratio(self._max_abs, self._largest)
        return Metrics(
            max_abs=self._max_abs,
            relative_l2=relative,
            cosine=_cosine(self._product, reference, candidate),
            mape=100 * self._percentage / with_value if with_value else _ratio(self._max_abs, 0.0),
            peak=_ratio(self._max_abs, self._largest),
            elements=self._elements,
            zeros=self._zeros,
            amplification=max(1.0, _ratio(math.sqrt(self._carried), candidate) if candidate else 1),
        )


def compare(reference: Array, candidate: Array) -> Metrics:
    """Compare two arrays in one go; see `Accumulator`."""
    accumulator = Accumulator()
    accumulator.update(reference, candidate)
    return accumulator.result()


def failed(problem: str) -> Metrics:
    """Return the metrics of a comparison that could not be made."""
    return Metrics(math.inf, math.inf, 0.0, math.inf, math.inf, 0, 0, problem)


def mismatch(reference: Array, candidate: Array) -> str:
    """Say why two arrays cannot be compared element by element, "" if they can."""
    if reference.shape != candidate.shape:
        return f"shape {list(candidate.shape)} where the reference has {list(reference.shape)}"
    kinds = (reference.dtype.kind, candidate.dtype.kind)
    if kinds[0] == "f" and kinds[1] in "iub":
        return ""  # recordings hold every number as float32
    if kinds != ("f", "f") and not set(kinds) <= set("iu") and kinds != ("b", "b"):
        return f"type {candidate.dtype} where the reference has {reference.dtype}"
    return ""


def _pieces(reference: Array, candidate: Array) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yield flat float64 pieces of both; works on any strides without copying the whole."""
    if reference.size == 0:
        return
    if reference.size <= _PIECE or reference.ndim == 0:
        yield _flat(reference), _flat(candidate)
        return
    step = max(1, _PIECE * reference.shape[0] // reference.size)
    for start in range(0, reference.shape[0], step):
        ref, cand = reference[start : start + step], candidate[start : start + step]
        if step == 1:
            # One element of the first axis may still be large: go on inside it.
            yield from _pieces(ref[0], cand[0])
        else:
            yield _flat(ref), _flat(cand)


def _flat(array: Array) -> FloatArray:
    return array.astype(np.float64).reshape(-1)


def _dot(one: FloatArray, other: FloatArray) -> float:
    # Not `np.dot`: BLAS starts threads for it, and on a busy machine waiting for them took fifty
    # times as long as the sum itself.
    return float(np.sum(one * other))


def _not_finite(reference: FloatArray, candidate: FloatArray) -> str:
    for who, array in (("candidate", candidate), ("reference", reference)):
        if np.isnan(array).any():
            return f"the {who} is not finite: it holds NaN"
        if np.isinf(array).any():
            return f"the {who} is not finite: it holds infinities"
    raise AssertionError("unreachable: both arrays are finite")


def _ratio(value: float, base: float) -> float:
    if base > 0:
        return value / base
    return 0.0 if value == 0 else math.inf


def _cosine(product: float, reference: float, candidate: float) -> float:
    if reference == 0 or candidate == 0:
        return 1.0 if reference == candidate else 0.0
    return max(-1.0, min(1.0, product / (reference * candidate)))
