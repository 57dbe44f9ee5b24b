"""What became of every Keras layer in a built engine: from a package's two tables."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segrt.errors import PackageError
from segrt.targets._mix_notes import PieceNotes
from segrt.targets._package import Package
from segrt.types import Precision

# What the compiler calls its steps; a kernel of nothing else computes nothing.
_STEPS = re.compile(r"^__myl_((?:[A-Z][a-z]+)+)_")
_STEP = re.compile(r"[A-Z][a-z]+")
_MOVING = {"Move", "Copy", "Refo", "Tran", "Resh", "Conc", "Repl", "Slic", "Cast"}
_MOVING_KINDS = {"reformat", "shuffle", "nop", "signal", "wait"}
# Precision -> what the engine may hold between its kernels.
_NARROW = {
    Precision.FP16: {"Half"},
    Precision.BF16: {"BFloat16"},
    Precision.INT8: {"Int8", "Half", "BFloat16"},
    Precision.FP8: {"FP8", "Half", "BFloat16"},
}
# Kernels of products, and what they have to multiply for a quantisation not to be lost.
_HEAVY = {"correlation", "deconv", "gemm"}
_PRODUCTS = {Precision.INT8: "Int8", Precision.FP8: "FP8"}
_FLOATS = {"Float", "Half", "BFloat16", "FP8", "Int8"}
_FORMAT = re.compile(r"^\((\w+)\)")

Kernel = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EngineRow:
    """One Keras layer in one kernel.

    Attributes:
        keras: The layer's value; "" for a kernel that no layer asked for.
        class_name: Its Keras class.
        nodes: The layer's nodes in the graph.
        kernel: The engine's name of the kernel; "" where the layer has none.
        kind: Such as ``correlation`` (convolution) or ``kgen`` (compiled).
        fused_with: The other Keras layers that this kernel computes.
        inputs: Type and memory layout of what it reads.
        outputs: Of what it writes.
        at_edge: It reads an input or writes an output of the network.
        moves_only: It computes nothing: a copy, transposition or change of type or layout.
        wide: It reads or writes a wider type than the engine's precision, inside the network.
        remark: Why a layer has no kernel.
    """

    keras: str
    class_name: str
    nodes: tuple[str, ...]
    kernel: str = ""
    kind: str = ""
    fused_with: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    at_edge: bool = False
    moves_only: bool = False
    wide: bool = False
    remark: str = ""


@dataclass(frozen=True, slots=True)
class EngineView:
    """An engine, layer by layer.

    Attributes:
        target: Name of the target.
        library: Library and version that built it.
        precision: What it was to compute in.
        kernels: How many there are; None where the library does not list them.
        rows: Keras layers in the network's order; a layer of several kernels has several.
        inserted: Kernels that belong to no layer.
    """

    target: str
    library: str
    precision: str
    kernels: int | None
    rows: tuple[EngineRow, ...] = ()
    inserted: tuple[EngineRow, ...] = ()

    def copies(self) -> list[str]:
        """Return the kernels inside the network that only move data."""
        return self._named(lambda row: row.moves_only and not row.at_edge)

    def wide(self) -> list[str]:
        """Return the kernels that lost the engine's precision."""
        return self._named(lambda row: row.wide)

    def _named(self, wanted: Any) -> list[str]:
        rows = (row for row in (*self.rows, *self.inserted) if wanted(row))
        return list(dict.fromkeys(row.kernel for row in rows))


def read_engine_view(package: Package, piece: PieceNotes | None = None) -> EngineView:
    """Read the table of a package's engine.

    Args:
        package: Checked; of a target whose library lists no kernels, it has none.
        piece: Which of its engines, where it has a mix of them.

    Raises:
        PackageError: The tables are damaged or do not fit each other.
    """
    manifest = package.manifest
    notes, precision = manifest.engine, manifest.options.precision
    target, folder, prefix = manifest.target, "", ""
    ends = {spec.name for spec in (*manifest.inputs, *manifest.outputs)}
    if piece is not None:
        notes, target, folder = piece.engine, piece.target, f"{piece.folder}/"
        prefix, ends = f"{Path(piece.folder).name}:", {*piece.inputs, *piece.outputs}
    library = f"{notes.get('library', target)} {notes.get('version', '')}".strip()
    listed = notes.get("layers")
    if listed is None:
        return EngineView(target, library, precision, None)
    try:
        if f"{folder}{listed}" not in manifest.files:
            raise ValueError(f"the manifest lists no file '{folder}{listed}'")
        kernels = _read(package.path / f"{folder}{listed}")
        layers = _read(package.path / "layers.json")
        if piece is not None:
            layers = [_within(row, prefix) for row in layers if row["keras"] in piece.layers]
        rows, inserted = _rows(layers, kernels, ends, precision)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PackageError(
            f"the tables of package {package.path} are damaged",
            found=f"{type(error).__name__}: {error}",
            hint="build the package again",
        ) from error
    return EngineView(target, library, precision, len(kernels), rows, inserted)


def _within(row: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return a layer's row with the kernels of one piece alone."""
    own = [name.removeprefix(prefix) for name in row["engine"] if name.startswith(prefix)]
    return {**row, "engine": own}


def _read(path: Path) -> list[dict[str, Any]]:
    table = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(table, list):
        raise TypeError(f"{path.name} holds no list")
    return table


def _rows(
    layers: Sequence[Mapping[str, Any]],
    kernels: Sequence[Kernel],
    ends: set[str],
    precision: Precision,
) -> tuple[tuple[EngineRow, ...], tuple[EngineRow, ...]]:
    by_name = {kernel["name"]: kernel for kernel in kernels}
    owners: dict[str, list[str]] = {name: [] for name in by_name}
    for layer in layers:
        for name in layer["engine"]:
            owners[name].append(layer["keras"])
    rows: list[EngineRow] = []
    for layer in layers:
        who = (layer["keras"], layer["class"], tuple(layer["lowered"]))
        if not layer["engine"]:
            rows.append(EngineRow(*who, remark=layer["fused"] or _writers(who[2], kernels)))
        for name in layer["engine"]:
            others = tuple(owner for owner in owners[name] if owner != layer["keras"])
            row = EngineRow(*who, fused_with=others)
            rows.append(_filled(row, by_name[name], ends, precision))
    lonely = [by_name[name] for name, names in owners.items() if not names]
    inserted = [_filled(EngineRow("", "", tuple(k["nodes"])), k, ends, precision) for k in lonely]
    return tuple(rows), tuple(inserted)


def _filled(row: EngineRow, kernel: Kernel, ends: set[str], precision: Precision) -> EngineRow:
    """Return a row with what the engine says about its kernel."""
    tensors = [*kernel["inputs"], *kernel["outputs"]]
    return replace(
        row,
        kernel=kernel["name"],
        kind=kernel["kind"],
        inputs=tuple(map(_described, kernel["inputs"])),
        outputs=tuple(map(_described, kernel["outputs"])),
        at_edge=any(tensor["name"] in ends for tensor in tensors),
        moves_only=moves_only(kernel),
        wide=is_wide(kernel, ends, precision),
    )


def is_wide(kernel: Kernel, ends: set[str], precision: Precision) -> bool:
    """Say whether a kernel works in a wider type than asked for; the network's ends may be wide."""
    wanted = _PRODUCTS.get(precision)
    if wanted is not None and kernel["kind"] in _HEAVY:
        return str(kernel["inputs"][0]["type"]) != wanted
    narrow = _NARROW.get(precision, _FLOATS)
    inside = [
        tensor["type"]
        for tensor in (*kernel["inputs"], *kernel["outputs"])
        if tensor["name"] not in ends
    ]
    return any(kind in _FLOATS and kind not in narrow for kind in inside)


def _writers(nodes: Sequence[str], kernels: Sequence[Kernel]) -> str:
    """Say which kernels write where a layer without one has its value: a concatenation's parts."""
    names = "|".join(map(re.escape, nodes))
    # The engine calls a tensor after its node: ``join0_U59.1_myl0``.
    place = re.compile(rf"^(?:{names})(?:_U\d+)?\.\d")
    found = [
        str(kernel["name"])
        for kernel in kernels
        if any(place.match(tensor["name"]) for tensor in kernel["outputs"])
    ]
    return f"written in place by {', '.join(found)}" if found and nodes else "no kernel of its own"


def moves_only(kernel: Kernel) -> bool:
    """Say whether a kernel computes nothing: its name lists what it does."""
    steps = _STEPS.match(kernel["name"])
    if steps is None:
        return str(kernel["kind"]).lower() in _MOVING_KINDS
    return set(_STEP.findall(steps.group(1))) <= _MOVING


def _described(tensor: Mapping[str, Any]) -> str:
    found = _FORMAT.match(tensor["format"])
    return f"{tensor['type']} {found.group(1) if found else tensor['format']}"
