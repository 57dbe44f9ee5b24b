"""Choose a form for every upsampling layer: the first of the target's favourites that is proven."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from segrt.errors import PassError, UsageError
from segrt.graph import metadata
from segrt.passes._base import PassContext
from segrt.passes._proof import noise, prove, ramp
from segrt.passes._rewrite import Rewriter, refusal, replace
from segrt.passes.upsampling._base import (
    REGISTRY,
    Candidate,
    Form,
    FormOption,
    Refusal,
    Site,
    SitePlan,
)
from segrt.passes.upsampling._kept import prove_kept
from segrt.passes.upsampling._sites import find_sites
from segrt.types import Certificate, Verdict


def rewrite(model: ir.Model, context: PassContext) -> Sequence[Verdict]:
    """Rewrite every site of ``model``, in place, to the first form that is proven there.

    Raises:
        UsageError: The context names a form that does not exist.
    """
    rewriter = Rewriter(model.graph)
    verdicts: list[Verdict] = []
    preference = _preference(context)
    for site in list(find_sites(model.graph)):
        for form in preference:
            subject = f"upsampling/{form.name}"
            candidate = form.propose(site)
            if isinstance(candidate, Refusal):
                verdicts.append(Verdict(subject, site.layer, False, candidate.reason))
                continue
            try:
                certificate = _apply(model, rewriter, site, candidate)
            except PassError as error:
                verdicts.append(Verdict(subject, site.layer, False, refusal(error)))
                continue
            changed = candidate.build is not None
            reason = candidate.reason if changed else f"stays: {candidate.reason}"
            verdicts.append(Verdict(subject, site.layer, changed, reason, certificate))
            break
    return verdicts


def plan(model: ir.Model, context: PassContext) -> list[SitePlan]:
    """Say for every site which forms are exact, which `rewrite` would take, and why.

    Args:
        model: Left as it was: whatever is built to be proven is taken back.
        context: The target's favourites come first; the other forms follow by name.

    Raises:
        UsageError: The context names a form that does not exist.
    """
    rewriter = Rewriter(model.graph)
    favourites = _preference(context)
    others = [form for _, form in REGISTRY if form not in favourites]
    plans = []
    for site in list(find_sites(model.graph)):
        options = tuple(_examine(rewriter, site, form) for form in [*favourites, *others])
        names = [form.name for form in favourites]
        chosen = next((o for o in options if o.exact and o.form in names), None)
        plans.append(
            SitePlan(
                site.layer,
                site.kind,
                site.factors,
                options,
                chosen.form if chosen else "",
                _why(chosen, options, context),
            )
        )
    return plans


def _preference(context: PassContext) -> list[Form]:
    names = [] if context.forced_form is None else [context.forced_form]
    names += [name for name in context.upsampling_forms if name not in names]
    forms = []
    for name in names:
        form = REGISTRY.find(name)
        if form is None:
            raise UsageError(
                "there is no such form of upsampling",
                found=name,
                wanted=", ".join(REGISTRY.names()),
            )
        forms.append(form)
    return forms


def _why(chosen: FormOption | None, options: tuple[FormOption, ...], context: PassContext) -> str:
    if chosen is None:
        return "no form of the target is exact here; the layer stays as it is"
    if chosen.form == context.forced_form:
        return f"asked for, and exact: {chosen.reason}"
    passed_over = [option.form for option in options[: options.index(chosen)]]
    place = f"{', '.join(passed_over)} refused" if passed_over else "the target's favourite"
    return f"{place}: {chosen.reason}"


def _examine(rewriter: Rewriter, site: Site, form: Form) -> FormOption:
    """Build and prove a form, then take it back."""
    candidate = form.propose(site)
    if isinstance(candidate, Refusal):
        return FormOption(form.name, False, candidate.reason)
    try:
        _, certificate = _prove(rewriter, site, candidate)
    except PassError as error:
        return FormOption(form.name, False, refusal(error))
    finally:
        rewriter.rollback()
    return FormOption(form.name, True, candidate.reason, certificate)


def _prove(
    rewriter: Rewriter, site: Site, candidate: Candidate
) -> tuple[ir.Value, Certificate | None]:
    consumer = candidate.replaces.producer()
    rewriter.at(site.node if consumer is None else consumer)
    old = candidate.replaces
    if candidate.build is None:
        return old, prove_kept(site)
    new = candidate.build(rewriter)
    rewriter.tag(metadata.layer_of(site.node), metadata.class_of(site.node))
    exact = candidate.claim == "bit-equal"
    probe = ramp(candidate.probe) if exact else noise(candidate.probe)
    factors = "x".join(str(factor) for factor in site.factors)
    what = f"{'integer ramp' if exact else 'float64 probe'}, factor {factors}"
    certificate = prove(old, new, {site.source: probe}, claim=candidate.claim, what=what)
    return new, certificate


def _apply(
    model: ir.Model, rewriter: Rewriter, site: Site, candidate: Candidate
) -> Certificate | None:
    with rewriter.attempt():
        new, certificate = _prove(rewriter, site, candidate)
    if candidate.build is None:
        return certificate
    for value, reason in candidate.dissolves.items():
        metadata.dissolve(model, value, reason)
    replace(candidate.replaces, new)
    return certificate
