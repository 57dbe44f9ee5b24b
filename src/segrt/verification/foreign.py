"""A model that another exporter made, against the Keras file it was made from.

Both are imported, nodes are paired, and every foreign node is run on what Keras' graph computed
before it. So a node shows the error that it makes itself, however much was damaged before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.errors import EngineError, UsageError
from segrt.graph import metadata
from segrt.graph.size_multiple import needed_multiple
from segrt.graph.specs import image_axes, input_specs
from segrt.passes._base import PassContext
from segrt.passes._pipeline import passes
from segrt.types import TensorSpec
from segrt.verification._foreign_damage import damages
from segrt.verification._inner import InnerValues
from segrt.verification._ort import PlainRunner
from segrt.verification._pair_graphs import Pair, Pairing, bare, data_inputs, pair_graphs
from segrt.verification.metrics import Metrics, compare
from segrt.verification.shift import Shift, find_shift

Array: TypeAlias = npt.NDArray[Any]

# Exporters fold batch normalisation in float32, which this project does in float64.
TOLERANCE = 1e-5
# So that an axis mistaken for another shows: height, width unlike.
_STEPS = (3, 4)
_LEAST = 24
_CANONICAL = (
    "fold_constants", "remove_noops", "restore_repeats", "restore_ones", "cancel_transposes",
    "fold_padding",
)  # fmt: skip
_LAYOUTS: dict[int, Sequence[tuple[int, ...]]] = {
    3: ((0, 1, 2), (0, 2, 1)),
    4: ((0, 1, 2, 3), (0, 2, 3, 1), (0, 3, 1, 2)),
    5: ((0, 1, 2, 3, 4), (0, 2, 3, 4, 1), (0, 4, 1, 2, 3)),
}


@dataclass(frozen=True, slots=True)
class ForeignRow:
    """One node of the foreign graph.

    Attributes:
        node: Its name in the file.
        operator: Its ONNX operator.
        layer: The Keras value that it ought to be.
        layer_class: Keras class of the layer.
        own: Its error on the values that Keras' graph computed before it; None: not to be had.
        whole: Its error in the whole run.
        shift: A shift that explains its own error.
        damage: What is wrong with it, in words; empty if its own error is within the tolerance.
    """

    node: str
    operator: str
    layer: str
    layer_class: str
    own: Metrics | None
    whole: Metrics | None
    shift: Shift | None
    damage: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ForeignReport:
    """The comparison of two models.

    Attributes:
        foreign: File of the foreign model.
        keras: File of the Keras model.
        rows: Paired nodes, in the order of computation.
        outputs: Relative L2 error of each output of the whole foreign graph.
        remarks: What could not be compared, and why.
    """

    foreign: str
    keras: str
    rows: tuple[ForeignRow, ...]
    outputs: dict[str, float]
    remarks: tuple[str, ...]

    @property
    def damaged(self) -> tuple[ForeignRow, ...]:
        """The nodes that do something else than Keras' layers, the first one first."""
        return tuple(row for row in self.rows if row.damage)

    @property
    def ok(self) -> bool:
        """Whether both say the same: every output, and every node that has a partner."""
        close = all(error <= TOLERANCE for error in self.outputs.values())
        return bool(self.outputs) and close and not self.damaged

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.ok:
            return f"the same: {len(self.rows)} nodes and every output agree within {TOLERANCE:g}"
        if self.damaged:
            first = self.damaged[0]
            more = f" (and {len(self.damaged) - 1} more)" if len(self.damaged) > 1 else ""
            return f"different, first at {first.node!r}: {first.damage[0]}{more}"
        return "different, and no single node could be named"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"ok": self.ok, "verdict": self.verdict, **asdict(self)}


def compare_foreign(foreign: ir.Model, keras: ir.Model) -> ForeignReport:
    """Compare a foreign model with the Keras model that it was made from.

    Args:
        foreign: As `segrt.load` returned it.
        keras: As `segrt.load` returned it.

    Raises:
        UsageError: They have different numbers of inputs or outputs.
        EngineError: A graph does not run.
    """
    ours, theirs = _canonical(keras), _canonical(foreign)
    _check_interface(theirs, ours)
    feeds, given = _inputs(theirs, ours)
    walk = pair_graphs(theirs.graph, ours.graph)
    values = _run(ours, feeds, list(walk.meant.values()))
    found = _run(theirs, given, list(walk.meant))
    order = [node for node in theirs.graph if node in walk.pairs]
    rows = [_row(walk, walk.pairs[node], values, found) for node in order]
    remarks = [f"{a} and {b} are no partners: not compared" for a, b in walk.strangers]
    remarks += [f"{row.node!r} could not be run alone" for row in rows if row.own is None]
    return ForeignReport(
        _file(foreign), _file(keras), tuple(rows), _outputs(theirs, ours, feeds, given),
        tuple(remarks),
    )  # fmt: skip


def _canonical(model: ir.Model) -> ir.Model:
    """Return a copy without layout changes and constants, by exact passes only."""
    copy = model.clone()
    for step in passes():
        if step.name in _CANONICAL:
            step(copy, PassContext())
    return copy


def _check_interface(foreign: ir.Model, keras: ir.Model) -> None:
    for kind, a, b in (
        ("inputs", foreign.graph.inputs, keras.graph.inputs),
        ("outputs", foreign.graph.outputs, keras.graph.outputs),
    ):
        if len(a) != len(b):
            raise UsageError(
                f"the models have different numbers of {kind}",
                found=", ".join(str(value.name) for value in a),
                wanted=", ".join(str(value.name) for value in b),
            )


def _inputs(foreign: ir.Model, keras: ir.Model) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return one random batch for Keras' graph, and the same in the foreign layout."""
    rng = np.random.default_rng(0)
    feeds, given = {}, {}
    multiple = max(needed_multiple(keras) or 1, 1)
    wanted = {spec.name: spec for spec in input_specs(foreign)}
    for place, spec in enumerate(input_specs(keras)):
        other = wanted.get(spec.name) or input_specs(foreign)[place]
        shape = _sizes(spec, other, multiple)
        array = rng.uniform(-1, 1, shape).astype(spec.dtype)
        feeds[spec.name] = array
        given[other.name] = _moved(array, spec, other)
    return feeds, given


def _sizes(spec: TensorSpec, other: TensorSpec, multiple: int) -> list[int]:
    """Return a shape both take: fixed sizes of either side, unlike free ones."""
    axes = image_axes(spec)
    theirs = list(other.shape)
    if axes is not None and len(theirs) == 4 and other.channel_axis != spec.channel_axis:
        to_ours = (0, 2, 3, 1) if spec.channel_axis == -1 else (0, 3, 1, 2)
        theirs = [other.shape[axis] for axis in to_ours]
    shape = []
    for axis, size in enumerate(spec.shape):
        free = 1 if axis == 0 else _LEAST
        if axes is not None and axis in axes:
            step = _STEPS[axes.index(axis)]
            free = multiple * step * max(1, -(-_LEAST // (multiple * step)))
        known = theirs[axis] if axis < len(theirs) else None
        shape.append(size if size is not None else known if known is not None else free)
    return shape


def _moved(array: Array, spec: TensorSpec, other: TensorSpec) -> Array:
    if array.ndim != 4 or spec.channel_axis == other.channel_axis or other.channel_axis is None:
        return array
    perm = (0, 3, 1, 2) if other.channel_axis == 1 else (0, 2, 3, 1)
    return np.ascontiguousarray(array.transpose(perm))


def _run(model: ir.Model, feeds: dict[str, Array], wanted: list[ir.Value]) -> dict[ir.Value, Array]:
    """Return inner values of a graph."""
    inner = InnerValues(model, PlainRunner, 1 << 30)
    try:
        names = list(dict.fromkeys(str(value.name) for value in wanted))
        arrays = inner.fetch(names, feeds)
    finally:
        inner.close()
    return {value: arrays[str(value.name)] for value in wanted}


def _row(
    walk: Pairing, pair: Pair, values: dict[ir.Value, Array], found: dict[ir.Value, Array]
) -> ForeignRow:
    reference = values[pair.meant]
    whole = _closest(reference, found[pair.end])
    alone = _alone(walk, pair, values, found)
    moved = None if alone is None else _in_layout(reference, alone)
    own, shift, damage = None, None, []
    if moved is not None:
        own = compare(reference, moved)
        if not own.relative_l2 <= TOLERANCE:
            shift = find_shift(reference, moved, channel_axis=1)
            damage = _words(pair, shift, own)
    elif alone is not None:
        damage = [f"an image of shape {list(alone.shape)} instead of {list(reference.shape)}"]
    maker = pair.meant.producer()
    layer = metadata.keras_name(pair.meant) or (metadata.layer_of(maker) if maker else "")
    return ForeignRow(
        metadata.layer_of(pair.foreign) or str(pair.foreign.name), pair.foreign.op_type,
        layer or str(pair.meant.name), metadata.class_of(maker) if maker else "",
        own, whole, shift, tuple(damage),
    )  # fmt: skip


def _words(pair: Pair, shift: Shift | None, own: Metrics) -> list[str]:
    found = damages(pair)
    if shift is not None:
        found.append(f"its image is shifted by (dy {shift.dy:g}, dx {shift.dx:g}) px")
    return found or [f"other numbers from the same input: relative L2 {own.relative_l2:.2g}"]


def _alone(
    walk: Pairing, pair: Pair, values: dict[ir.Value, Array], found: dict[ir.Value, Array]
) -> Array | None:
    """Run one foreign node on what Keras' graph computed before it."""
    starts = {bare(value) for value in data_inputs(pair.foreign)}
    if any(start not in walk.meant or start not in found for start in starts):
        return None
    feeds = {}
    for start in starts:
        array = _in_layout(found[start], values[walk.meant[start]])
        if array is None:
            return None
        feeds[str(start.name)] = np.ascontiguousarray(array, dtype=found[start].dtype)
    output = str(pair.end.name)
    graph = pair.foreign.graph
    if not isinstance(graph, ir.Graph):
        return None
    part = ir.convenience.extract(graph, list(feeds), [output])
    runner = PlainRunner(ir.Model(part, ir_version=10))
    try:
        return runner.run(feeds)[output]
    except EngineError:
        return None
    finally:
        runner.close()


def _closest(reference: Array, candidate: Array) -> Metrics:
    moved = _in_layout(reference, candidate)
    return compare(reference, candidate if moved is None else moved)


def _in_layout(like: Array, array: Array) -> Array | None:
    """Return ``array`` with its axes in the order of ``like``, None if none fits."""
    if like.size == array.size and like.ndim != array.ndim:
        return _unfolded(like, array)
    fitting = [
        array.transpose(perm)
        for perm in _LAYOUTS.get(array.ndim, (tuple(range(array.ndim)),))
        if tuple(array.shape[axis] for axis in perm) == like.shape
    ]
    if not fitting:
        return None
    # Sizes that are alike leave several layouts: the right one is the closest.
    return min(fitting, key=lambda moved: float(np.linalg.norm(moved.astype(np.float64) - like)))


def _unfolded(like: Array, array: Array) -> Array | None:
    """Bring rows of channels (what a matrix product takes) and images into one shape."""
    if max(like.shape) == like.size:
        return array.reshape(like.shape)
    if (like.ndim, array.ndim) == (4, 2) and array.shape[1] == like.shape[1]:
        n, c, height, width = like.shape
        return array.reshape(n, height, width, c).transpose(0, 3, 1, 2)
    if (like.ndim, array.ndim) == (2, 4) and array.shape[1] == like.shape[1]:
        return array.transpose(0, 2, 3, 1).reshape(like.shape)
    return None


def _outputs(
    foreign: ir.Model, keras: ir.Model, feeds: dict[str, Array], given: dict[str, Array]
) -> dict[str, float]:
    theirs = _run(foreign, given, list(foreign.graph.outputs))
    ours = _run(keras, feeds, list(keras.graph.outputs))
    pairs = zip(foreign.graph.outputs, keras.graph.outputs, strict=True)
    return {str(a.name): _closest(ours[b], theirs[a]).relative_l2 for a, b in pairs}


def _file(model: ir.Model) -> str:
    source = metadata.source(model)
    return "?" if source is None else source.file
