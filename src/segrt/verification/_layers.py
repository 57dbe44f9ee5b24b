"""Compares every Keras value twice: in the whole run, and alone on the reference's values."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from segrt.errors import EngineError
from segrt.verification._inner import InnerValues, Opener
from segrt.verification._plan import Plan
from segrt.verification.blame import OwnErrors, cut
from segrt.verification.candidate import Located, Pairing, to_source
from segrt.verification.reference import Reference
from segrt.verification.shift import ShiftDetector


@dataclass(slots=True)
class LayerFigures:
    """What was gathered, by Keras name.

    Attributes:
        whole: In the whole run.
        own: Fed with the reference's values; empty if that could not be run.
        shifts: Of the upsampling layers, fed with the reference's values.
        kinds: ``movement`` or ``arithmetic``.
        remarks: What a reader should know.
    """

    whole: dict[str, Pairing] = field(default_factory=dict)
    own: dict[str, Pairing] = field(default_factory=dict)
    shifts: dict[str, ShiftDetector] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def compare_layers(
    model: ir.Model,
    opener: Opener,
    reference: Reference,
    plan: Plan,
    *,
    places: Mapping[str, Located],
    upsampling: Collection[str],
) -> LayerFigures:
    """Compare all values in ``places``.

    Args:
        model: The lowered graph.
        opener: Opens a graph on the package's own target.
        reference: What the values ought to be.
        plan: The images.
        places: The Keras values both sides have.
        upsampling: Those among them that upsampling layers make.

    Raises:
        EngineError: The target failed to run the whole graph.
    """
    figures = LayerFigures(whole=_whole(model, opener, reference, plan, places))
    inner = {name: place for name, place in places.items() if place.value not in plan.inputs}
    islands = cut(model, inner, set(reference.names()))
    figures.kinds = {name: islands.kinds[place.value] for name, place in inner.items()}
    figures.own = {name: Pairing(place) for name, place in inner.items()}
    figures.shifts = {
        name: ShiftDetector(channel_axis=-1 if place.to_source else 1)
        for name, place in inner.items()
        if name in upsampling and place.recovery is None
    }
    try:
        _own(figures, OwnErrors(islands, opener, plan.budget_bytes), reference, plan)
    except EngineError as error:
        figures.own, figures.shifts = {}, {}
        figures.remarks.append(f"own errors could not be had: {error.message}")
    return figures


def _whole(
    model: ir.Model,
    opener: Opener,
    reference: Reference,
    plan: Plan,
    places: Mapping[str, Located],
) -> dict[str, Pairing]:
    pairings = {name: Pairing(place) for name, place in places.items()}
    by_value = _by_value(places)
    inner = InnerValues(model, opener, plan.budget_bytes)
    try:
        for group in inner.groups(by_value, plan.sizes):
            names = [name for value in group for name in by_value[value]]
            for rows in plan.slices():
                values = inner.fetch(group, plan.feeds(rows))
                for name, expected in reference.fetch(names, rows):
                    pairings[name].update(expected, values[places[name].value])
    finally:
        inner.close()
    return pairings


def _own(figures: LayerFigures, own: OwnErrors, reference: Reference, plan: Plan) -> None:
    places = {name: pairing.located for name, pairing in figures.own.items()}
    by_value = _by_value(places)
    try:
        for group in own.groups(by_value, plan.sizes):
            names = [name for value in group for name in by_value[value]]
            for rows in plan.slices():
                values = own.fetch(group, reference, plan.inputs, rows)
                for name, expected in reference.fetch(names, rows):
                    place = places[name]
                    figures.own[name].update(expected, values[place.value])
                    if name in figures.shifts:
                        found = to_source(values[place.value], place.to_source)
                        figures.shifts[name].update(expected, found)
    finally:
        own.close()


def _by_value(places: Mapping[str, Located]) -> dict[str, list[str]]:
    """Return ONNX value names, each with the Keras names it gives (recovered ones too)."""
    by_value: dict[str, list[str]] = {}
    for name, place in places.items():
        by_value.setdefault(place.value, []).append(name)
    return by_value
