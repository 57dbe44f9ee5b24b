"""The contract of a gauge."""

from __future__ import annotations

import statistics
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from segrt._registry import Registry
from segrt.graph import metadata
from segrt.measurement.timing import Sample
from segrt.targets._base import Feeds, Session
from segrt.targets._processor import processor_name
from segrt.types import BuildOptions


@dataclass(frozen=True, slots=True)
class LayerTime:
    """What one step of an engine takes.

    Attributes:
        layers: The Keras layers that it computes; () for changes of layout and the like.
        operation: What it does, in the engine's words.
        how: The kernel or algorithm, as far as the engine tells.
        time_ms: Median over some runs.
    """

    layers: tuple[str, ...]
    operation: str
    how: str
    time_ms: float


@dataclass(frozen=True, slots=True)
class Deployed:
    """What a package runs, for a gauge to open once more.

    Attributes:
        path: The graph's file.
        model: The graph itself.
        options: What it was built with.
    """

    path: Path
    model: ir.Model
    options: BuildOptions


class Gauge(ABC):
    """Looks into the sessions of one target; stateless, registered under the target's name."""

    def device_name(self, session: Session) -> str:
        """Return the name of what it runs on."""
        del session
        return processor_name()

    def device_sample(self, session: Session) -> Sample | None:
        """Return what times the network alone, input and output on the device.

        It is called after a run, and times the sizes of that run. None: the host's clock around
        `run` is all there is.
        """
        del session
        return None

    def memory_bytes(self, session: Session, feeds: Feeds) -> int | None:
        """Return the bytes that the session holds for these sizes, None if it does not tell."""
        del session, feeds
        return None

    @abstractmethod
    def layers(self, deployed: Deployed, session: Session, feeds: Feeds) -> list[LayerTime]:
        """Return what each step takes, in the order they run.

        Raises:
            UnavailableError: The target does not tell.
        """


REGISTRY: Registry[Gauge] = Registry("gauge", "segrt.measurement.gauges")


class Names:
    """Which Keras layers the names that an engine uses belong to.

    Args:
        model: The graph that the engine runs.
    """

    def __init__(self, model: ir.Model) -> None:
        self._layers: dict[str, str] = {}
        for node in model.graph:
            layer = metadata.layer_of(node)
            for name in (node.name, *(value.name for value in node.outputs)):
                if name and layer:
                    self._layers[name] = layer

    def find(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the layers of some nodes, in their order; names nobody knows are left out."""
        return tuple(dict.fromkeys(self._layers[n] for n in names if n in self._layers))


def medians(runs: Iterable[Iterable[tuple[str, LayerTime]]]) -> list[LayerTime]:
    """Return the medians of the rows of several runs.

    Args:
        runs: Of each run the rows with the engine's names for them; a name that comes again in a
            run is another row.
    """
    gathered: dict[tuple[str, int], list[LayerTime]] = {}
    for run in runs:
        seen: Counter[str] = Counter()
        for name, row in run:
            gathered.setdefault((name, seen[name]), []).append(row)
            seen[name] += 1
    return [
        replace(rows[0], time_ms=statistics.median(row.time_ms for row in rows))
        for rows in gathered.values()
    ]
