"""Resize: what UpSampling2D becomes.

Before TensorRT 6.0.1 there is no layer that resizes. From there to 7.2 the layer has no coordinate
transformation, so it cannot say half-pixel, which bilinear needs. What is missing is replaced by a
form that the planner has proven on this very layer, if the release has what the form is made of.
"""

from __future__ import annotations

from segrt.checks._base import Place, Ruling, Support, rule
from segrt.checks._release import Release, first_with, source_of
from segrt.checks.rules._answers import rewritten, supported, text_of
from segrt.passes._resize_rule import ResizeRule, read_rule
from segrt.passes.upsampling._base import FormOption, SitePlan

# Form -> the features that it is made of, the forms that need least first.
FORMS = {
    "deconvolution": ("deconvolution",),
    "transposed": ("deconvolution",),
    "subpixel": ("convolution", "shuffle"),
    "expand": ("shuffle", "broadcast-slice"),
}
_WORDS = {
    "deconvolution": "a deconvolution with ones, one group a channel, kernel = stride = {factors}",
    "transposed": "one deconvolution that holds the convolution behind it as well",
    "subpixel": "a convolution of the small image and a pixel shuffle (IShuffleLayer)",
    "expand": "pixels repeated by a slice of stride 0 and reshapes",
}
# `align_corners` apart, what IResizeLayer can say since 8.0.1 as the ONNX parser writes it.
_COORDINATES = ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners")


@rule("Resize", "Upsample")
def resize(place: Place, release: Release) -> Ruling:
    """Answer for Resize by what it reads: whole factors, nearest or bilinear, or anything else."""
    found = read_rule(place.node)
    if found is None:
        return _other(place, release)
    if found.linear:
        return _bilinear(place, release, found)
    return _nearest(place, release, found)


def _nearest(place: Place, release: Release, found: ResizeRule) -> Ruling:
    name = "TRT-RESIZE-NEAREST"
    if not found.repeats_pixels():
        return _foreign_nearest(release, found)
    if release.has("resize-coordinates"):
        text = f"IResizeLayer NEAREST, scales {_scales(found)}, ASYMMETRIC, FLOOR: the defaults"
        return supported(name, text, release, "resize")
    if release.has("resize"):
        text = (
            f"IResizeLayer NEAREST, scales {_scales(found)}; asymmetric, as wanted, where "
            "align_corners is not set (other coordinates came with TensorRT 8)"
        )
        return supported(name, text, release, "resize")
    return _replaced(name, place, release, "resize", found)


def _bilinear(place: Place, release: Release, found: ResizeRule) -> Ruling:
    name = "TRT-RESIZE-BILINEAR"
    if found.coordinates == "asymmetric":
        if release.has("resize"):
            text = f"IResizeLayer LINEAR, scales {_scales(found)}, ASYMMETRIC: the default"
            return supported(name, text, release, "resize")
        return _replaced(name, place, release, "resize", found)
    if release.has("resize-half-pixel"):
        text = f"IResizeLayer LINEAR, scales {_scales(found)}, HALF_PIXEL: not the default"
        return supported(name, text, release, "resize-half-pixel")
    return _replaced(f"{name}-HALF-PIXEL", place, release, "resize-half-pixel", found)


def _foreign_nearest(release: Release, found: ResizeRule) -> Ruling:
    """Answer for a nearest Resize that reads other pixels than UpSampling2D."""
    name, parts = "TRT-RESIZE-NEAREST-SHIFTED", f"NEAREST ({found})"
    if not release.has("resize-coordinates"):
        text = f"{release} cannot say {parts}: write a plugin"
        return Ruling(name, Support.PLUGIN, text, source_of("resize-coordinates", release))
    if found.coordinates == "tf_half_pixel_for_nn":
        if found.rounding != "floor":
            text = f"IResizeLayer has no {parts}: write a plugin"
            return Ruling(name, Support.PLUGIN, text, source_of("resize-coordinates", release))
        text = (
            "IResizeLayer NEAREST, HALF_PIXEL, HALF_UP reads the same pixels; the ONNX parser "
            "refuses tf_half_pixel_for_nn with floor"
        )
        return rewritten(name, text, release, "resize-coordinates", "half_pixel, rounded up")
    text = f"IResizeLayer {parts}; it does not repeat pixels as UpSampling2D does"
    return supported(name, text, release, "resize-coordinates")


def _replaced(name: str, place: Place, release: Release, feature: str, found: ResizeRule) -> Ruling:
    """Answer where the layer is missing: the exact forms, or a plugin."""
    have = "no layer that resizes" if feature == "resize" else "no half-pixel coordinates"
    lack = f"{release} has {have} (first in {first_with(feature)})"
    forms = exact_forms(place.plan, release)
    if not forms:
        text = f"{lack}, and no form is exact here: write a plugin ({_why_none(place.plan)})"
        return Ruling(name, Support.PLUGIN, text, source_of(feature, release))
    described = "; or ".join(_describe(option, found) for option in forms)
    return rewritten(
        name, f"{lack}. Exact instead: {described}", release, feature, *(o.form for o in forms)
    )


def exact_forms(plan: SitePlan | None, release: Release) -> list[FormOption]:
    """Return the forms proven for a layer that the release can build, the simplest first."""
    options = {option.form: option for option in plan.options} if plan is not None else {}
    return [
        options[form]
        for form, needs in FORMS.items()
        if form in options and options[form].exact and all(map(release.has, needs))
    ]


def _describe(option: FormOption, found: ResizeRule) -> str:
    words = _WORDS[option.form].format(factors=_factors(found))
    if found.linear:
        words = (
            "the border repeated by slices and concatenations, a depthwise convolution for each "
            "phase, and a pixel shuffle (IShuffleLayer)"
        )
    proof = option.certificate
    shown = f"{proof.claim}, {proof.method}, error {proof.error:.1e}" if proof else "exact"
    return f"{option.form}: {words} [{shown}]"


def _why_none(plan: SitePlan | None) -> str:
    if plan is None:
        return "it does not scale by whole factors"
    reasons = [f"{o.form}: {o.reason}" for o in plan.options if o.form in FORMS and not o.exact]
    return "; ".join(reasons) or "what the exact forms need is missing too"


def _other(place: Place, release: Release) -> Ruling:
    """Answer for a Resize by other than whole factors, or to given sizes."""
    name = "TRT-RESIZE-OTHER"
    mode = text_of(place.node, "mode", "nearest")
    coordinates = text_of(place.node, "coordinate_transformation_mode", "half_pixel")
    feature = "resize-cubic" if mode == "cubic" else "resize-coordinates"
    what = f"{mode} resize with {coordinates} coordinates"
    antialias = place.node.attributes.get("antialias")
    if antialias is not None and antialias.as_int():
        text = f"IResizeLayer has no antialiasing ({what}): write a plugin"
        return Ruling(name, Support.PLUGIN, text, source_of(feature, release))
    if release.has(feature) and coordinates in _COORDINATES:
        return supported(name, f"IResizeLayer, {what}", release, feature)
    text = f"{release} has no {what}: write a plugin"
    return Ruling(name, Support.PLUGIN, text, source_of(feature, release))


def _scales(found: ResizeRule) -> str:
    return str([1, 1, *found.factors])


def _factors(found: ResizeRule) -> str:
    return "x".join(map(str, found.factors))
