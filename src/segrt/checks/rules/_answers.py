"""Short ways to make rulings, and to read attributes."""

from __future__ import annotations

import onnx_ir as ir

from segrt.checks._base import Place, Ruling, Support
from segrt.checks._release import Release, first_with, source_of


def supported(rule: str, text: str, release: Release, feature: str) -> Ruling:
    """Return the ruling that a layer of the release computes it."""
    return Ruling(rule, Support.SUPPORTED, text, source_of(feature, release))


def rewritten(rule: str, text: str, release: Release, feature: str, *forms: str) -> Ruling:
    """Return the ruling that other layers of the release compute exactly the same."""
    return Ruling(rule, Support.REWRITTEN, text, source_of(feature, release), forms)


def missing(rule: str, what: str, release: Release, feature: str) -> Ruling:
    """Return the ruling that only a plugin can do it before the release with ``feature``."""
    text = f"{release} has no {what} ({first_with(feature)} is the first): write a plugin"
    return Ruling(rule, Support.PLUGIN, text, source_of(feature, release))


def ints(node: ir.Node, name: str) -> tuple[int, ...]:
    """Return an attribute's integers, () where it is absent."""
    attribute = node.attributes.get(name)
    return () if attribute is None else tuple(attribute.as_ints())


def text_of(node: ir.Node, name: str, default: str) -> str:
    """Return a text attribute."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_string()


def rank(place: Place) -> int | None:
    """Return the number of axes of the node's first input, None where it is unknown."""
    value = place.node.inputs[0] if place.node.inputs else None
    return None if value is None or value.shape is None else len(value.shape)


def pads_note(node: ir.Node) -> str:
    """Say how uneven pads (Keras' ``same`` with an even kernel or a stride) are written."""
    pads = ints(node, "pads")
    half = len(pads) // 2
    if pads[:half] == pads[half:]:
        return ""
    return f"; pads before {pads[:half]} and after {pads[half:]} by setPrePadding, setPostPadding"
