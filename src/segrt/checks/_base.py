"""What a check says, and the contract of a rule.

A rule answers for one ONNX node of an imported graph: does a release of TensorRT have a layer
that computes exactly this? It is a function registered under the operators it answers for:

    @rule("Concat")
    def concatenation(place: Place, release: Release) -> Ruling: ...

What releases have is never written in a rule but looked up by `Release.has`, in the tables
`_features`, so that each statement about a version stands in one place, with its source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import onnx_ir as ir

from segrt._registry import Registry
from segrt.checks._release import Release
from segrt.passes.upsampling._base import SitePlan


class Support(StrEnum):
    """How well a target runs something; the later, the worse."""

    SUPPORTED = "supported"
    REWRITTEN = "rewritten"
    PLUGIN = "plugin"
    BLOCKED = "blocked"

    @property
    def rank(self) -> int:
        """Position in the order from best to worst."""
        return list(Support).index(self)


def worst(supports: Iterable[Support]) -> Support:
    """Return the worst, `Support.SUPPORTED` for none."""
    return max(supports, key=lambda support: support.rank, default=Support.SUPPORTED)


@dataclass(frozen=True, slots=True)
class Ruling:
    """One rule's answer.

    Attributes:
        rule: Stable id, such as ``TRT-RESIZE-NEAREST``.
        support: supported, rewritten (an exact replacement is named), plugin or blocked.
        text: Which layer computes it, or what is missing and what replaces it.
        source: Where the statement about the target is taken from.
        forms: Names of the exact replacements, the best first; empty where none is needed.
    """

    rule: str
    support: Support
    text: str
    source: str
    forms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LayerCheck:
    """What was found for one Keras value.

    Attributes:
        layer: The Keras value's name.
        class_name: Keras class, "" for values without one.
        support: The worst of its rulings.
        rulings: Each rule once, the worst first.
    """

    layer: str
    class_name: str
    support: Support
    rulings: tuple[Ruling, ...]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was found for a model.

    Attributes:
        model: The Keras model's name.
        target: The target as it was resolved, such as ``TensorRT 10.3 (JetPack 6.2)``.
        support: The worst of all rulings.
        layers: In the order of computation.
        network: Rulings about the network as a whole: sizes, the GPU, the engine's own word.
        remarks: What else is worth knowing; without influence on the verdict.
    """

    model: str
    target: str
    support: Support
    layers: tuple[LayerCheck, ...]
    network: tuple[Ruling, ...]
    remarks: tuple[str, ...]

    def fails(self, level: Support) -> bool:
        """Say whether anything is as bad as ``level`` or worse."""
        return self.support.rank >= level.rank

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Place:
    """One node that a rule answers for.

    Attributes:
        node: Of the imported graph.
        layer: The Keras value that it belongs to.
        class_name: That value's Keras class.
        plan: For an upsampling that the release cannot run as it is: which forms are exact.
    """

    node: ir.Node
    layer: str
    class_name: str
    plan: SitePlan | None = None


Rule: TypeAlias = Callable[[Place, Release], Ruling]

REGISTRY: Registry[Rule] = Registry("rule", "segrt.checks.rules")
rule = REGISTRY.register
