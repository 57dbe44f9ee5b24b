"""The contract of a target and of a session."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt._registry import Registry
from segrt.types import BuildOptions, TensorSpec, TileGrid

Array: TypeAlias = npt.NDArray[Any]
Feeds: TypeAlias = Mapping[str, npt.NDArray[np.generic]]


@runtime_checkable
class Session(Protocol):
    """A network ready to run. Arrays are in the source's layout (NHWC for most Keras models)."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` wants."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` returns."""
        ...

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Run once.

        Args:
            feeds: One array per input name, in the source's layout; cast to the input's dtype
                where that loses nothing (integers, half, double), refused otherwise.

        Returns:
            One new array per output name.

        Raises:
            ShapeError: A name is missing or unknown, or a shape does not fit.
            EngineError: The library failed.
        """
        ...

    def close(self) -> None:
        """Free what the session holds; closing twice is allowed, running afterwards is not."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...


@runtime_checkable
class TileRunner(Protocol):
    """A session that can also cut an image into tiles and put their results together by itself."""

    def run_tiles(self, image: Array, grid: TileGrid, batch: int, output: str) -> Array | None:
        """Run all tiles of an image.

        Args:
            image: As the only input wants it, but as large as the grid says and without its batch.
            grid: The tiles.
            batch: How many are run at once; the last batch is filled up.
            output: Name of the output to put together.

        Returns:
            float32 ``(height, width, channels)``; None where it cannot be done this way: memory is
            short, or the output is no map of the input's size.

        Raises:
            ShapeError: The network does not take these sizes.
            EngineError: The library failed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a target can build and run here.

    Attributes:
        can_build: Engines can be built on this machine.
        can_run: Engines can be run on this machine.
        detail: The library's version, or why not.
        hint: What to install; "" when nothing is missing.
    """

    can_build: bool
    can_run: bool
    detail: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Lowering:
    """The passes a target wants.

    Attributes:
        upsampling_forms: Names of upsampling forms, favourite first; the planner takes the first
            one that is exact at each place.
        extra_passes: Names of the optional passes that pay in this engine.
    """

    upsampling_forms: tuple[str, ...]
    extra_passes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Built:
    """What a target's `build` left in the package directory.

    Attributes:
        engine: What the session needs to know, as JSON values (library, version, chosen ...).
        lowering: Which of the lowered models was written as ``model.onnx``.
        layers: Node of that model -> the engine's own layers that it became part of, where the
            library tells.
    """

    engine: dict[str, Any]
    lowering: int = 0
    layers: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Target(ABC):
    """One thing to build for; stateless, registered under its name.

    Attributes:
        name: As registered.
        on_gpu: Whether its engines run on a GPU.
        routes: Ways from the graph to the engine (`BuildOptions.via`), the usual one first;
            empty where there is but one.
        measures: Whether `build` takes times that decide: nothing else should run meanwhile.
    """

    name: str
    on_gpu: bool = False
    measures: bool = True
    routes: tuple[str, ...] = ()

    @abstractmethod
    def availability(self) -> Availability:
        """Say whether it can build and run here; never raises."""

    def resolve(self, model: ir.Model, options: BuildOptions) -> BuildOptions:
        """Fill in what was left open and the target cannot leave open; the rest stays."""
        return options

    @abstractmethod
    def lowerings(self, model: ir.Model, options: BuildOptions) -> tuple[Lowering, ...]:
        """Return the lowerings worth trying, best guess first.

        With more than one, `build` is given all the lowered models and picks by measuring.
        """

    @abstractmethod
    def takes(self, model: ir.Model, options: BuildOptions) -> dict[ir.Node, str | None]:
        """Say of every node of a lowered graph why it is refused; None: it is taken.

        Raises:
            EngineError: The graph is refused, and no node can be blamed.
            UsageError: Options that the target does not have.
            UnavailableError: The target's library is missing here.
        """

    @abstractmethod
    def build(self, models: tuple[ir.Model, ...], options: BuildOptions, folder: Path) -> Built:
        """Write the chosen model to ``folder/model.onnx`` and the engine's files beside it."""

    @abstractmethod
    def open(self, folder: Path, engine: Mapping[str, Any], options: BuildOptions) -> Session:
        """Open a session on a package directory that `build` wrote and a loader has checked."""

    @abstractmethod
    def open_model(self, model: ir.Model, options: BuildOptions) -> Session:
        """Open a session on a graph in memory: used to look at inner values in ``verify``."""


REGISTRY: Registry[Target] = Registry("target", "segrt.targets")
