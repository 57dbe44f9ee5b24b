"""Let a Reshape do what the Transpose behind it does, where that only moves axes of size 1.

``(N, C) -> (N, 1, 1, C) -> (N, C, 1, 1)``, as in a channel attention that was written for NHWC, is
one Reshape.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from segrt.errors import PassError
from segrt.graph.builder import static_shape
from segrt.passes._proof import PROBE_SIZES, prove, ramp
from segrt.passes._rewrite import Rewriter, constant_array, nodes_of, replace, subject_of
from segrt.passes._transpose_region import permutation
from segrt.types import Certificate, Verdict


def absorb_all(rewriter: Rewriter, pass_name: str) -> list[Verdict]:
    """Absorb every Transpose that only moves axes of size 1; see the module."""
    verdicts = []
    for node in nodes_of(rewriter.graph, "Transpose"):
        target = _target(node)
        if target is None:
            continue
        subject = subject_of(node.outputs[0])
        try:
            with rewriter.attempt():
                new, certificate = _build(rewriter, node, target)
        except PassError:
            continue  # it stays a Transpose, which is no worse than before
        replace(node.outputs[0], new)
        reason = "only axes of size 1 move: the Reshape before does it"
        verdicts.append(Verdict(pass_name, subject, True, reason, certificate))
    return verdicts


def _target(node: ir.Node) -> list[int] | None:
    """Return the one Reshape's target, None if the Transpose is needed."""
    source = node.inputs[0]
    before = None if source is None else source.producer()
    if source is None or before is None or before.op_type != "Reshape" or source.shape is None:
        return None
    if constant_array(before.inputs[1]) is None or "allowzero" in before.attributes:
        return None
    sizes: Sequence[int | None] = static_shape(source)
    perm = permutation(node)
    moved = [axis for axis in perm if sizes[axis] != 1]
    if moved != sorted(moved) or sum(size is None for size in sizes) > 1:
        return None
    return [-1 if (size := sizes[axis]) is None else size for axis in perm]


def _build(rewriter: Rewriter, node: ir.Node, target: list[int]) -> tuple[ir.Value, Certificate]:
    before = None if node.inputs[0] is None else node.inputs[0].producer()
    source = None if before is None else before.inputs[0]
    if before is None or source is None or source.shape is None:
        raise PassError("the Reshape has no input of known rank")
    rewriter.at(node)
    shape = rewriter.ints(f"{node.name}:shape", target)
    new = rewriter.op("Reshape", [source, shape], name=f"{node.name}:reshape")
    maker = new.producer()
    if maker is not None:
        maker.metadata_props.update(node.metadata_props)
    sizes = [
        size if size is not None else PROBE_SIZES[axis % len(PROBE_SIZES)]
        for axis, size in enumerate(static_shape(source))
    ]
    old = node.outputs[0]
    probe = ramp(tuple(sizes))
    return new, prove(old, new, {source: probe}, claim="bit-equal", what="integer ramp")
