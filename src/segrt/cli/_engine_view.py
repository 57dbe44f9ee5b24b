"""What `segrt inspect --engine` prints: each Keras layer and the kernels it became."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from segrt.targets._mix_notes import MixNotes
    from segrt.targets.trt.engine_view import EngineRow, EngineView


def show(package: Path, *, as_json: bool) -> None:
    """Print the table of a package's engine."""
    from segrt.cli import _console
    from segrt.targets._package import load_package
    from segrt.targets.trt.engine_view import read_engine_view

    checked = load_package(package)
    mix = checked.manifest.fallback
    if mix is None:
        view = read_engine_view(checked)
        if as_json:
            _console.write_json(described(view))
        else:
            show_one("Engine", view)
        return
    views = [(piece, read_engine_view(checked, piece)) for piece in mix.pieces]
    if as_json:
        pieces = [{**asdict(piece), "view": described(view)} for piece, view in views]
        _console.write_json({**asdict(mix), "pieces": pieces})
        return
    show_mix(mix, checked.manifest.target)
    for piece, view in views:
        if view.kernels is not None:
            show_one(piece.folder, view)


def described(view: EngineView) -> dict[str, object]:
    """Return a view for JSON."""
    return {**asdict(view), "copies": view.copies(), "wide": view.wide()}


def show_mix(mix: MixNotes, target: str) -> None:
    """Print which layers run where, why, and what it costs."""
    from segrt.cli import _console
    from segrt.targets._mix_words import remarks

    table = _console.table("Pieces", "piece", "runs on", "library", "layers", "reads", "writes")
    for piece in mix.pieces:
        table.add_row(
            piece.folder,
            piece.target,
            f"{piece.engine.get('library', '')} {piece.engine.get('version', '')}".strip(),
            ", ".join(piece.layers),
            ", ".join(piece.inputs),
            ", ".join(piece.outputs),
            style="" if piece.taken else "bold yellow",
        )
    console = _console.results()
    console.print(table)
    console.print("\n".join(remarks(mix, target)), markup=False)


def show_one(title: str, view: EngineView) -> None:
    """Print one engine's kernels."""
    from segrt.cli import _console

    console = _console.results()
    if view.kernels is None:
        console.print(
            f"target {view.target!r}: {view.library} does not list what it made of the layers; "
            "layers.json in the package says what the passes did",
            markup=False,
        )
        return
    console.print(engine_table(title, view.rows))
    if view.inserted:
        console.print(engine_table("Kernels of no layer", view.inserted))
    console.print(foot_text(view), markup=False)


def engine_table(title: str, rows: Sequence[EngineRow]) -> Table:
    """Return the table of rows; what costs time or exactness stands out."""
    from segrt.cli import _console

    table = _console.table(
        title, "layer", "class", "nodes", "kernel", "kind", "fused with", "reads", "writes", "note"
    )
    for row in rows:
        bad = row.wide or (row.moves_only and not row.at_edge)
        table.add_row(
            row.keras,
            row.class_name,
            ", ".join(row.nodes),
            row.kernel,
            row.kind,
            ", ".join(row.fused_with),
            ", ".join(dict.fromkeys(row.inputs)),
            ", ".join(dict.fromkeys(row.outputs)),
            note(row),
            style="bold yellow" if bad else "" if row.kernel else "dim",
        )
    return table


def note(row: EngineRow) -> str:
    """Say in a few words what is special about a row."""
    notes = [row.remark] if row.remark else []
    if row.moves_only:
        notes.append("moves data at the edge" if row.at_edge else "MOVES DATA ONLY")
    if row.wide:
        notes.append("WIDER THAN ASKED FOR")
    return ", ".join(notes)


def foot_text(view: EngineView) -> str:
    """Return the sums, one fact a line."""
    copies, wide = view.copies(), view.wide()
    lines = [f"{view.kernels} kernels of {view.library}, built for {view.precision}"]
    lines.append(_sum(copies, "move data only, inside the network"))
    lines.append(_sum(wide, f"read or write a wider type than {view.precision}"))
    return "\n".join(lines)


def _sum(kernels: Sequence[str], what: str) -> str:
    return f"{len(kernels)} {what}" + (f": {', '.join(kernels)}" if kernels else "")
