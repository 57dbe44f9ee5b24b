"""Check a model against an engine that is here: by asking the engine itself."""

from __future__ import annotations

import onnx_ir as ir

from segrt.checks._base import CheckReport, LayerCheck, Ruling, Support, worst
from segrt.checks._by_layer import BY_LAYER, check_by_layer
from segrt.errors import SegrtError
from segrt.graph import metadata
from segrt.targets._base import REGISTRY, Target
from segrt.types import BuildOptions

# Names that stand for several targets.
_GROUPS = {"cpu": ("onnxruntime", "openvino")}


def engine_names() -> list[str]:
    """Return the targets that may be asked for by name."""
    return sorted(REGISTRY.names())


def check_engine(model: ir.Model, name: str) -> CheckReport:
    """Open the imported graph, as it is, in each engine that ``name`` stands for.

    The best answer counts: target ``cpu`` takes whichever engine can. An engine that says which
    nodes it takes without being opened is asked that instead.
    """
    found = REGISTRY.find(name)
    if found is not None and name in BY_LAYER:
        return check_by_layer(model, found)
    return _report(model, name, [_ask(model, name) for name in _GROUPS.get(name, (name,))])


def _ask(model: ir.Model, name: str) -> Ruling:
    target = REGISTRY.find(name)
    assert target is not None
    available = target.availability()
    rule = f"ENGINE-{name.upper()}"
    if not available.can_run:
        text = f"{name} cannot run here: {available.detail}"
        return Ruling(rule, Support.BLOCKED, text, available.hint or "asked on this machine")
    try:
        _open(target, model)
    except SegrtError as error:
        reason = f"{error.message}: {error.found}" if error.found else error.message
        text = f"{name} refuses the graph: {reason}"
        return Ruling(rule, Support.BLOCKED, text, f"{available.detail}, asked on this machine")
    text = f"{name} opens the graph as it was imported"
    return Ruling(rule, Support.SUPPORTED, text, f"{available.detail}, asked on this machine")


def _open(target: Target, model: ir.Model) -> None:
    target.open_model(model, BuildOptions(threads=1)).close()


def _report(model: ir.Model, name: str, rulings: list[Ruling]) -> CheckReport:
    best = min(rulings, key=lambda ruling: ruling.support.rank)
    layers = []
    if best.support is Support.SUPPORTED:
        classes = {metadata.layer_of(node): metadata.class_of(node) for node in model.graph}
        layers = [
            LayerCheck(layer, class_name, best.support, (best,))
            for layer, class_name in classes.items()
        ]
    source = metadata.source(model)
    others = [ruling for ruling in rulings if ruling is not best]
    return CheckReport(
        model=source.model_name if source is not None else str(model.graph.name),
        target=name,
        support=worst([best.support]),
        layers=tuple(layers),
        network=(best,),
        remarks=tuple(f"{ruling.rule}: {ruling.text}" for ruling in others),
    )
