"""The contract of a pass.

A pass rewrites an `ir.Model` in place and returns a `Verdict` for every place it looked at. The
pipeline owns a private clone, so a pass may change freely; it must leave a graph that says
exactly the same, prove that (a `Certificate` per applied rewrite), and keep the metadata of
`segrt.graph.metadata` true: a value that replaces another takes over its tags and its name, a
folded-away value gets a recovery, a dissolved one an entry in ``fused``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import onnx_ir as ir

from segrt._registry import Registry
from segrt.types import Verdict


@dataclass(frozen=True, slots=True)
class PassContext:
    """What a pass may know about where the graph goes.

    Attributes:
        upsampling_forms: Names of upsampling forms, the target's favourite first.
        forced_form: A form to use wherever it is exact, None to choose by preference.
        extra_passes: Names of those passes that run only where they are asked for.
    """

    upsampling_forms: tuple[str, ...] = ("resize",)
    forced_form: str | None = None
    extra_passes: tuple[str, ...] = ()


class Pass(Protocol):
    """A rewrite: see the module's docstring."""

    name: str

    def __call__(self, model: ir.Model, context: PassContext, /) -> Sequence[Verdict]:
        """Rewrite ``model`` in place; return a verdict for every place looked at."""
        ...


REGISTRY: Registry[Pass] = Registry("pass", "segrt.passes")
