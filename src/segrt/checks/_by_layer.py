"""Check a model against the CUDA engine, layer by layer: its partition and plan need no GPU."""

from __future__ import annotations

import onnx_ir as ir

from segrt.checks._base import CheckReport, LayerCheck, Ruling, Support, worst
from segrt.cuda.quantisation import is_quantised
from segrt.errors import SegrtError
from segrt.graph import metadata
from segrt.passes._base import PassContext
from segrt.passes._pipeline import lower
from segrt.targets._base import Target
from segrt.types import BuildOptions, Precision

BY_LAYER = ("cuda",)
_SOURCE = "the engine's own partition and plan"


def check_by_layer(model: ir.Model, target: Target) -> CheckReport:
    """Ask a target which nodes it takes of the graph as it would be lowered for it.

    Whether the target can run on this machine is a remark: it says nothing about the model.
    """
    rule = f"ENGINE-{target.name.upper()}"
    refused: dict[str, list[str]] = {}
    network: tuple[Ruling, ...] = ()
    try:
        refused = _refused(model, target)
    except SegrtError as error:
        reason = f"{error.message}: {error.found}" if error.found else error.message
        text = f"{target.name} refuses the graph: {reason}"
        network = (Ruling(rule, Support.BLOCKED, text, _SOURCE),)
    layers = []
    # What a rewrite added may stand under a name that the imported graph lacks.
    names = _layers(model)
    for layer in [*names, *(name for name in refused if name not in names)]:
        ruling = Ruling(rule, Support.SUPPORTED, f"{target.name} computes it", _SOURCE)
        if layer in refused:
            ruling = Ruling(rule, Support.BLOCKED, "; ".join(refused[layer]), _SOURCE)
        layers.append(LayerCheck(layer, names.get(layer, ""), ruling.support, (ruling,)))
    source = metadata.source(model)
    available = target.availability()
    remark = f"{target.name} can run here: {available.detail}"
    if not available.can_run:
        hint = f" [{available.hint}]" if available.hint else ""
        remark = f"{target.name} cannot run here: {available.detail}{hint}"
    return CheckReport(
        model=source.model_name if source is not None else str(model.graph.name),
        target=target.name,
        support=worst([*(check.support for check in layers), *(r.support for r in network)]),
        layers=tuple(layers),
        network=network,
        remarks=(remark,),
    )


def _layers(model: ir.Model) -> dict[str, str]:
    """Return the Keras layers' names and classes, in the order of computation."""
    found: dict[str, str] = {}
    for node in model.graph:
        name = metadata.layer_of(node) or node.name or node.op_type
        found.setdefault(name, metadata.class_of(node) or "")
    return found


def _refused(model: ir.Model, target: Target) -> dict[str, list[str]]:
    """Return why nodes are refused, by layer, in the lowering of which least is."""
    tables = []
    precision = Precision.INT8 if is_quantised(model) else Precision.FP32
    options = BuildOptions(precision=precision)
    for wanted in target.lowerings(model, options):
        context = PassContext(wanted.upsampling_forms, extra_passes=wanted.extra_passes)
        lowered, _ = lower(model, context)
        reasons: dict[str, list[str]] = {}
        for node, reason in target.takes(lowered, options).items():
            if reason is not None:
                name = metadata.layer_of(node) or node.name or node.op_type
                reasons.setdefault(name, []).append(f"{node.op_type}: {reason}")
        tables.append(reasons)
    return min(tables, key=len)
