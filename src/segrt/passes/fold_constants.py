"""Compute what does not depend on any input: nodes that only read constants, and known shapes.

A size that a Keras layer computes (``tf.shape``, ``keras.ops.shape``) is folded where it is used;
the layer's own node goes with the dead code, or stays where something else needs it.

Sizes are bounded by the declared shapes before anything is computed, so that a model file cannot
ask for a gigabyte with an Expand of ten bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from segrt.errors import PassError
from segrt.graph import metadata
from segrt.graph.builder import static_shape
from segrt.passes._base import REGISTRY, PassContext
from segrt.passes._evaluate import run_node
from segrt.passes._operators import Array
from segrt.passes._proof import ROUNDING_BOUND, relative_l2
from segrt.passes._rewrite import Rewriter, prune, subject_of
from segrt.types import Certificate, Verdict

# A result may hold as many elements as what it was made from (a transposed weight), or this many.
_SMALL = 4096

# Engines look for dequantised weights: as floats their integers would be lost.
_KEPT = ("DequantizeLinear",)
_RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli")
# What one works out from shapes alone.
_SHAPES = ("Shape", "Size")


class FoldConstants:
    """See the module's docstring."""

    name = "fold_constants"

    def __call__(self, model: ir.Model, _context: PassContext, /) -> Sequence[Verdict]:
        """Fold until nothing more folds; the nodes are in topological order, so once is enough."""
        rewriter = Rewriter(model.graph)
        verdicts = []
        for node in list(model.graph):
            inputs = _constant_inputs(node)
            if inputs is None or not _is_foldable(node, inputs):
                continue
            subject = subject_of(node.outputs[0])
            try:
                arrays, certificate = _compute(node, inputs)
            except PassError as error:
                reason = f"{node.op_type} of constants is left to the engine: {error.found}"
                verdicts.append(Verdict(self.name, subject, False, reason))
                continue
            _store(rewriter.at(node), node, arrays)
            reason = f"{node.op_type} depends on no input"
            verdicts.append(Verdict(self.name, subject, True, reason, certificate))
        return verdicts


def _constant_inputs(node: ir.Node) -> list[Array | None] | None:
    if node.op_type in _SHAPES and node.domain == "" and node.inputs[0] is not None:
        return _shape_only(node, node.inputs[0])
    arrays: list[Array | None] = []
    for item in node.inputs:
        if item is not None and item.const_value is None:
            return None
        arrays.append(
            None if item is None or item.const_value is None else item.const_value.numpy()
        )
    return arrays


def _shape_only(node: ir.Node, value: ir.Value) -> list[Array | None] | None:
    """Return an array shaped like ``value``, if the sizes that ``node`` reads are known."""
    if value.shape is None:
        return None
    sizes = static_shape(value)
    first = node.attributes["start"].as_int() if "start" in node.attributes else 0
    last = node.attributes["end"].as_int() if "end" in node.attributes else len(sizes)
    if None in sizes[first:last]:
        return None
    # A view of one element costs no memory; unknown sizes that nobody reads may be anything.
    return [np.broadcast_to(np.float32(0), [1 if size is None else size for size in sizes])]


def _is_foldable(node: ir.Node, inputs: list[Array | None]) -> bool:
    if node.domain != "" or node.op_type in (*_RANDOM, *_KEPT):
        return False
    if any(output.is_graph_output() for output in node.outputs):
        return False  # must stay something that a node computes
    if _is_keras(node) and not any(output.uses() for output in node.outputs):
        return False
    graphs = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    if any(attribute.type in graphs for attribute in node.attributes.values()):
        return False
    return node.op_type == "Constant" or _is_small(node, inputs)


def _is_keras(node: ir.Node) -> bool:
    """Say whether a node gives Keras values; it stays for its tags, and only its uses change."""
    return any(metadata.keras_name(output) is not None for output in node.outputs)


def _is_small(node: ir.Node, inputs: list[Array | None]) -> bool:
    """Say whether the declared shapes of the results are known and bounded."""
    allowed = max(_SMALL, sum(array.size for array in inputs if array is not None))
    if node.op_type in _SHAPES or _is_keras(node):
        allowed = _SMALL
    for output in node.outputs:
        if output.shape is None or None in static_shape(output):
            return False
        if int(np.prod([size or 0 for size in static_shape(output)], dtype=object)) > allowed:
            return False
    return True


def _compute(node: ir.Node, inputs: list[Array | None]) -> tuple[list[Array], Certificate]:
    """Return the outputs, and how far they are from the same computation in float64."""
    arrays = run_node(node, inputs, wide=False)
    if all(array.dtype.kind != "f" for array in arrays) or _only_moves(arrays, inputs):
        return arrays, Certificate("bit-equal", "computed once, no rounding", 0.0, 0.0)
    exact = run_node(node, inputs, wide=True)
    error = max(relative_l2(a, b) for a, b in zip(arrays, exact, strict=True))
    if not error <= ROUNDING_BOUND:
        found = f"float32 and float64 differ by {error:.3g}"
        raise PassError(f"{node.op_type} {node.name!r} does not fold", found=found)
    return arrays, Certificate("up to rounding", "against float64", error, ROUNDING_BOUND)


def _only_moves(arrays: list[Array], inputs: list[Array | None]) -> bool:
    source = inputs[0] if inputs else None
    if source is None:
        return not inputs  # a Constant node
    return len(arrays) == 1 and np.array_equal(
        np.sort(arrays[0], axis=None), np.sort(source, axis=None)
    )


def _store(rewriter: Rewriter, node: ir.Node, arrays: list[Array]) -> None:
    for output, array in zip(node.outputs, arrays, strict=True):
        if not output.uses():
            continue
        name, output.name = output.name or node.op_type, None
        constant = rewriter.constant(f"{name}:folded", array)
        output.replace_all_uses_with(constant)
    prune(node)


REGISTRY.register(FoldConstants.name)(FoldConstants())
