"""From the imported graph to the one that is built: the passes in order, and what must hold."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import CheckerPass, RemoveUnusedNodesPass, ShapeInferencePass

from segrt.errors import PassError, UsageError
from segrt.graph import custom_nodes, metadata
from segrt.passes._base import REGISTRY, Pass, PassContext
from segrt.passes.upsampling import _planner
from segrt.passes.upsampling._base import SitePlan
from segrt.types import Verdict

# Read top to bottom. Constants first, so that the others see pads, sizes and axes; then what
# stands between an operator and its neighbour; then what merges neighbours.
ORDER = (
    "fold_constants",
    "remove_noops",
    # Upsampling that another exporter spelled otherwise, before its steps are moved about.
    "restore_repeats",
    "restore_ones",
    "cancel_transposes",
    "fold_padding",
    "fold_batch_norm",
    "upsampling",
    "hoist_activations",
    # What pays, or is needed, only in some engines; runs where a target asks for it (``OPTIONAL``).
    "winograd",
    "split_concat",
    "fold_pixels",
    "slice_pools",
    # Before the pool whose places a scatter takes is gone.
    "plain_scatters",
    "unfold_pools",
    "widen_sequences",
    "exact_sigmoid",
    # Neighbours that now work with channels last need no Transposes between them.
    "cancel_transposes",
)
OPTIONAL = (
    "winograd", "split_concat", "fold_pixels", "slice_pools", "plain_scatters", "unfold_pools",
    "widen_sequences", "exact_sigmoid",
)  # fmt: skip


def lower(model: ir.Model, context: PassContext) -> tuple[ir.Model, tuple[Verdict, ...]]:
    """Return a rewritten copy of ``model`` that says the same, and what was done and refused.

    Args:
        model: As imported; not changed. Weights that stay the same are shared, not copied.
        context: What the target wants.

    Raises:
        PassError: A pass broke the graph, lost a Keras value, or changed an input or output.
        UsageError: The context names a form or a pass that does not exist.
    """
    lowered = model.clone()
    verdicts: list[Verdict] = []
    for step in passes(context.extra_passes):
        verdicts += step(lowered, context)
    _drop_unused(lowered)
    metadata.mark_lowered(lowered)
    _infer_shapes(lowered)
    _check_interface(model.graph, lowered.graph)
    _check_nothing_lost(model, lowered)
    return lowered, tuple(verdicts)


def plan(model: ir.Model, context: PassContext) -> list[SitePlan]:
    """Say for every upsampling layer which forms are exact, which `lower` takes, and why.

    Args:
        model: As imported; not changed.
        context: The target's favourites come first; the other forms follow by name.

    Raises:
        UsageError: The context names a form that does not exist.
    """
    clone = model.clone()
    for step in passes():
        if step.name == "upsampling":
            break
        step(clone, context)
    return _planner.plan(clone, context)


def passes(extra: Sequence[str] = ()) -> Sequence[Pass]:
    """Return the passes in order: those that always run, and of the optional ones ``extra``.

    Raises:
        UsageError: ``extra`` names something else than an optional pass.
        PassError: A pass is registered but has no place in the order, or the other way round.
    """
    if set(REGISTRY.names()) != set(ORDER):
        different = sorted(set(REGISTRY.names()) ^ set(ORDER))
        raise PassError("passes and their order disagree", found=", ".join(different))
    unknown = [name for name in extra if name not in OPTIONAL]
    if unknown:
        raise UsageError(
            "there is no such optional pass", found=", ".join(unknown), wanted=", ".join(OPTIONAL)
        )
    wanted = [name for name in ORDER if name not in OPTIONAL or name in extra]
    found = [REGISTRY.find(name) for name in wanted]
    return [step for step in found if step is not None]


def _drop_unused(model: ir.Model) -> None:
    """Remove what no output needs; a Keras value among that is noted as dissolved."""
    needed: set[ir.Value] = set()
    stack = list(model.graph.outputs)
    while stack:
        value = stack.pop()
        if value in needed:
            continue
        needed.add(value)
        node = value.producer()
        stack += [item for item in node.inputs if item is not None] if node is not None else []
    for node in model.graph:
        if not any(output in needed for output in node.outputs):
            for output in node.outputs:
                metadata.dissolve(model, output, "no output of the network depends on it")
    RemoveUnusedNodesPass()(model)


def _infer_shapes(model: ir.Model) -> None:
    for node in model.graph:
        # What ONNX has no rule for keeps the shape that its own rule gave it.
        if not custom_nodes.is_custom(node):
            for output in node.outputs:
                output.shape = None if not output.is_graph_output() else output.shape
    ShapeInferencePass(check_type=True, strict_mode=True, data_prop=True)(model)
    try:
        CheckerPass(full_check=True)(model)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise PassError("the rewritten graph is not valid ONNX", found=str(error)) from error


def _check_interface(before: ir.Graph, after: ir.Graph) -> None:
    for kind, old, new in (
        ("inputs", before.inputs, after.inputs),
        ("outputs", before.outputs, after.outputs),
    ):
        wanted = [(value.name, value.dtype) for value in old]
        found = [(value.name, value.dtype) for value in new]
        same = found == wanted and all(map(_fits, old, new))
        if not same:
            raise PassError(
                f"a pass changed the {kind} of the graph",
                found=", ".join(map(str, new)),
                wanted=", ".join(map(str, old)),
            )


def _fits(old: ir.Value, new: ir.Value) -> bool:
    """Say whether every size known before is the same now; unknown ones may have become known."""
    if old.shape is None or new.shape is None:
        return old.shape is None
    pairs = zip(old.shape, new.shape, strict=False)
    known = all(a == b for a, b in pairs if isinstance(a, int))
    return len(old.shape) == len(new.shape) and known


def _check_nothing_lost(before: ir.Model, after: ir.Model) -> None:
    """Every Keras value must still be there, be recoverable, or be listed as dissolved."""
    known = set(metadata.fused(after))
    for value in [*after.graph.inputs, *(v for node in after.graph for v in node.outputs)]:
        known.add(metadata.keras_name(value) or "")
        known |= {entry.keras for entry in metadata.recoveries(value)}
    lost = [name for name, _ in metadata.keras_values(before.graph) if name not in known]
    if lost:
        raise PassError("a pass lost Keras values", found=", ".join(lost[:5]))
