"""Inner values of a graph, a bounded number of bytes at a time.

A graph is run as a target would run it, with some inner values as further outputs; nodes that do
not lead to them are left out. Which values fit into one run follows from their sizes, which
ONNX's shape inference tells for the sizes of the inputs at hand. The engine's own buffers come on
top: they are those of a usual run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from segrt.graph.builder import infer_node
from segrt.targets._base import Feeds

Array: TypeAlias = npt.NDArray[Any]

DEFAULT_BUDGET_BYTES = 256 << 20


class Runner(Protocol):
    """The part of `segrt.targets._base.Session` that is needed here."""

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Run once."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


Opener: TypeAlias = Callable[[ir.Model], Runner]


class InnerValues:
    """Runs a graph and hands out inner values by their ONNX names.

    Args:
        model: Not changed.
        opener: Opens a graph on whatever shall run it.
        budget_bytes: The largest sum of values handed out by one run. A single value of a single
            image may be larger; it is then alone in its run.
    """

    def __init__(self, model: ir.Model, opener: Opener, budget_bytes: int) -> None:
        self._model = model
        self._opener = opener
        self._budget = budget_bytes
        self._runner: Runner | None = None
        self._exposed: tuple[str, ...] = ()
        self._needed: tuple[str, ...] = ()
        self._batch = fixed_batch(model)

    def groups(self, names: Iterable[str], costs: Mapping[str, int | None]) -> list[list[str]]:
        """Split ``names``, in their order, into groups whose costs fit into the budget.

        Args:
            names: ONNX value names.
            costs: Bytes of each; a missing or unknown one is put into a group of its own.
        """
        groups: list[list[str]] = []
        filled = self._budget + 1
        for name in names:
            cost = costs.get(name)
            filled = self._budget + 1 if cost is None else filled + cost
            if filled > self._budget:
                groups.append([])
                filled = self._budget if cost is None else cost
            groups[-1].append(name)
        return groups

    def fetch(self, names: Collection[str], feeds: Feeds) -> dict[str, Array]:
        """Run once and return some values; the caller minds their size (`groups`).

        A graph with a fixed batch is run as often as it takes; the last run is filled up with
        copies of the last image, which are cut off again.
        """
        self._expose(tuple(names))
        values: dict[str, Array] = {name: feeds[name] for name in names if name in feeds}
        if self._runner is not None:
            wanted = {name: np.asarray(feeds[name]) for name in self._needed}
            values |= run_in_batches(self._runner, wanted, self._batch)
        return values

    def close(self) -> None:
        """Free the open session."""
        if self._runner is not None:
            self._runner.close()
        self._runner, self._exposed = None, ()

    def _expose(self, names: tuple[str, ...]) -> None:
        if names == self._exposed:
            return
        self.close()
        fed = {value.name for value in self._model.graph.inputs}
        inner = [name for name in names if name not in fed]
        if inner:
            model = exposed(self._model, inner)
            self._needed = tuple(str(value.name) for value in model.graph.inputs)
            self._runner = self._opener(model)
        self._exposed = names


def exposed(model: ir.Model, names: Iterable[str]) -> ir.Model:
    """Return a new model that computes just the values ``names``, from the same inputs."""
    graph = ir.convenience.extract(model.graph, list(model.graph.inputs), list(names))
    for value in [value for value in graph.inputs if not value.uses()]:
        graph.inputs.remove(value)
    return ir.Model(
        graph,
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        functions=list(model.functions.values()),
        metadata_props=dict(model.metadata_props),
    )


def fixed_batch(model: ir.Model) -> int | None:
    """Return the batch size that a graph's inputs fix, None if it is free."""
    sizes = {value.shape[0] for value in model.graph.inputs if value.shape}
    size = sizes.pop() if len(sizes) == 1 else None
    return size if isinstance(size, int) else None


def run_in_batches(runner: Runner, feeds: Feeds, batch: int | None) -> dict[str, Array]:
    """Run all rows of ``feeds``, ``batch`` at a time (None: at once); see `InnerValues.fetch`."""
    total = len(next(iter(feeds.values()))) if feeds else 0
    if batch is None or total == batch or not feeds:
        return runner.run(feeds)
    pieces: list[dict[str, Array]] = []
    for start in range(0, total, batch):
        take = np.minimum(np.arange(start, start + batch), total - 1)
        outputs = runner.run({name: array[take] for name, array in feeds.items()})
        count = min(batch, total - start)
        # A value without a batch axis is kept as it is; its shape will give it away.
        pieces.append({k: v[:count] if v.shape[:1] == (batch,) else v for k, v in outputs.items()})
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def value_bytes(model: ir.Model, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int | None]:
    """Return the size of every value in bytes, for inputs of the given shapes.

    None where shape inference does not know it.
    """
    copy = model.clone()
    for value in copy.graph.inputs:
        if value.name is not None and value.name in shapes:
            value.shape = ir.Shape(shapes[value.name])
    sizes: dict[str, int | None] = {str(v.name): _bytes(v) for v in copy.graph.inputs}
    for node in copy.graph:
        for output in node.outputs:
            output.shape = None
        # Behind an operator that ONNX does not know, the sizes are unknown too.
        with contextlib.suppress(
            onnx.shape_inference.InferenceError, onnx.defs.SchemaError, ValueError
        ):
            infer_node(node)
        sizes |= {str(output.name): _bytes(output) for output in node.outputs}
    return sizes


def _bytes(value: ir.Value) -> int | None:
    if value.shape is None or value.dtype is None:
        return None
    count = 1
    for size in value.shape:
        if not isinstance(size, int):
            return None
        count *= size
    return int(count * value.dtype.itemsize)
