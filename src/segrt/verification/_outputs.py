"""Compares what the deployed session returns: figures, masks, and a look for a shift."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy.typing as npt
import onnx_ir as ir

from segrt.graph.ends import read_ends
from segrt.targets._base import Session
from segrt.types import TensorSpec
from segrt.verification._inner import run_in_batches
from segrt.verification._plan import Plan
from segrt.verification.candidate import root
from segrt.verification.metrics import Accumulator, failed
from segrt.verification.reference import Reference
from segrt.verification.report import OutputRow
from segrt.verification.segmentation import MaskAgreement, MaskComparison, MaskRule
from segrt.verification.shift import ShiftDetector
from segrt.verification.tolerance import Tolerance, complaint

Array: TypeAlias = npt.NDArray[Any]


class OutputComparison:
    """Gathers one output's figures over pieces of a batch.

    Args:
        spec: The output.
        operator: ONNX operator that makes it; decides how it becomes a mask.
        threshold: The user's own threshold, None to decide by the operator.
        band_px: Width of the boundary band.
        classes: How many a mask has; None where the output is none.
        margin: See `MaskComparison`.
    """

    def __init__(
        self,
        spec: TensorSpec,
        operator: str,
        *,
        threshold: float | None,
        band_px: int,
        classes: int | None = None,
        margin: float = 0.0,
    ) -> None:
        self._classes = classes
        self._margin = margin
        self._name = spec.name
        self._operator = operator
        self._threshold = threshold
        self._band_px = band_px
        self._axis = -1 if spec.channel_axis is None else spec.channel_axis
        self._figures = Accumulator()
        self._shift = ShiftDetector(channel_axis=self._axis)
        self._masks: MaskComparison | None = None

    def update(self, expected: Array, found: Array) -> None:
        """Add a piece; masks are made of outputs with four axes only."""
        self._figures.update(expected, found)
        self._shift.update(expected, found)
        if expected.ndim != 4 or expected.shape != found.shape:
            return
        if self._masks is None:
            channels = expected.shape[self._axis]
            rule = (
                MaskRule.choose(self._operator, channels, self._threshold)
                if self._classes is None
                else MaskRule("classes")
            )
            self._masks = MaskComparison(
                rule,
                classes=max(2, self._classes or channels),
                band_px=self._band_px,
                channel_axis=self._axis,
                margin=self._margin,
            )
        self._masks.update(expected, found)

    def row(self, tolerance: Tolerance) -> OutputRow:
        """Return the figures and judge them."""
        figures = self._figures.result()
        # Numbers of classes have no distance: a mask is judged by how many of its pixels agree.
        notes = [complaint(figures, tolerance.whole) if self._classes is None else ""]
        masks = None if self._masks is None else self._masks.result()
        if masks is not None:
            notes.append(_mask_complaint(masks, tolerance.mask_agreement))
        shift = self._shift.result() if any(notes) else None
        if shift is not None:
            notes.append(f"shifted by (dy {shift.dy:g}, dx {shift.dx:g}) px")
        note = "; ".join(note for note in notes if note)
        return OutputRow(self._name, figures, masks, shift, note)


def _mask_complaint(masks: MaskAgreement, wanted: float) -> str:
    """Say that too few pixels agree, "" if enough do."""
    same = round(masks.agreement * masks.pixels)
    if same + masks.undecided >= wanted * masks.pixels:
        return ""
    near = f" ({masks.undecided} of them by rounding)" if masks.undecided else ""
    differ = f"{masks.pixels - same} of {masks.pixels} pixels{near}"
    return f"masks agree on all but {differ}, wanted a share of {wanted:g}"


def compare_outputs(
    session: Session,
    model: ir.Model,
    reference: Reference,
    plan: Plan,
    tolerance: Tolerance,
    *,
    threshold: float | None,
    band_px: int,
) -> Iterator[OutputRow]:
    """Yield a row for every output of either side.

    Args:
        session: The deployed one.
        model: The graph before any pass; tells which operators make the outputs.
        reference: What the outputs ought to be.
        plan: The images.
        tolerance: What is allowed.
        threshold: See `OutputComparison`.
        band_px: See `OutputComparison`.
    """
    known, made = reference.outputs(), read_ends(model).masks
    comparisons = {
        spec.name: OutputComparison(
            spec,
            _operator(model, spec.name),
            threshold=threshold,
            band_px=band_px,
            margin=tolerance.undecided,
            classes=made[spec.name].classes if spec.name in made else None,
        )
        for spec in session.outputs
        if spec.name in known
    }
    for name in known:
        if name not in comparisons:
            yield _broken(name, "the package has no such output")
    for spec in session.outputs:
        if spec.name not in comparisons:
            yield _broken(spec.name, "the reference has no such output")
    for rows in plan.slices():
        outputs = run_in_batches(session, plan.feeds(rows), plan.batch)
        for name, expected in reference.fetch_outputs(rows):
            if name in comparisons:
                comparisons[name].update(expected, outputs[name])
    for comparison in comparisons.values():
        yield comparison.row(tolerance)


def _operator(model: ir.Model, output: str) -> str:
    value = next((value for value in model.graph.outputs if value.name == output), None)
    producer = None if value is None else root(value).producer()
    return "" if producer is None else producer.op_type


def _broken(name: str, note: str) -> OutputRow:
    return OutputRow(name, failed(note), note=note)
