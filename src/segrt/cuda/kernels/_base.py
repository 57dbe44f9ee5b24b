"""What a kernel of the engine is: a source made for one shape, its geometry, its reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from segrt._registry import Registry
from segrt.cuda.views import View

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Launch:
    """One kernel, ready to be compiled and launched.

    Attributes:
        source: CUDA C++; shapes are constants in it, so arguments are pointers only.
        entry: Name of the function.
        blocks: Number of thread blocks (one axis).
        threads: Threads of a block.
    """

    source: str
    entry: str
    blocks: int
    threads: int


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

    The pointers of a launch are the sources', then the parameters', then the target's.
    """

    name: str
    # The oldest compute capability that has the instructions it uses, such as (7, 5).
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
    """Return how many blocks of `THREADS` cover that many threads."""
    return (threads + THREADS - 1) // THREADS
