"""What it costs to run a network on two engines: bytes handed over, and the time of a part."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import onnx_ir as ir

from segrt.graph.fix_shapes import fix_shapes
from segrt.targets._base import REGISTRY, Array, Feeds
from segrt.targets._measure import sample_feeds
from segrt.targets._mix_notes import MixNotes, PieceNotes
from segrt.targets._pieces import Piece, PiecedSession, Runner

_ROUNDS, _FEWEST, _BUDGET_S = 20, 3, 3.0


def priced(notes: MixNotes, model: ir.Model) -> MixNotes:
    """Add what is handed from piece to piece, one image at a time.

    Args:
        notes: Which pieces there are.
        model: The whole graph; where sizes are free, those of a trial image are taken.
    """
    shapes = {name: array.shape for name, array in sample_feeds(model).items()}
    fixed = fix_shapes(model, shapes)
    batch = max((shape[0] for shape in shapes.values() if shape), default=1)
    sizes = {str(v.name): _bytes(v) // batch for node in fixed.graph for v in node.outputs}
    ends = {str(value.name) for value in (*model.graph.inputs, *model.graph.outputs)}
    inputs = {str(value.name) for value in model.graph.inputs}
    reads = [name for piece in notes.pieces for name in piece.inputs if name not in inputs]
    bus = 0
    for piece in notes.pieces:
        if _on_gpu(piece):
            # An inner value that is an output too comes back anyway.
            bus += sum(sizes[name] for name in piece.inputs if name not in inputs)
            bus += sum(sizes[name] for name in piece.outputs if name not in ends)
    image = ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in shapes.items())
    return replace(
        notes,
        crossings=len(reads),
        crossing_bytes=sum(sizes[name] for name in reads),
        bus_bytes=bus,
        image=image,
    )


def measured(
    notes: MixNotes, model: ir.Model, opener: Callable[[], Sequence[tuple[Piece, Runner]]]
) -> MixNotes:
    """Add the time of the fallback's pieces and of the whole: medians of a few runs."""
    parts = [(piece, _Timed(runner)) for piece, runner in opener()]
    feeds = sample_feeds(model)
    totals: list[float] = []
    fallback: list[float] = []
    with PiecedSession(model, parts) as session:
        session.run(feeds)
        started = time.perf_counter()
        while len(totals) < _ROUNDS:
            before = time.perf_counter()
            if len(totals) >= _FEWEST and before - started > _BUDGET_S:
                break
            session.run(feeds)
            totals.append((time.perf_counter() - before) * 1e3)
            fallback.append(sum(runner.last_ms for piece, runner in parts if not piece.taken))
    return replace(
        notes,
        fallback_ms=round(statistics.median(fallback), 3),
        total_ms=round(statistics.median(totals), 3),
    )


class _Timed:
    """A runner with a stopwatch."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.last_ms = 0.0

    def run(self, feeds: Feeds) -> dict[str, Array]:
        before = time.perf_counter()
        results = self._runner.run(feeds)
        self.last_ms = (time.perf_counter() - before) * 1e3
        return results

    def close(self) -> None:
        self._runner.close()


def _on_gpu(piece: PieceNotes) -> bool:
    target = REGISTRY.find(piece.target)
    return target is not None and target.on_gpu


def _bytes(value: ir.Value) -> int:
    if value.shape is None or value.dtype is None:
        return 0
    count = 1
    for size in value.shape.numpy():
        count *= size
    return int(count * value.dtype.itemsize)


__all__ = ["measured", "priced"]
