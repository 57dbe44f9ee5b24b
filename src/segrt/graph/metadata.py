"""What ONNX cannot hold, kept in ``metadata_props`` under ``segrt.``: the only reader and writer.

On a value (an ONNX value that carries a Keras layer's output):

``segrt.keras``
    The Keras value's name: ``outer/inner``, ``name@1`` for a second call, ``name#1`` for a second
    output. Equal to the ONNX value's own name unless a rewrite had to move it.
``segrt.to_source``
    The permutation of axes that brings the stored array into the source's layout, such as
    ``0,2,3,1`` for NCHW storage of an NHWC tensor. Absent: stored as the source has it.
``segrt.recover``
    JSON list. Each entry names a Keras value that a rewrite folded away and says how to compute it
    from this one: ``keras = (this - shift) / scale`` along axis 1; see `Recovery`.

``segrt.ranges``
    On graph inputs, and where a graph is to be cut. JSON list, one entry an axis: ``[minimum,
    usual, maximum]`` of a free size, or null. Absent: free sizes are not limited.

On a node: ``segrt.layer`` (Keras value name) and ``segrt.class`` (Keras class name); in a mix of
engines ``segrt.engine`` (name of the target that runs it).

On the model: ``segrt.source`` (JSON of `Source`), ``segrt.stage`` (``imported`` or ``lowered``),
``segrt.remarks`` (JSON list of strings), ``segrt.fused`` (JSON object: Keras value that a rewrite
dissolved -> why), ``segrt.ends`` (JSON object, see `segrt.graph.ends`).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.types import ShapeProfile

KERAS = "segrt.keras"
TO_SOURCE = "segrt.to_source"
RECOVER = "segrt.recover"
RANGES = "segrt.ranges"
LAYER = "segrt.layer"
CLASS = "segrt.class"
ENGINE = "segrt.engine"
SOURCE = "segrt.source"
STAGE = "segrt.stage"
REMARKS = "segrt.remarks"
FUSED = "segrt.fused"
ENDS = "segrt.ends"

FloatArray: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a graph came from.

    Attributes:
        file: File name without folders.
        sha256: Hash of the file, hexadecimal.
        format: ``keras-h5``, ``keras-archive``, ``keras-weights-h5``, ``onnx``, ``saved-model``
            or ``frozen-graph``.
        keras_version: As the file says, or "unknown"; "" for formats that are not Keras'.
        backend: As the file says, or "unknown"; for other formats what wrote the file.
        model_name: The Keras model's name.
    """

    file: str
    sha256: str
    format: str
    keras_version: str
    backend: str
    model_name: str


@dataclass(frozen=True, slots=True)
class Recovery:
    """How a folded-away value follows from the value that replaced it.

    ``keras = (this - shift) / scale`` per channel (axis 1 of the stored array); channels whose
    scale is 0 cannot be recovered and are skipped in comparisons.

    Attributes:
        keras: Name of the folded-away Keras value.
        to_source: As `segrt.to_source` for that value, "" if stored as the source has it.
        scale: One value a channel; a single one for all only where the number of channels is
            unknown.
        shift: Shaped like ``scale``.
    """

    keras: str
    to_source: str
    scale: FloatArray
    shift: FloatArray


def tag_value(value: ir.Value, keras: str, to_source: tuple[int, ...] | None) -> None:
    """Record that ``value`` carries the Keras value ``keras``."""
    value.metadata_props[KERAS] = keras
    if to_source is not None:
        value.metadata_props[TO_SOURCE] = ",".join(str(axis) for axis in to_source)


def keras_name(value: ir.Value) -> str | None:
    """Return the name of the Keras value that ``value`` carries, or None."""
    return value.metadata_props.get(KERAS)


def to_source(value: ir.Value) -> tuple[int, ...] | None:
    """Return the permutation into the source's layout, or None where none is needed."""
    return parse_axes(value.metadata_props.get(TO_SOURCE, ""))


def parse_axes(text: str) -> tuple[int, ...] | None:
    """Read ``0,2,3,1``; the empty string is None."""
    return tuple(int(axis) for axis in text.split(",")) if text else None


def set_ranges(value: ir.Value, ranges: Sequence[ShapeProfile | None]) -> None:
    """Record what the free sizes of a graph input are limited to, one entry an axis."""
    entries = [None if r is None else (r.minimum, r.usual, r.maximum) for r in ranges]
    value.metadata_props[RANGES] = json.dumps(entries)


def ranges(value: ir.Value) -> tuple[ShapeProfile | None, ...]:
    """Return what the free sizes of a graph input are limited to, () where they are not."""
    entries = json.loads(value.metadata_props.get(RANGES, "[]"))
    return tuple(None if entry is None else ShapeProfile(*entry) for entry in entries)


def move_tags(old: ir.Value, new: ir.Value) -> None:
    """Make ``new`` carry all that ``old`` carried; used when a rewrite replaces a value."""
    for key in (KERAS, TO_SOURCE, RECOVER):
        if key in old.metadata_props:
            new.metadata_props[key] = old.metadata_props.pop(key)


def keras_values(graph: ir.Graph) -> Iterator[tuple[str, ir.Value]]:
    """Yield ``(Keras name, value)`` in topological order, graph inputs first."""
    for value in graph.inputs:
        if (name := keras_name(value)) is not None:
            yield name, value
    for node in graph:
        for output in node.outputs:
            if (name := keras_name(output)) is not None:
                yield name, output


def add_recovery(value: ir.Value, recovery: Recovery) -> None:
    """Record on ``value`` how a folded-away Keras value follows from it."""
    entries = json.loads(value.metadata_props.get(RECOVER, "[]"))
    entries.append(
        {
            "keras": recovery.keras,
            "to_source": recovery.to_source,
            "scale": _pack(recovery.scale),
            "shift": _pack(recovery.shift),
        }
    )
    value.metadata_props[RECOVER] = json.dumps(entries)


def recoveries(value: ir.Value) -> list[Recovery]:
    """Return what can be recovered from ``value``."""
    return [
        Recovery(
            entry["keras"], entry["to_source"], _unpack(entry["scale"]), _unpack(entry["shift"])
        )
        for entry in json.loads(value.metadata_props.get(RECOVER, "[]"))
    ]


def fold_tags(old: ir.Value, new: ir.Value, scale: FloatArray, shift: FloatArray) -> None:
    """Let all that ``old`` carried be recovered from ``new``, where ``new = old * scale + shift``.

    Args:
        old: Is about to go; its tags are taken away.
        new: Stored in the same layout as ``old``.
        scale: One value a channel (axis 1), or a single one for all.
        shift: Shaped like ``scale``.
    """
    name, entries = keras_name(old), recoveries(old)
    if name is not None:
        axes = old.metadata_props.get(TO_SOURCE, "")
        add_recovery(new, _per_channel(new, Recovery(name, axes, scale, shift)))
    for entry in entries:
        factor, offset = scale * entry.scale, shift + scale * entry.shift
        moved = Recovery(entry.keras, entry.to_source, factor, offset)
        add_recovery(new, _per_channel(new, moved))
    for key in (KERAS, TO_SOURCE, RECOVER):
        old.metadata_props.pop(key, None)


def same_tags(old: ir.Value, new: ir.Value) -> None:
    """Let all that ``old`` carried be recovered from ``new``, which holds the same array."""
    fold_tags(old, new, np.ones(1), np.zeros(1))


def permute_tags(value: ir.Value, perm: tuple[int, ...]) -> None:
    """Keep the tags of ``value`` true after its layout changed by ``stored = new.transpose(perm)``.

    Raises:
        ValueError: A recovery holds one value a channel, which would not lie on axis 1 any more.
    """
    entries = recoveries(value)
    if perm[1] != 1 and not all(map(is_uniform, entries)):
        raise ValueError(f"the recoveries of {value.name!r} hold for axis 1 only")
    if keras_name(value) is not None:
        axes = _compose(perm, value.metadata_props.pop(TO_SOURCE, ""))
        if axes:
            value.metadata_props[TO_SOURCE] = axes
    value.metadata_props.pop(RECOVER, None)
    for entry in entries:
        axes = _compose(perm, entry.to_source)
        moved = Recovery(entry.keras, axes, entry.scale, entry.shift)
        add_recovery(value, _per_channel(value, moved))


def dissolve(model: ir.Model, value: ir.Value, reason: str) -> None:
    """Record that nothing holds any more what ``value`` and its recoveries carried; untag it."""
    names = [keras_name(value), *(entry.keras for entry in recoveries(value))]
    for name in names:
        if name is not None:
            add_fused(model, name, reason)
    for key in (KERAS, TO_SOURCE, RECOVER):
        value.metadata_props.pop(key, None)


def tag_node(node: ir.Node, layer: str, class_name: str) -> None:
    """Record the Keras layer (value name) and class that ``node`` belongs to."""
    node.metadata_props[LAYER] = layer
    node.metadata_props[CLASS] = class_name


def layer_of(node: ir.Node) -> str:
    """Return the Keras value name a node belongs to, "" if none."""
    return node.metadata_props.get(LAYER, "")


def class_of(node: ir.Node) -> str:
    """Return the Keras class name a node belongs to, "" if none."""
    return node.metadata_props.get(CLASS, "")


def set_engine(node: ir.Node, target: str) -> None:
    """Record which target runs ``node``."""
    node.metadata_props[ENGINE] = target


def engine_of(node: ir.Node) -> str:
    """Return the target that runs a node, "" if there is but one."""
    return node.metadata_props.get(ENGINE, "")


def set_source(model: ir.Model, source: Source) -> None:
    """Write where the model came from, and that nothing was rewritten yet."""
    model.metadata_props[SOURCE] = json.dumps(asdict(source), sort_keys=True)
    model.metadata_props[STAGE] = "imported"


def source(model: ir.Model) -> Source | None:
    """Return where the model came from, None for graphs without that mark."""
    text = model.metadata_props.get(SOURCE)
    return Source(**json.loads(text)) if text else None


def mark_lowered(model: ir.Model) -> None:
    """Write that the passes have run."""
    model.metadata_props[STAGE] = "lowered"


def add_remark(model: ir.Model, text: str) -> None:
    """Add a remark for people, once."""
    present = remarks(model)
    if text not in present:
        model.metadata_props[REMARKS] = json.dumps([*present, text])


def remarks(model: ir.Model) -> list[str]:
    """Return the remarks for people."""
    found: list[str] = json.loads(model.metadata_props.get(REMARKS, "[]"))
    return found


def add_fused(model: ir.Model, keras: str, reason: str) -> None:
    """Record that a Keras value has no counterpart any more, and why."""
    entries = fused(model)
    entries[keras] = reason
    model.metadata_props[FUSED] = json.dumps(entries)


def fused(model: ir.Model) -> dict[str, str]:
    """Return the Keras values that rewrites dissolved: name -> why."""
    found: dict[str, str] = json.loads(model.metadata_props.get(FUSED, "{}"))
    return found


def set_ends(model: ir.Model, entries: Mapping[str, Any]) -> None:
    """Write what is done at the model's ends, as JSON values; see `segrt.graph.ends`."""
    model.metadata_props[ENDS] = json.dumps(entries, sort_keys=True)


def ends(model: ir.Model) -> dict[str, Any]:
    """Return what is done at the model's ends, as JSON values."""
    found: dict[str, Any] = json.loads(model.metadata_props.get(ENDS, "{}"))
    return found


def is_uniform(entry: Recovery) -> bool:
    """Say whether a recovery does the same in every channel."""
    return bool(np.all(entry.scale == entry.scale[0]) and np.all(entry.shift == entry.shift[0]))


def _per_channel(value: ir.Value, entry: Recovery) -> Recovery:
    """Give a uniform recovery one number for each channel that ``value`` has on axis 1."""
    known = value.shape is not None and len(value.shape) > 1
    size = value.shape[1] if known and value.shape is not None else None
    if not isinstance(size, int) or not is_uniform(entry):
        return entry
    scale, shift = np.full(size, entry.scale[0]), np.full(size, entry.shift[0])
    return Recovery(entry.keras, entry.to_source, scale, shift)


def _compose(perm: tuple[int, ...], axes_text: str) -> str:
    """Return ``perm`` followed by the permutation in ``axes_text``; "" for the identity."""
    axes = parse_axes(axes_text) or tuple(range(len(perm)))
    composed = tuple(perm[axis] for axis in axes)
    return "" if composed == tuple(range(len(perm))) else ",".join(map(str, composed))


def _pack(array: FloatArray) -> str:
    return base64.b64encode(np.ascontiguousarray(array, dtype="<f8").tobytes()).decode("ascii")


def _unpack(text: str) -> FloatArray:
    return np.frombuffer(base64.b64decode(text), dtype="<f8").astype(np.float64)
