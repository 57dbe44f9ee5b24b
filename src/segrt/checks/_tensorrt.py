"""Check a model against a release of TensorRT: every node by its rule, told by Keras layer."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from segrt.checks._architectures import RTX_SOURCE, Architecture
from segrt.checks._base import (
    REGISTRY,
    CheckReport,
    LayerCheck,
    Place,
    Ruling,
    Support,
    worst,
)
from segrt.checks._confirm import confirm
from segrt.checks._release import Release, first_with, source_of
from segrt.graph import metadata
from segrt.graph.builder import OPSET, static_shape
from segrt.graph.custom_nodes import DOMAIN, is_custom
from segrt.passes._base import PassContext
from segrt.passes._pipeline import plan
from segrt.passes.upsampling._base import SitePlan

UNKNOWN = "TRT-UNKNOWN"


def check_tensorrt(
    model: ir.Model, release: Release, gpu: Architecture | None = None
) -> CheckReport:
    """Say of every Keras layer whether a release runs it.

    Args:
        model: As imported; not changed.
        release: What is asked about.
        gpu: Ask about this architecture too.
    """
    plans = _plans(model) if _needs_plans(model, release) else {}
    layers = tuple(_layers(model, release, plans))
    confirmed, remark = confirm(model, release)
    network = (*_network(model, release, gpu), *confirmed)
    source = metadata.source(model)
    return CheckReport(
        model=source.model_name if source is not None else str(model.graph.name),
        target=str(release),
        support=worst([*(one.support for one in layers), *(one.support for one in network)]),
        layers=layers,
        network=network,
        remarks=(*_remarks(release), remark),
    )


def judge(place: Place, release: Release) -> Ruling:
    """Return the ruling for one node; an operator without a rule is blocked."""
    found = REGISTRY.find(_filed_under(place.node))
    if found is None:
        text = f"no rule knows the operator {place.node.op_type}: nothing can be said for it"
        return Ruling(UNKNOWN, Support.BLOCKED, text, "the rules of this program")
    ruling = found(place, release)
    if ruling.support is Support.PLUGIN and not release.has("plugins"):
        text = f"{ruling.text}; but {release} takes no plugins"
        return replace(ruling, support=Support.BLOCKED, text=text)
    return ruling


def _filed_under(node: ir.Node) -> str:
    if node.domain == "":
        return node.op_type
    return DOMAIN if is_custom(node) else f"{node.domain}::{node.op_type}"


def _needs_plans(model: ir.Model, release: Release) -> bool:
    """Say whether any Resize cannot stay: proving the forms takes a second or more."""
    resizes = [node for node in model.graph if node.op_type == "Resize"]
    rulings = (judge(Place(node, "", ""), release) for node in resizes)
    return any(ruling.support is not Support.SUPPORTED for ruling in rulings)


def _plans(model: ir.Model) -> dict[str, SitePlan]:
    return {site.layer: site for site in plan(model, PassContext())}


def _layers(model: ir.Model, release: Release, plans: dict[str, SitePlan]) -> list[LayerCheck]:
    classes: dict[str, str] = {}
    rulings: dict[str, dict[str, Ruling]] = {}
    for node in model.graph:
        layer = metadata.layer_of(node) or str(node.name)
        class_name = metadata.class_of(node)
        classes[layer] = classes.get(layer) or class_name
        ruling = judge(Place(node, layer, class_name, plans.get(layer)), release)
        known = rulings.setdefault(layer, {})
        if ruling.rule not in known or known[ruling.rule].support.rank < ruling.support.rank:
            known[ruling.rule] = ruling
    checks = []
    for layer, known in rulings.items():
        ordered = sorted(known.values(), key=lambda ruling: -ruling.support.rank)
        checks.append(LayerCheck(layer, classes[layer], ordered[0].support, tuple(ordered)))
    return checks


def _network(model: ir.Model, release: Release, gpu: Architecture | None) -> list[Ruling]:
    """Return what holds for the network as a whole."""
    found = []
    free = [str(value.name) for value in model.graph.inputs if None in static_shape(value)[1:]]
    if free and release.has("dynamic-shapes"):
        text = f"the sizes of {', '.join(free)} are free: an optimization profile gives their range"
        found.append(_ruling("TRT-FREE-SIZES", Support.SUPPORTED, text, release, "dynamic-shapes"))
    elif free:
        text = (
            f"the sizes of {', '.join(free)} are free, and {release} wants them fixed "
            f"(profiles came with {first_with('dynamic-shapes')}): one engine a size"
        )
        found.append(_ruling("TRT-FREE-SIZES", Support.REWRITTEN, text, release, "dynamic-shapes"))
    if gpu is not None:
        runs = release.runs_on(gpu)
        text = f"{release} {'runs' if runs else 'does not run'} on {gpu.name}"
        support = Support.SUPPORTED if runs else Support.BLOCKED
        source = RTX_SOURCE if release.flavour == "rtx" else gpu.source
        found.append(Ruling("TRT-GPU", support, text, source))
    return found


def _ruling(rule: str, support: Support, text: str, release: Release, feature: str) -> Ruling:
    return Ruling(rule, support, text, source_of(feature, release))


def _remarks(release: Release) -> list[str]:
    """Return what a person on this release should know besides."""
    remarks = [
        "by the tables and rules of this program, for the layers of TensorRT's network definition"
    ]
    opset = release.parser_opset()
    if opset is not None and opset < OPSET:
        remarks.append(
            f"the ONNX parser of {release} reads up to opset {opset}; segrt convert writes opset "
            f"{OPSET}: write the network through TensorRT's API, with weights from "
            "segrt convert MODEL -o weights.safetensors"
        )
    if release.has("uff"):
        remarks.append(
            "the UFF converter takes neither ResizeNearestNeighbor nor ResizeBilinear, which "
            "UpSampling2D becomes in TensorFlow (NVIDIA/TensorRT issues 1631, 185 and 138)"
        )
    if not release.has("weak-typing"):
        remarks.append("strongly typed only: precision is chosen by the types in the network")
    return remarks
