"""Build and open packages of a network on two engines."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import onnx_ir as ir

from segrt.errors import PackageError, SegrtError, UnsupportedLayerError
from segrt.graph import metadata
from segrt.graph.inner_ranges import note_inner_ranges
from segrt.graph.stitch import distinct, stitch
from segrt.targets._base import REGISTRY, Built, Lowering, Session, Target
from segrt.targets._engine import save_model
from segrt.targets._mix import Table, divide, refusals, refused_error, with_late
from segrt.targets._mix_cost import measured, priced
from segrt.targets._mix_notes import MixNotes, PieceNotes
from segrt.targets._pieces import Piece, PiecedSession, Runner, open_pieces
from segrt.types import BuildOptions, Precision, Verdict

Lowered: TypeAlias = tuple[ir.Model, tuple[Verdict, ...]]
Lower: TypeAlias = Callable[[ir.Model, Lowering], Lowered]


@dataclass(frozen=True, slots=True)
class Mixed:
    """A network built on two engines.

    Attributes:
        built: As of one engine; its layers are named ``0:kernel``, the piece in front.
        model: What the engines run, put together again.
        verdicts: What the passes did.
        notes: For the manifest.
        places: Node of ``model`` -> piece and target that run it.
    """

    built: Built
    model: ir.Model
    verdicts: tuple[Verdict, ...]
    notes: MixNotes
    places: dict[str, str]


@dataclass(frozen=True, slots=True)
class Engines:
    """The target, the one that stands in for it, and their options."""

    target: Target
    fallback: Target
    options: BuildOptions

    def of(self, *, taken: bool) -> tuple[Target, BuildOptions]:
        """Return what runs the pieces that the target takes, or the others."""
        return (
            (self.target, self.options)
            if taken
            else (self.fallback, fallback_options(self.options))
        )


def fallback_options(options: BuildOptions) -> BuildOptions:
    """Return how the fallback is built: exactly, and by its own ways."""
    return replace(options, precision=Precision.FP32, upsampling=None, via=None, fallback=None)


def survey(
    target: Target, lowered: Sequence[Lowered], options: BuildOptions
) -> tuple[Lowered, Table]:
    """Return the lowering of which a target refuses least, and what it refuses of it."""
    tables = [target.takes(model, options) for model, _ in lowered]
    counts = [sum(why is not None for why in table.values()) for table in tables]
    index = counts.index(min(counts))
    return lowered[index], tables[index]


def explained(
    target: Target, lowered: Sequence[Lowered], options: BuildOptions, error: SegrtError
) -> Exception:
    """Return the error to raise where a target refuses a network: with all that it refuses."""
    try:
        _, table = survey(target, lowered, options)
    except SegrtError:
        return error
    if isinstance(error, UnsupportedLayerError):
        table = with_late(table, error) or table
    refused = refusals(table)
    return refused_error(target.name, refused, error.hint) if refused else error


def build_mix(
    engines: Engines,
    lowered: Sequence[Lowered],
    lower: Lower,
    folder: Path,
    late: UnsupportedLayerError | None = None,
) -> Mixed | None:
    """Build the pieces into ``folder/engines/<n>``, and ``folder/model.onnx`` of them all.

    An engine may take each node alone and refuse some where it is built, in their company: those
    go to the fallback, too.

    Args:
        engines: The target and the fallback.
        lowered: The network as each of the target's lowerings makes it.
        lower: Applies a lowering.
        folder: Where to write.
        late: With what the target refused the whole network when it was built.

    Returns:
        None where the target takes the whole network, and nothing was written.

    Raises:
        UnsupportedLayerError: The fallback refuses layers as well; all are listed.
        SegrtError: As the targets' `build`.
    """
    chosen, table = survey(engines.target, lowered, engines.options)
    if late is not None:
        table = with_late(table, late) or table
    if not refusals(table):
        return None
    note_inner_ranges(chosen[0])
    while True:
        try:
            return _build_pieces(engines, chosen, table, lower, folder)
        except UnsupportedLayerError as error:
            more = with_late(table, error)
            if more is None:
                raise
            table = more
            shutil.rmtree(folder / "engines", ignore_errors=True)


def _build_pieces(
    engines: Engines, lowered: Lowered, table: Table, lower: Lower, folder: Path
) -> Mixed:
    (model, verdicts), refused = lowered, refusals(table)
    target, fallback = engines.target, engines.fallback
    pieces = divide(model, table, target.name)
    notes: list[PieceNotes] = []
    models: list[ir.Model] = []
    kernels: dict[str, list[str]] = {}
    places: dict[str, str] = {}
    names = _names(model)
    for number, piece in enumerate(pieces):
        place = folder / f"engines/{number}"
        place.mkdir(parents=True)
        chosen, options = engines.of(taken=piece.taken)
        graphs = _lowerings(piece, chosen, options, lower, names)
        if not piece.taken:
            _check_taken(fallback, graphs, options)
        built = chosen.build(tuple(graph for graph, _ in graphs), options, place)
        graph, more = graphs[built.lowering]
        verdicts = (*verdicts, *more)
        models.append(_tagged(graph, built, chosen))
        names |= _names(graph)
        kernels |= {k: [f"{number}:{one}" for one in v] for k, v in built.layers.items()}
        places |= {str(node.name): f"engines/{number}: {chosen.name}" for node in graph.graph}
        notes.append(_notes(number, piece, graph, chosen, built))
    whole = stitch(models, model)
    save_model(whole, folder / "model.onnx")
    mix = priced(MixNotes(fallback.name, refused, tuple(notes), 0, 0, 0, ""), whole)
    if all(engine.availability().can_run for engine in (target, fallback)):
        mix = measured(mix, whole, lambda: _runners(mix, folder, engines))
    return Mixed(Built({"library": "mix"}, layers=kernels), whole, verdicts, mix, places)


def open_mix(folder: Path, notes: MixNotes, engines: Engines) -> Session:
    """Open every piece of a package and return the session over them.

    Raises:
        PackageError: A piece is not what the manifest says.
        SegrtError: As the targets' `open`.
    """
    return PiecedSession(ir.load(folder / "model.onnx"), _runners(notes, folder, engines))


def open_mixed_model(model: ir.Model, engines: Engines) -> PiecedSession:
    """Open a graph in memory whose nodes say which engine runs them.

    Args:
        model: Cut from that of a package, or the whole of it.
        engines: Those of the package.

    Raises:
        SegrtError: As the targets' `open_model`.
    """

    def takes(node: ir.Node) -> bool:
        return metadata.engine_of(node) == engines.target.name

    def opener(piece: Piece) -> Runner:
        target, options = engines.of(taken=piece.taken)
        # Of `cpu` the library that was chosen when the package was built.
        chosen = REGISTRY.find(metadata.engine_of(piece.model.graph[0])) or target
        return chosen.open_model(piece.model, options)

    return open_pieces(model, takes, opener)


def _runners(notes: MixNotes, folder: Path, engines: Engines) -> list[tuple[Piece, Runner]]:
    parts: list[tuple[Piece, Runner]] = []
    try:
        for piece in notes.pieces:
            place = folder / piece.folder
            graph = ir.load(place / "model.onnx")
            part = Piece(graph, piece.taken)
            if (part.inputs, part.outputs) != (piece.inputs, piece.outputs):
                raise PackageError(
                    f"{piece.folder}/model.onnx is not the piece that the manifest describes",
                    found=f"{part.inputs} -> {part.outputs}",
                    wanted=f"{piece.inputs} -> {piece.outputs}",
                    hint="build the package again",
                )
            target, options = engines.of(taken=piece.taken)
            parts.append((part, target.open(place, piece.engine, options)))
    except BaseException:
        for _, runner in parts:
            runner.close()
        raise
    return parts


def _lowerings(
    piece: Piece, target: Target, options: BuildOptions, lower: Lower, names: set[str]
) -> list[Lowered]:
    """Return the graphs of a piece that its target is to build one of.

    The target's own pieces are lowered already where it has but one way; names that passes made up
    are told apart from those of the other pieces.
    """
    wanted = target.lowerings(piece.model, options)
    if piece.taken and len(wanted) == 1:
        return [(piece.model, ())]
    made = [lower(piece.model, one) for one in wanted]
    for graph, _ in made:
        distinct(graph, names - _names(piece.model))
    return made


def _check_taken(fallback: Target, graphs: Sequence[Lowered], options: BuildOptions) -> None:
    _, table = survey(fallback, graphs, options)
    refused = refusals(table)
    if refused:
        shown = "".join(f"\n  {row.layer} ({row.op}): {row.why}" for row in refused)
        raise UnsupportedLayerError(
            f"the fallback {fallback.name!r} refuses {len(refused)} nodes too:{shown}",
            [(row.layer, row.op) for row in refused],
            hint="choose another fallback",
        )


def _tagged(graph: ir.Model, built: Built, target: Target) -> ir.Model:
    library = str(built.engine.get("library"))
    engine = library if REGISTRY.find(library) is not None else target.name
    for node in graph.graph:
        metadata.set_engine(node, engine)
    return graph


def _notes(number: int, piece: Piece, graph: ir.Model, target: Target, built: Built) -> PieceNotes:
    layers = dict.fromkeys(metadata.layer_of(node) or str(node.name) for node in graph.graph)
    return PieceNotes(
        folder=f"engines/{number}",
        target=target.name,
        taken=piece.taken,
        engine=built.engine,
        layers=tuple(layers),
        inputs=piece.inputs,
        outputs=piece.outputs,
    )


def _names(model: ir.Model) -> set[str]:
    """Return the names of values, weights and nodes."""
    graph = model.graph
    values: list[ir.Value] = [*graph.inputs, *graph.initializers.values()]
    names = {str(value.name) for value in values}
    for node in graph:
        names |= {str(node.name), *(str(value.name) for value in node.outputs)}
    return names


__all__ = [
    "Engines",
    "Lower",
    "Lowered",
    "Mixed",
    "build_mix",
    "explained",
    "fallback_options",
    "open_mix",
    "open_mixed_model",
]
