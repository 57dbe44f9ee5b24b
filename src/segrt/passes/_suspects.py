"""Upsampling in foreign graphs that moves pixels against what Keras' UpSampling2D means.

Nothing is repaired: a shifted network may have been trained so. It is named, with the shift.
"""

from __future__ import annotations

import onnx_ir as ir

from segrt.passes._base import PassContext
from segrt.passes._pipeline import passes
from segrt.passes._resize_rule import ResizeRule
from segrt.passes.upsampling._base import Site
from segrt.passes.upsampling._sites import find_sites
from segrt.types import Finding

_ROW = 7


def find_suspects(model: ir.Model) -> list[Finding]:
    """Return a finding for every Resize that is no UpSampling2D of a present-day Keras.

    Args:
        model: As imported; not changed.
    """
    clone = model.clone()
    for step in passes():
        if step.name == "upsampling":
            break
        step(clone, PassContext())
    found = [_judge(site) for site in find_sites(clone.graph) if site.node.op_type == "Resize"]
    return [finding for finding in found if finding is not None]


def _judge(site: Site) -> Finding | None:
    rule = site.rule
    if rule is None:
        return _unusual(site)
    if rule.linear:
        if rule.coordinates in ("half_pixel", "pytorch_half_pixel"):
            return None
        text = (
            f"bilinear with {rule.coordinates} coordinates: the image lies up to half a pixel "
            "beside what UpSampling2D(interpolation='bilinear') gives (half_pixel), except in "
            "Keras before 2.3"
        )
        return Finding("UPSAMPLING-SHIFTED-BILINEAR", site.layer, "warning", text)
    if rule.repeats_pixels():
        return None
    text = (
        f"{rule}, factor {rule.factors[0]}x{rule.factors[1]}: {_shift(rule)} against UpSampling2D"
    )
    return Finding("UPSAMPLING-SHIFTED-NEAREST", site.layer, "warning", text)


def _shift(rule: ResizeRule) -> str:
    factor = max(rule.factors)
    moved = rule.nearest_indices(_ROW, factor) - [i // factor for i in range(_ROW * factor)]
    wrong = int((moved != 0).sum())
    return (
        f"{wrong} of {_ROW * factor} pixels of a row are read {int(moved.min()):+d}..."
        f"{int(moved.max()):+d} pixels off"
    )


def _unusual(site: Site) -> Finding | None:
    mode = site.node.attributes.get("coordinate_transformation_mode")
    word = mode.as_string() if mode is not None else "half_pixel"
    if word == "align_corners":
        text = "align_corners: pixels drift by up to half a pixel from the middle to the border"
        return Finding("UPSAMPLING-ALIGN-CORNERS", site.layer, "warning", text)
    text = "it does not scale height and width by whole factors known in advance"
    return Finding("UPSAMPLING-OTHER", site.layer, "info", text)
