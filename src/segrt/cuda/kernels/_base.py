"""What a kernel of the engine is: a source made for one shape, its geometry, its reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from segrt._registry import Registry
from segrt.cuda.kernels._limits import require
from segrt.cuda.views import View

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Map:
    """A tensor map: how the bulk copy engine takes boxes out of a source.

    The kernel gets its address as a pointer behind the sources'.

    Attributes:
        source: Which of the spec's sources.
        box: Channels, width and height of a box; channels are 128 bytes, which are swizzled.
    """

    source: int
    box: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Launch:
    """One kernel, ready to be compiled and launched.

    Attributes:
        source: CUDA C++; shapes are constants in it, so arguments are pointers only.
        entry: Name of the function.
        blocks: Number of thread blocks (one axis).
        threads: Threads of a block.
        shared_bytes: Dynamic shared memory of a block.
        maps: Tensor maps it wants.
        persistent: Blocks take more than one piece of work each: no more of them are launched
            than there are multiprocessors.
        specific: Uses instructions of one architecture only (``sm_90a``).
    """

    source: str
    entry: str
    blocks: int
    threads: int
    shared_bytes: int = 0
    maps: tuple[Map, ...] = ()
    persistent: bool = False
    specific: bool = False


class Spec(Protocol):
    """The sizes and settings that one launch is made for; a frozen dataclass."""

    @property
    def sources(self) -> tuple[View, ...]:
        """The images it reads."""
        ...

    @property
    def target(self) -> View:
        """The image it writes."""
        ...


class Kernel(Protocol):
    """One kernel; stateless.

    The pointers of a launch are the sources', its tensor maps', the parameters', the target's.
    """

    name: str
    # The oldest compute capability that has the instructions it uses, such as (7, 5); the only
    # one where its launches are `Launch.specific`.
    capability: tuple[int, int]
    cases: tuple[Any, ...]

    def launch(self, spec: Any, /) -> Launch:
        """Return source and geometry for ``spec``."""
        ...

    def parameters(self, spec: Any, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return random parameters (weights) as the kernel wants them, for its tests."""
        ...

    def reference(
        self, spec: Any, images: Sequence[Floats], parameters: Sequence[npt.NDArray[Any]], /
    ) -> Floats:
        """Compute in float64 what the kernel computes; images are dense N H W C."""
        ...


REGISTRY: Registry[Kernel] = Registry("CUDA kernel", "segrt.cuda.kernels")

THREADS = 256


def blocks_for(threads: int) -> int:
    """Return how many blocks of `THREADS` cover that many threads.

    Raises:
        EngineError: They are more than 31 bits can count.
    """
    require(threads, of="threads")
    return (threads + THREADS - 1) // THREADS
