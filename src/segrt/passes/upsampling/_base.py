"""What a form of upsampling is: one way to compute what an upsampling layer computes.

A form looks at a site and either proposes a candidate or refuses with a reason. A candidate
builds its nodes beside the old ones; the planner proves the two equal on that very site before
it takes the old ones away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import onnx_ir as ir

from segrt._registry import Registry
from segrt.passes._resize_rule import ResizeRule
from segrt.passes._rewrite import Rewriter
from segrt.types import Certificate

Kind: TypeAlias = Literal["nearest", "bilinear", "transposed convolution", "foreign"]


@dataclass(frozen=True, slots=True)
class Site:
    """One place where a network upsamples.

    Attributes:
        node: The Resize or ConvTranspose.
        layer: The Keras value it makes.
        kind: What it computes; ``foreign`` is a Resize that is no Keras UpSampling.
        factors: One a spatial axis.
        rule: Of a Resize, else None.
    """

    node: ir.Node
    layer: str
    kind: Kind
    factors: tuple[int, ...]
    rule: ResizeRule | None

    @property
    def source(self) -> ir.Value:
        """The small image, N C spatial..."""
        value = self.node.inputs[0]
        if value is None:
            raise ValueError(f"{self.node.name!r} has no input")
        return value

    @property
    def output(self) -> ir.Value:
        """The large image: each spatial axis times its factor."""
        return self.node.outputs[0]

    @property
    def probe(self) -> tuple[int, ...]:
        """Spatial sizes of a small image that tells axes and shifts apart."""
        return (PROBE_DEPTH, PROBE_HEIGHT, PROBE_WIDTH)[-len(self.factors) :]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a form does not fit a site, in one sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """How a form would compute a site.

    Attributes:
        replaces: The value it computes: the site's output, or one behind it.
        build: Inserts the nodes and returns the new value; None keeps the graph as it is.
        claim: What the certificate will say.
        reason: Why it fits, in one sentence.
        probe: Shape of the small image on which it is proven.
        dissolves: Values that no longer exist afterwards -> why.
    """

    replaces: ir.Value
    build: Callable[[Rewriter], ir.Value] | None
    claim: Literal["bit-equal", "up to rounding"]
    reason: str
    probe: tuple[int, ...]
    dissolves: Mapping[ir.Value, str] = field(default_factory=dict)


class Form(Protocol):
    """One way to upsample; stateless."""

    name: str

    def propose(self, site: Site, /) -> Candidate | Refusal:
        """Say how it would compute ``site``, or why it would not."""
        ...


@dataclass(frozen=True, slots=True)
class FormOption:
    """What one form said about one site.

    Attributes:
        form: Name of the form.
        exact: Whether it was proven there.
        reason: Why it fits or not.
        certificate: Present if ``exact``.
    """

    form: str
    exact: bool
    reason: str
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True)
class SitePlan:
    """What was found out about one upsampling layer.

    Attributes:
        layer: The Keras value.
        kind: ``nearest``, ``bilinear``, ``transposed convolution`` or ``foreign``.
        factors: One a spatial axis.
        options: Every form, in the order of preference.
        chosen: The form that `lower` would take; "" leaves the layer as it was.
        why: In one sentence.
    """

    layer: str
    kind: Kind
    factors: tuple[int, ...]
    options: tuple[FormOption, ...]
    chosen: str
    why: str


REGISTRY: Registry[Form] = Registry("upsampling form", "segrt.passes.upsampling")

# Small, odd, and unequal: neither a swap of axes nor a shift by one can hide.
PROBE_DEPTH, PROBE_HEIGHT, PROBE_WIDTH = 3, 5, 4
