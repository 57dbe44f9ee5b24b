"""The contract of a peer, and of whatever is timed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import onnx_ir as ir

from segrt._registry import Registry
from segrt.targets._base import Array
from segrt.types import Precision


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be run.

    Attributes:
        model: The network as it was imported, before any pass; all sizes are known.
        feeds: Its inputs, in the source's layout.
        precision: The type that the package computes in.
        on_gpu: Whether the package runs on a GPU.
        threads: Of the CPU; None: as the library chooses.
        mode: One of the peer's modes; "" for what suits.
    """

    model: ir.Model
    feeds: Mapping[str, Array]
    precision: Precision
    on_gpu: bool
    threads: int | None
    mode: str = ""


class Contender(Protocol):
    """A network that is ready to be timed, inputs in place.

    Attributes:
        note: What a reader of the times should know, "" if nothing.
        memory_bytes: What it holds, None if that is unknown.
    """

    note: str
    memory_bytes: int | None

    def outputs(self) -> list[Array]:
        """Run once and return the outputs in the graph's order, in the source's layout."""
        ...

    def sample(self) -> float:
        """Run, wait, and return how long one run took, in milliseconds."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


class Peer(ABC):
    """One other way to run a network; stateless, registered under its name.

    It runs in a process of its own, so it may set what holds for a whole process.

    Attributes:
        name: As registered and as asked for.
        install: The command that installs it.
        modes: What may be asked for behind its name and a colon.
    """

    name: str
    install: str
    modes: tuple[str, ...] = ()

    @abstractmethod
    def open(self, task: Task) -> Contender:
        """Make a network ready.

        Raises:
            UnavailableError: The library is missing, or cannot do what is asked here.
            UnsupportedLayerError: Operators that have no translation.
            EngineError: The library fails.
        """


REGISTRY: Registry[Peer] = Registry("peer", "segrt.measurement.peers")
