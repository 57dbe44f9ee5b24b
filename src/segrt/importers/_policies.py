"""Dtype policies: what a layer computed in when it was saved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from segrt.errors import UnsupportedConfigError
from segrt.graph import metadata
from segrt.importers._layer_graph import KerasLayer, LayerGraph, walk_layers

_SHOWN = 12


def refuse_quantized(graph: LayerGraph, file: str) -> None:
    """Refuse layers that Keras quantized: they scale and round each input anew.

    Raises:
        UnsupportedConfigError: There are any; all are named.
    """
    found = [(path, mode) for path, layer in walk_layers(graph) if (mode := _quantization(layer))]
    if not found:
        return
    names = [path for path, _ in found]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    raise UnsupportedConfigError(
        f"{file}: {len(found)} layer(s) are quantized: {', '.join(names[:_SHOWN])}{more}",
        found=", ".join(sorted({mode for _, mode in found})),
        wanted="weights and layers in floating point",
        hint="save the model before model.quantize(...) and quantize when building, with the "
        "precision that the target offers",
    )


def remark_policies(model: ir.Model, graph: LayerGraph) -> None:
    """Tell which compute types other than float32 the layers had: all are imported as float32."""
    policies: Counter[str] = Counter()
    for _, layer in walk_layers(graph):
        policy = layer.config.get("dtype")
        if isinstance(policy, dict):
            inner = policy.get("config")
            policy = inner.get("name") if isinstance(inner, dict) else None
        if layer.class_name != "InputLayer" and isinstance(policy, str) and policy != "float32":
            policies[policy] += 1
    for policy, count in sorted(policies.items()):
        metadata.add_remark(
            model, f"{count} layer(s) computed in {policy} when saved; imported as float32"
        )


def _quantization(layer: KerasLayer) -> str:
    """Return how a layer is quantized, ``int8`` or ``int8_from_float32``; "" where it is not."""
    return next((name for name in _names(layer.config.get("dtype"), 0) if name), "")


def _names(policy: Any, depth: int) -> Sequence[str]:
    if isinstance(policy, str):  # Keras names these policies <mode>_from_<source>
        return [policy] if "_from_" in policy else []
    if not isinstance(policy, dict) or depth > 4:
        return []
    inner = policy.get("config")
    settings = inner if isinstance(inner, dict) else {}
    if str(policy.get("class_name", "")).startswith("Quantized"):
        return [str(settings.get("mode") or settings.get("name") or "quantized")]
    # A map gives the parts of a layer policies of their own.
    parts = settings.get("policy_map")
    listed = list(parts.values()) if isinstance(parts, dict) else []
    listed += [settings.get("default_policy"), settings.get("name")]
    return [name for part in listed for name in _names(part, depth + 1)]
