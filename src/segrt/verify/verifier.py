"""The verification itself: match names, compare in the whole run, alone, and as deployed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.errors import EngineError, UsageError
from segrt.targets._base import Session
from segrt.types import Precision, TensorSpec
from segrt.verify._inner import (
    DEFAULT_BUDGET_BYTES,
    InnerValues,
    Opener,
    fixed_batch,
    run_in_batches,
    value_bytes,
)
from segrt.verify.blame import Islands, OwnErrors, cut
from segrt.verify.candidate import Located, Locations, Pairing, locate, root
from segrt.verify.metrics import Accumulator, Metrics, failed
from segrt.verify.reference import Reference, choose_reference
from segrt.verify.report import OutputRow, Report, Row
from segrt.verify.segmentation import MaskComparison, MaskRule
from segrt.verify.shift import ShiftDetector
from segrt.verify.tolerance import ARITHMETIC, Tolerance, complaint, tolerance_of

Array: TypeAlias = npt.NDArray[Any]

_UPSAMPLING = frozenset({"UpSampling2D", "Conv2DTranspose", "Resizing"})
# Size of a free axis of a random input: a multiple of 32, as nets with five poolings need.
_FREE_SIZE = 128


@dataclass(frozen=True, slots=True)
class Subject:
    """What is verified: the parts of a package that matter here.

    Attributes:
        name: For people.
        imported: The graph before any pass.
        lowered: The graph the engine runs.
        precision: The type the engine computes in.
        open: Opens the deployed session.
        open_model: Opens a graph in memory on the package's own target, with its own options.
    """

    name: str
    imported: ir.Model
    lowered: ir.Model
    precision: Precision
    open: Callable[[], Session]
    open_model: Opener


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """How to verify.

    Attributes:
        tolerance: What is allowed; None takes what `tolerance_of` lays down for the precision.
        threshold: Makes masks of one-channel outputs; None decides by the last operator
            (`segrt.verify.segmentation`).
        band_px: Width of the boundary band on either side.
        budget_bytes: The most bytes of inner values held at a time.
        architecture: JSON description, where the reference is a Keras file of weights only.
    """

    tolerance: Tolerance | None = None
    threshold: float | None = None
    band_px: int = 2
    budget_bytes: int = DEFAULT_BUDGET_BYTES
    architecture: Path | None = None


def verify_package(
    subject: Subject,
    *,
    against: Path | None = None,
    inputs: Mapping[str, Array] | None = None,
    options: VerifyOptions | None = None,
) -> Report:
    """Compare a package with a reference, layer by layer.

    Args:
        subject: The package.
        against: A recording (``.npz``), a Keras model file, or None for the imported graph.
        inputs: What to feed a reference with that brings no inputs of its own, by input name and
            in the source's layout. None: one random image, uniform in 0..1 from seed 0, with 128
            for every free size.
        options: See `VerifyOptions`.

    Raises:
        UsageError: The reference does not exist, or its inputs do not fit the package.
        RecordingError: The recording is damaged.
        ModelFileError: The model file is not the package's, and Keras is not there to run it.
        UnavailableError: No tolerance is laid down for the precision.
        EngineError: The target failed to run the graph.
    """
    options = options or VerifyOptions()
    tolerance = options.tolerance or tolerance_of(subject.precision)
    reference, remarks = choose_reference(
        against,
        subject.imported,
        random_inputs(subject.lowered) if inputs is None else inputs,
        inputs_given=inputs is not None,
        architecture=options.architecture,
        budget_bytes=options.budget_bytes,
    )
    try:
        return _Verification(subject, reference, tolerance, options, remarks).run()
    finally:
        reference.close()


def random_inputs(model: ir.Model) -> dict[str, Array]:
    """Return one random image for every input of a graph; see `verify_package`."""
    rng = np.random.default_rng(0)
    inputs: dict[str, Array] = {}
    for value in model.graph.inputs:
        if value.shape is None or value.dtype is None or value.name is None:
            raise UsageError(f"the shape of input {value.name!r} is unknown", hint="give inputs")
        free = [1] + [_FREE_SIZE] * (len(value.shape) - 1)
        sizes = [
            size if isinstance(size, int) else other
            for size, other in zip(value.shape, free, strict=True)
        ]
        dtype = value.dtype.numpy()
        uniform = rng.random(sizes)
        inputs[value.name] = (uniform if dtype.kind == "f" else uniform * 255).astype(dtype)
    return inputs


class _Verification:
    """One run; holds what its steps share."""

    def __init__(
        self,
        subject: Subject,
        reference: Reference,
        tolerance: Tolerance,
        options: VerifyOptions,
        remarks: Iterable[str],
    ) -> None:
        self._subject = subject
        self._reference = reference
        self._tolerance = tolerance
        self._options = options
        self._remarks = list(remarks)
        self._inputs = _matched_inputs(reference.inputs(), subject.lowered)
        self._images = len(next(iter(self._inputs.values())))
        self._locations = locate(subject.lowered)
        self._known = set(reference.names())
        imported = locate(subject.imported)
        self._classes = {name: place.layer_class for name, place in imported.found.items()}
        self._expected = _not_aliases(imported)
        # A quarter: candidate and reference are held together, with copies for the layout.
        self._budget = max(1, options.budget_bytes // 4)
        self._step, self._sizes = self._plan()

    def run(self) -> Report:
        """Compare everything."""
        whole = self._whole()
        own, shifts, kinds = self._own()
        rows = tuple(self._row(name, whole, own, shifts, kinds) for name in self._order())
        return Report(
            subject=self._subject.name,
            reference=self._reference.kind,
            precision=self._subject.precision.value,
            images=self._images,
            rows=rows,
            outputs=tuple(self._deployed()),
            remarks=tuple(self._remarks),
        )

    def _plan(self) -> tuple[int, dict[str, int | None]]:
        """Return how many images to run at a time, and the sizes of all values of that run."""
        batch = fixed_batch(self._subject.lowered) or 1
        one = self._value_bytes(batch)
        carriers = {place.value for place in self._locations.found.values()}
        largest = max((one.get(name) or 0 for name in carriers), default=0)
        fitting = self._budget // largest if largest else self._images
        step = max(1, min(fitting, -(-self._images // batch))) * batch
        return step, self._value_bytes(step)

    def _value_bytes(self, count: int) -> dict[str, int | None]:
        shapes = {name: (count, *array.shape[1:]) for name, array in self._inputs.items()}
        return value_bytes(self._subject.lowered, shapes)

    def _slices(self) -> Iterator[slice]:
        for start in range(0, self._images, self._step):
            yield slice(start, min(start + self._step, self._images))

    def _places(self) -> dict[str, Located]:
        """Return the Keras values both sides have."""
        return {name: place for name, place in self._locations.found.items() if name in self._known}

    def _whole(self) -> dict[str, Pairing]:
        """Compare every value as the whole graph computes it on the package's target."""
        inner = InnerValues(self._subject.lowered, self._subject.open_model, self._budget)
        places = self._places()
        pairings = {name: Pairing(place) for name, place in places.items()}
        by_value = _by_value(places)
        try:
            for group in inner.groups(by_value, self._sizes):
                names = [name for value in group for name in by_value[value]]
                for rows in self._slices():
                    values = inner.fetch(group, self._feeds(rows))
                    for name, expected in self._reference.fetch(names, rows):
                        pairings[name].update(expected, values[places[name].value])
        finally:
            inner.close()
        return pairings

    def _own(self) -> tuple[dict[str, Pairing], dict[str, ShiftDetector], dict[str, str]]:
        """Compare every value as its layer computes it from the reference's values."""
        places = {
            name: place for name, place in self._places().items() if place.value not in self._inputs
        }
        islands = cut(self._subject.lowered, places, self._known)
        kinds = {name: islands.kinds[place.value] for name, place in places.items()}
        try:
            pairings, shifts = self._run_islands(places, islands)
        except EngineError as error:
            self._remarks.append(f"own errors could not be had: {error.message}")
            return {}, {}, kinds
        return pairings, shifts, kinds

    def _run_islands(
        self, places: Mapping[str, Located], islands: Islands
    ) -> tuple[dict[str, Pairing], dict[str, ShiftDetector]]:
        pairings = {name: Pairing(place) for name, place in places.items()}
        shifts = {
            name: ShiftDetector(channel_axis=-1 if place.to_source else 1)
            for name, place in places.items()
            if self._class_of(name) in _UPSAMPLING and place.recovery is None
        }
        by_value = _by_value(places)
        own = OwnErrors(islands, self._subject.open_model, self._budget)
        try:
            for group in own.groups(by_value, self._sizes):
                names = [name for value in group for name in by_value[value]]
                for rows in self._slices():
                    values = own.fetch(group, self._reference, self._inputs, rows)
                    for name, expected in self._reference.fetch(names, rows):
                        stored = values[places[name].value]
                        pairings[name].update(expected, stored)
                        if name in shifts:
                            _look_for_shift(shifts[name], places[name], expected, stored)
        finally:
            own.close()
        return pairings, shifts

    def _deployed(self) -> Iterator[OutputRow]:
        """Compare the outputs of the package's own session."""
        with self._subject.open() as session:
            specs = {spec.name: spec for spec in session.outputs}
            known = self._reference.outputs()
            for name in known:
                if name not in specs:
                    yield _broken_output(name, "the package has no such output")
            comparisons = {
                name: self._output_comparison(spec) for name, spec in specs.items() if name in known
            }
            for name in specs.keys() - comparisons.keys():
                yield _broken_output(name, "the reference has no such output")
            batch = fixed_batch(self._subject.lowered)
            for rows in self._slices():
                outputs = run_in_batches(session, self._feeds(rows), batch)
                for name, expected in self._reference.fetch_outputs(rows):
                    if name in comparisons:
                        comparisons[name].update(expected, outputs[name])
        for name, comparison in comparisons.items():
            yield comparison.row(name, self._tolerance)

    def _output_comparison(self, spec: TensorSpec) -> _OutputComparison:
        graph = self._subject.lowered.graph
        value = next((value for value in graph.outputs if value.name == spec.name), None)
        producer = None if value is None else root(value).producer()
        operator = "" if producer is None else producer.op_type
        return _OutputComparison(spec, operator, self._options)

    def _feeds(self, rows: slice) -> dict[str, Array]:
        return {name: array[rows] for name, array in self._inputs.items()}

    def _order(self) -> list[str]:
        """Return all names of both sides, in the reference's order, strangers at the end."""
        names = dict.fromkeys(self._reference.names())
        inputs = {p.keras for p in self._locations.found.values() if p.value in self._inputs}
        names |= dict.fromkeys(
            name for name in self._locations.found
            if name not in inputs and not self._locations.found[name].alias
        )  # fmt: skip
        names |= dict.fromkeys(self._locations.ambiguous)
        names |= dict.fromkeys(self._expected)
        return list(names)

    def _class_of(self, name: str) -> str:
        place = self._locations.found.get(name)
        return self._classes.get(name) or (place.layer_class if place else "")

    def _row(
        self,
        name: str,
        whole: Mapping[str, Pairing],
        own: Mapping[str, Pairing],
        shifts: Mapping[str, ShiftDetector],
        kinds: Mapping[str, str],
    ) -> Row:
        if name not in whole:
            return self._uncompared(name)
        pairing = whole[name]
        recovered = pairing.located.recovery is not None
        note = f"{pairing.left_out} channel(s) cannot be recovered" if pairing.left_out else ""
        figures = pairing.figures.result()
        if pairing.untouched:
            return Row(name, self._class_of(name), "left out", note=note)
        own_figures = own[name].figures.result() if name in own else None
        shift = shifts[name].result() if name in shifts else None
        own_limit = self._tolerance.own[kinds.get(name, ARITHMETIC)]
        own_complaint = complaint(own_figures, own_limit) if own_figures else ""
        whole_complaint = complaint(figures, self._tolerance.whole)
        if shift is not None and own_complaint:
            own_complaint += f"; shifted by (dy {shift.dy:g}, dx {shift.dx:g}) px"
        notes = [f"own: {own_complaint}" if own_complaint else whole_complaint, note]
        return Row(
            name,
            self._class_of(name),
            "wrong" if own_complaint else "inherited" if whole_complaint else "ok",
            whole=figures,
            own=own_figures,
            recovered=recovered,
            shift=shift if own_complaint else None,
            note="; ".join(part for part in notes if part),
        )

    def _uncompared(self, name: str) -> Row:
        layer_class, locations = self._class_of(name), self._locations
        if name in locations.ambiguous:
            values = ", ".join(locations.ambiguous[name])
            return Row(name, layer_class, "unmatched", note=f"several values carry it: {values}")
        if name not in self._known:
            return Row(name, layer_class, "unmatched", note="the reference lacks it")
        if name in locations.fused:
            return Row(name, layer_class, "fused", note=locations.fused[name])
        return Row(name, layer_class, "unmatched", note="the package has no counterpart")


class _OutputComparison:
    """Gathers one output's figures, masks and shift."""

    def __init__(self, spec: TensorSpec, operator: str, options: VerifyOptions) -> None:
        self._spec = spec
        self._operator = operator
        self._options = options
        self._axis = -1 if spec.channel_axis is None else spec.channel_axis
        self._figures = Accumulator()
        self._shift = ShiftDetector(channel_axis=self._axis)
        self._masks: MaskComparison | None = None

    def update(self, expected: Array, found: Array) -> None:
        self._figures.update(expected, found)
        self._shift.update(expected, found)
        if expected.ndim != 4 or expected.shape != found.shape:
            return
        if self._masks is None:
            channels = expected.shape[self._axis]
            self._masks = MaskComparison(
                MaskRule.choose(self._operator, channels, self._options.threshold),
                classes=max(2, channels),
                band_px=self._options.band_px,
                channel_axis=self._axis,
            )
        self._masks.update(expected, found)

    def row(self, name: str, tolerance: Tolerance) -> OutputRow:
        figures: Metrics = self._figures.result()
        notes = [complaint(figures, tolerance.whole)]
        masks = None if self._masks is None else self._masks.result()
        if masks is not None and not masks.agreement >= tolerance.mask_agreement:
            wanted = tolerance.mask_agreement
            notes.append(f"masks agree on {masks.agreement:.6f} of the pixels, wanted {wanted:g}")
        shift = self._shift.result() if notes[0] or len(notes) > 1 else None
        if shift is not None:
            notes.append(f"shifted by (dy {shift.dy:g}, dx {shift.dx:g}) px")
        return OutputRow(name, figures, masks, shift, "; ".join(note for note in notes if note))


def _matched_inputs(arrays: Mapping[str, Array], model: ir.Model) -> dict[str, Array]:
    """Return the reference's inputs if they are those of the package.

    Raises:
        UsageError: Names differ, or there is no image.
    """
    wanted = [str(value.name) for value in model.graph.inputs]
    if set(arrays) != set(wanted):
        raise UsageError(
            "the reference's inputs are not those of the package",
            found=", ".join(sorted(arrays)) or "none",
            wanted=", ".join(wanted),
        )
    counts = {array.shape[:1] for array in arrays.values()}
    if len(counts) != 1 or counts in ({(0,)}, {()}):
        raise UsageError("inputs need one common batch size of at least 1 as their first axis")
    return {name: arrays[name] for name in wanted}


def _by_value(places: Mapping[str, Located]) -> dict[str, list[str]]:
    """Return ONNX value names, each with the Keras names it gives (recovered ones too)."""
    by_value: dict[str, list[str]] = {}
    for name, place in places.items():
        by_value.setdefault(place.value, []).append(name)
    return by_value


def _not_aliases(locations: Locations) -> list[str]:
    return [name for name, place in locations.found.items() if not place.alias]


def _look_for_shift(
    detector: ShiftDetector, place: Located, expected: Array, stored: Array
) -> None:
    axes = place.to_source
    detector.update(expected, stored if axes is None else stored.transpose(axes))


def _broken_output(name: str, note: str) -> OutputRow:
    return OutputRow(name, failed(note), note=note)
