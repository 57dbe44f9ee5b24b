"""Remove Transposes that undo one another, also across operators that work in any layout.

A region of such operators (activations, sums, concatenations ...) that is entered through
Transposes and left through their inverses is recomputed in the other layout if that leaves fewer
Transposes. Inputs and outputs of the graph keep their layout.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from segrt.errors import PassError
from segrt.graph import metadata
from segrt.passes._base import REGISTRY, PassContext
from segrt.passes._proof import prove, ramp
from segrt.passes._rewrite import (
    Rewriter,
    nodes_of,
    prune,
    refusal,
    replace,
    subject_of,
)
from segrt.passes._transpose_absorb import absorb_all
from segrt.passes._transpose_flip import flip
from segrt.passes._transpose_region import Region, find_region, permutation
from segrt.types import Certificate, Verdict


class CancelTransposes:
    """See the module's docstring."""

    name = "cancel_transposes"

    def __call__(self, model: ir.Model, _context: PassContext, /) -> Sequence[Verdict]:
        """Merge neighbours, then flip regions, until neither finds more."""
        rewriter = Rewriter(model.graph)
        verdicts: list[Verdict] = []
        refused: set[ir.Node] = set()
        while True:
            verdicts += self._merge_all(rewriter)
            verdicts += absorb_all(rewriter, self.name)
            verdict = self._flip_one(rewriter, refused)
            if verdict is None:
                return verdicts
            verdicts.append(verdict)

    def _merge_all(self, rewriter: Rewriter) -> list[Verdict]:
        verdicts = []
        for node in nodes_of(rewriter.graph, "Transpose"):
            source = node.inputs[0]
            before = None if source is None else source.producer()
            if before is None or before.op_type != "Transpose" or before.inputs[0] is None:
                continue
            subject = subject_of(node.outputs[0])
            try:
                with rewriter.attempt():
                    certificate = _merge(rewriter, before, node)
            except PassError as error:
                reason = refusal(error)
                verdicts.append(Verdict(self.name, subject, False, reason))
                continue
            reason = f"follows the Transpose {before.name!r}; one or none does the same"
            verdicts.append(Verdict(self.name, subject, True, reason, certificate))
        return verdicts

    def _flip_one(self, rewriter: Rewriter, refused: set[ir.Node]) -> Verdict | None:
        """Flip the first region that pays; a region that refuses is not asked again."""
        for node in nodes_of(rewriter.graph, "Transpose"):
            region = None if node in refused else find_region(node)
            if region is None or region.gain() <= 0:
                continue
            subject = subject_of(next(iter(region.nodes)).outputs[0])
            count = f"{len(region.nodes)} layout-free nodes"
            try:
                certificate = flip(rewriter, region)
            except PassError as error:
                refused.update(_entries(region))
                reason = f"{count} stay: {error.message} {error.found or ''}".rstrip()
                return Verdict(self.name, subject, False, reason)
            reason = f"{count} computed in the other layout, {region.gain()} Transposes fewer"
            return Verdict(self.name, subject, True, reason, certificate)
        return None


def _entries(region: Region) -> list[ir.Node]:
    producers = (value.producer() for value in region.entries)
    return [node for node in producers if node is not None]


def _merge(rewriter: Rewriter, before: ir.Node, node: ir.Node) -> Certificate:
    source, old = before.inputs[0], node.outputs[0]
    if source is None:
        raise PassError("a Transpose has no input")
    first, second = permutation(before), permutation(node)
    whole = tuple(first[axis] for axis in second)
    probe = ramp(tuple(2 + axis for axis in range(len(whole))))
    identity = whole == tuple(range(len(whole)))
    if identity and not _may_vanish(source, old):
        raise PassError("it makes a graph output of something that has another name outside")
    if identity:
        certificate = prove(old, source, {source: probe}, claim="bit-equal", what="integer ramp")
        _vanish(source, old)
        return certificate
    new = rewriter.at(node).op("Transpose", [source], name=f"{node.name}:merged", perm=whole)
    certificate = prove(old, new, {source: probe}, claim="bit-equal", what="integer ramp")
    maker = new.producer()
    if maker is not None:
        maker.metadata_props.update(node.metadata_props)
    replace(old, new)
    return certificate


def _may_vanish(source: ir.Value, old: ir.Value) -> bool:
    if not old.is_graph_output():
        return True
    return not (source.is_graph_input() or source.is_graph_output() or source.is_initializer())


def _vanish(source: ir.Value, old: ir.Value) -> None:
    """Let ``source`` stand for ``old``, which holds the same array."""
    node, name, is_output = old.producer(), old.name, old.is_graph_output()
    metadata.same_tags(old, source)
    old.replace_all_uses_with(source, replace_graph_outputs=True)
    old.name = None
    if node is not None:
        prune(node)
    if is_output:
        source.name = name


REGISTRY.register(CancelTransposes.name)(CancelTransposes())
