"""Where the Keras values lie in a lowered graph, and how to get them in the source's layout."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.graph import metadata
from segrt.graph.metadata import Recovery
from segrt.verification.metrics import Accumulator

Array: TypeAlias = npt.NDArray[Any]
Flags: TypeAlias = npt.NDArray[np.bool_]

# Channels in which recovering a folded value magnifies rounding more than this are not compared:
# nothing could be concluded from them.
MOST_AMPLIFICATION = 30.0


@dataclass(frozen=True, slots=True)
class Located:
    """A Keras value and the ONNX value that carries it.

    Attributes:
        keras: The Keras value's name.
        value: The ONNX value's name.
        to_source: Permutation from the stored into the source's layout, None if they agree.
        layer_class: Keras class name, "" if unknown.
        recovery: How it is recovered, where the ONNX value carries another one.
        alias: The ONNX value merely repeats another named one (Dropout, a nested model's output).
    """

    keras: str
    value: str
    to_source: tuple[int, ...] | None
    layer_class: str
    recovery: Recovery | None = None
    alias: bool = False


@dataclass(frozen=True, slots=True)
class Locations:
    """All Keras values of a graph.

    Attributes:
        found: By Keras name, in topological order.
        ambiguous: Keras names carried by several values that are not the same: their names.
        fused: Keras names that a rewrite dissolved, and why.
        loose: Keras names of numbers and vectors, such as a tensor's sizes, with their layers'
            classes: they are no batches, so they are not among those found.
    """

    found: dict[str, Located]
    ambiguous: dict[str, list[str]]
    fused: dict[str, str]
    loose: dict[str, str]


@dataclass(slots=True)
class Pairing:
    """Compares one Keras value, piece by piece.

    Attributes:
        located: The value.
        figures: What was gathered.
        left_out: Channels that cannot be recovered.
    """

    located: Located
    figures: Accumulator = field(default_factory=Accumulator)
    left_out: int = 0
    _kept: Flags | None = None

    @property
    def untouched(self) -> bool:
        """Whether there was something to compare, but no channel of it could be recovered."""
        return self._kept is not None and not self._kept.any()

    def update(self, reference: Array, stored: Array) -> None:
        """Add a piece.

        Args:
            reference: In the source's layout.
            stored: As the graph holds the ONNX value.
        """
        recovery = self.located.recovery
        if recovery is None or _changes_nothing(recovery):
            self.figures.update(reference, to_source(stored, self.located.to_source))
        elif stored.ndim < 2 or stored.shape[1] != recovery.scale.size:
            self.figures.update(reference, stored)
        else:
            self._recovered(reference, stored, recovery)

    def _recovered(self, reference: Array, stored: Array, recovery: Recovery) -> None:
        axis = 1 if self.located.to_source is None else self.located.to_source.index(1)
        # Shapes are compared before channels are picked; a wrong one is told as it is.
        shape = to_source(np.broadcast_to(np.float32(0), stored.shape), self.located.to_source)
        if reference.shape != shape.shape:
            self.figures.update(reference, shape)
            return
        if self._kept is None:
            self._kept = _recoverable(reference, axis, recovery)
            self.left_out = int(self._kept.size - np.count_nonzero(self._kept))
        keep = np.flatnonzero(self._kept)
        if keep.size == 0:
            return
        sides = (1, -1, *[1] * (stored.ndim - 2))
        scale, shift = recovery.scale[keep].reshape(sides), recovery.shift[keep].reshape(sides)
        # Image by image: the float64 copies would be twice the value otherwise.
        for image in range(len(stored)):
            carried = stored[image : image + 1, keep].astype(np.float64) / scale
            candidate = to_source(carried - shift / scale, self.located.to_source)
            expected = np.take(reference[image : image + 1], keep, axis=axis)
            with np.errstate(invalid="ignore", over="ignore"):
                squares = float(np.sum(carried * carried))
            self.figures.update(expected.astype(np.float64), candidate, carried=squares)


def locate(model: ir.Model) -> Locations:
    """Find every Keras value of a graph."""
    carriers: dict[str, list[ir.Value]] = {}
    recovered: dict[str, Located] = {}
    classes, loose = _classes(model), {}
    for keras, value in metadata.keras_values(model.graph):
        if value.shape is not None and len(value.shape) <= 1 and not value.is_graph_output():
            loose[keras] = classes.get(keras, "")
        else:
            carriers.setdefault(keras, []).append(value)
    for value in _all_values(model.graph):
        for recovery in metadata.recoveries(value):
            recovered[recovery.keras] = Located(
                recovery.keras,
                str(value.name),
                metadata.parse_axes(recovery.to_source),
                classes.get(recovery.keras, ""),
                recovery,
            )
    found, ambiguous = {}, {}
    for keras, values in carriers.items():
        if any(root(value) is not root(values[0]) for value in values[1:]):
            ambiguous[keras] = [str(value.name) for value in values]
            continue
        value = values[0]
        found[keras] = Located(
            keras,
            str(value.name),
            metadata.to_source(value),
            classes.get(keras, "") or ("InputLayer" if value.is_graph_input() else ""),
            alias=value.is_graph_input() or _repeats_named(value),
        )
    found |= {keras: place for keras, place in recovered.items() if keras not in carriers}
    return Locations(found, ambiguous, metadata.fused(model), loose)


def to_source(stored: Array, axes: tuple[int, ...] | None) -> Array:
    """Return a stored array in the source's layout; a wrong rank is left for the comparison."""
    return stored if axes is None or stored.ndim != len(axes) else stored.transpose(axes)


def to_stored(array: Array, axes: tuple[int, ...] | None) -> Array:
    """Return an array in the source's layout as a graph stores it."""
    return array if axes is None else np.ascontiguousarray(array.transpose(np.argsort(axes)))


def root(value: ir.Value) -> ir.Value:
    """Return the value that ``value`` is a mere Transpose or Identity of, itself if none."""
    while True:
        node = value.producer()
        if node is None or node.op_type not in ("Identity", "Transpose"):
            return value
        source = node.inputs[0]
        if source is None:
            return value
        value = source


def _repeats_named(value: ir.Value) -> bool:
    """Say whether a value is another Keras value, or an input, in at most another layout."""
    node = value.producer()
    if node is None or node.op_type != "Identity":
        return False
    source = node.inputs[0]
    while source is not None and metadata.keras_name(source) is None:
        node = source.producer()
        if node is None or node.op_type not in ("Identity", "Transpose"):
            return False
        source = node.inputs[0]
    return source is not None


def _changes_nothing(recovery: Recovery) -> bool:
    """Say whether the folded value and its carrier are the same numbers, as behind a no-op."""
    return bool(np.all(recovery.scale == 1) and np.all(recovery.shift == 0))


def _classes(model: ir.Model) -> dict[str, str]:
    """Return the class of every layer that still has a node of its own."""
    # The Transpose at a graph output belongs to a layer, but has no class of its own.
    nodes = [node for node in model.graph if metadata.class_of(node)]
    pairs = {metadata.layer_of(node): metadata.class_of(node) for node in nodes}
    for keras, value in metadata.keras_values(model.graph):
        node = value.producer()
        if node is not None and keras not in pairs:
            pairs[keras] = metadata.class_of(node)
    return pairs


def _all_values(graph: ir.Graph) -> list[ir.Value]:
    return [*graph.inputs, *(output for node in graph for output in node.outputs)]


def _recoverable(reference: Array, axis: int, recovery: Recovery) -> Flags:
    """Return the channels whose recovery magnifies rounding little enough."""
    others = tuple(other for other in range(reference.ndim) if other != axis)
    rms = np.sqrt(np.mean(np.square(reference, dtype=np.float64), axis=others))
    scale, shift = np.abs(recovery.scale), np.abs(recovery.shift)
    kept: Flags = (scale > 0) & (shift <= MOST_AMPLIFICATION * scale * rms)
    return kept
