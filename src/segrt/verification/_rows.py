"""Which Keras values there are on either side, and what is said about each."""

from __future__ import annotations

from dataclasses import dataclass

from segrt.verification._layers import LayerFigures
from segrt.verification.candidate import Located, Locations
from segrt.verification.report import Row
from segrt.verification.tolerance import Tolerance, complaint

_LOOSE = "no batch of images but a number or a vector: what is computed from it is compared"
_CUT_UP = "its first axis is not that of the images: what is computed from it is compared"
_UPSAMPLING = frozenset({"UpSampling2D", "Conv2DTranspose", "Resizing"})


@dataclass(frozen=True, slots=True)
class Names:
    """The Keras names of all sides.

    Attributes:
        imported: Where they lie in the graph before any pass.
        lowered: Where they lie in the graph the engine runs.
        reference: Those the reference can give.
        loose: Those the reference knows but cannot give image by image.
    """

    imported: Locations
    lowered: Locations
    reference: tuple[str, ...]
    loose: frozenset[str]

    def shared(self) -> dict[str, Located]:
        """Return the values that can be compared."""
        known = set(self.reference)
        return {name: place for name, place in self.lowered.found.items() if name in known}

    def upsampling(self) -> set[str]:
        """Return the names of upsampling layers' values."""
        return {name for name in self.reference if self.layer_class(name) in _UPSAMPLING}

    def layer_class(self, name: str) -> str:
        """Return the Keras class of the layer that makes a value, "" if unknown."""
        for locations in (self.imported, self.lowered):
            if name in locations.found and locations.found[name].layer_class:
                return locations.found[name].layer_class
        return ""

    def ordered(self) -> list[str]:
        """Return all names, in the reference's order, those it lacks at the end.

        Values that merely repeat another one need not be known to a reference.
        """
        found = [*self.lowered.found.values(), *self.imported.found.values()]
        repeated = {place.keras for place in found if place.alias}
        names = dict.fromkeys(self.reference)
        names |= dict.fromkeys(place.keras for place in found if place.keras not in repeated)
        return list(names | dict.fromkeys([*self.lowered.ambiguous, *self.imported.loose]))


def layer_row(name: str, names: Names, figures: LayerFigures, tolerance: Tolerance) -> Row:
    """Judge one Keras value."""
    if name in names.imported.loose:
        return Row(name, names.imported.loose[name], "left out", note=_LOOSE)
    layer_class = names.layer_class(name)
    if name in names.loose:
        return Row(name, layer_class, "left out", note=_CUT_UP)
    if name not in figures.whole:
        return _uncompared(name, layer_class, names)
    pairing = figures.whole[name]
    left_out = f"{pairing.left_out} channel(s) cannot be recovered" if pairing.left_out else ""
    if pairing.untouched:
        return Row(name, layer_class, "left out", note=left_out)
    whole = pairing.figures.result()
    own = figures.own[name].figures.result() if name in figures.own else None
    own_complaint = complaint(own, tolerance.own[figures.kinds[name]]) if own else ""
    whole_complaint = complaint(whole, tolerance.whole)
    shift = figures.shifts[name].result() if own_complaint and name in figures.shifts else None
    notes = [f"own: {own_complaint}" if own_complaint else whole_complaint, left_out]
    if shift is not None:
        notes.insert(1, f"shifted by (dy {shift.dy:g}, dx {shift.dx:g}) px")
    return Row(
        name,
        layer_class,
        "wrong" if own_complaint else "inherited" if whole_complaint else "ok",
        whole=whole,
        own=own,
        recovered=pairing.located.recovery is not None,
        shift=shift,
        note="; ".join(note for note in notes if note),
    )


def _uncompared(name: str, layer_class: str, names: Names) -> Row:
    lowered = names.lowered
    if name in lowered.ambiguous:
        note = "several values carry it: " + ", ".join(lowered.ambiguous[name])
    elif name not in names.reference:
        note = "the reference lacks it"
    elif name in lowered.fused:
        return Row(name, layer_class, "fused", note=lowered.fused[name])
    else:
        note = "the package has no counterpart"
    return Row(name, layer_class, "unmatched", note=note)
