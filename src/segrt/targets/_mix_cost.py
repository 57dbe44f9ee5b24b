"""What it costs to run a network on two engines: bytes handed over, and the time of a part."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

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
    # Sizes that the graph computes itself are followed too.
    ShapeInferencePass(data_prop=True)(fixed)
    batch = max((shape[0] for shape in shapes.values() if shape), default=1)
    sizes = {str(value.name): _bytes(value) for node in fixed.graph for value in node.outputs}
    inputs = {str(value.name) for value in model.graph.inputs}
    ends = inputs | {str(value.name) for value in model.graph.outputs}
    reads = [name for piece in notes.pieces for name in piece.inputs if name not in inputs]
    gpus = [piece for piece in notes.pieces if _on_gpu(piece)]
    # An inner value that is an output too comes back from the GPU anyway.
    bus = [name for piece in gpus for name in piece.inputs if name not in inputs]
    bus += [name for piece in gpus for name in piece.outputs if name not in ends]

    def total(names: list[str]) -> int | None:
        known = [size for name in names if (size := sizes[name]) is not None]
        return sum(known) // batch if len(known) == len(names) else None

    image = ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in shapes.items())
    return replace(
        notes,
        crossings=len(reads),
        crossing_bytes=total(reads),
        bus_bytes=total(bus),
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


def _bytes(value: ir.Value) -> int | None:
    if value.shape is None or value.dtype is None or not value.shape.is_static():
        return None
    return int(prod(value.shape.numpy()) * value.dtype.itemsize)


__all__ = ["measured", "priced"]
