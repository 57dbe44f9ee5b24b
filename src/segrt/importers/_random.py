"""Graphs that draw random numbers while they run: networks exported as they train.

Augmentation and dropout do nothing at inference. A graph that still draws for them says something
else each time, which no comparison would forgive, so it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import onnx_ir as ir

from segrt.errors import UnsupportedLayerError

_DRAWING = re.compile(r"Random|Rng[A-Z]|Multinomial|Bernoulli|TruncatedNormal")
_HINT = (
    "export the network for inference, with training=False (Keras' model.export() does not say it: "
    "keras.export.ExportArchive().add_endpoint('serve', lambda x: model(x, training=False), ...) "
    "does), in PyTorch after model.eval(); or load the Keras file itself"
)


def inference_hint(words: Iterable[str]) -> str | None:
    """Return what to do where operators' names, or a message, speak of drawing; else None."""
    return _HINT if any(_DRAWING.search(word) for word in words) else None


def refuse_random(model: ir.Model, file: str) -> None:
    """Refuse a graph whose outputs hang on random numbers.

    Raises:
        UnsupportedLayerError: They do; all nodes that draw are listed.
    """
    drawing = [
        (node.name or str(node.outputs[0].name), node.op_type)
        for node in _reached(model.graph)
        if _DRAWING.search(node.op_type) or _drops_out(node)
    ]
    if drawing:
        rows = "".join(f"\n  {name}: {kind}" for name, kind in drawing)
        raise UnsupportedLayerError(
            f"{file}: {len(drawing)} nodes draw random numbers while the network runs:{rows}",
            drawing,
            hint=_HINT,
        )


def _drops_out(node: ir.Node) -> bool:
    """Say whether it is a Dropout told that this is training."""
    if node.op_type != "Dropout" or len(node.inputs) < 3 or node.inputs[2] is None:
        return False
    mode = node.inputs[2].const_value
    return mode is not None and bool(mode.numpy().reshape(-1)[0])


def _reached(graph: ir.Graph) -> list[ir.Node]:
    """Return the nodes that the outputs depend on, in the graph's order."""
    stack = [value.producer() for value in graph.outputs]
    found: set[ir.Node] = set()
    while stack:
        node = stack.pop()
        if node is None or node in found:
            continue
        found.add(node)
        stack += [value.producer() for value in node.inputs if value is not None]
    return [node for node in graph if node in found]
