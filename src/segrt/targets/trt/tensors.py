"""The inputs and outputs of an engine as it describes them, and the sizes it was built for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segrt.errors import PackageError, ShapeError
from segrt.types import TensorSpec

_FREE = -1


@dataclass(frozen=True, slots=True)
class EngineInput:
    """One input.

    Attributes:
        name: Of the tensor.
        smallest: Sizes it takes at least.
        largest: Sizes it takes at most; equal to ``smallest`` where a size is fixed.
    """

    name: str
    smallest: tuple[int, ...]
    largest: tuple[int, ...]

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse sizes that the engine was not built for.

        Raises:
            ShapeError: Names the bounds.
        """
        ranges = list(zip(self.smallest, self.largest, strict=True))
        fits = len(shape) == len(ranges) and all(
            low <= size <= high for size, (low, high) in zip(shape, ranges, strict=True)
        )
        if not fits:
            wanted = ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in ranges)
            raise ShapeError(
                f"the engine was not built for such an array for input {self.name!r}",
                found=str(shape),
                wanted=f"({wanted})",
                hint="build the package for a wider range: --batch, --size",
            )


def read_inputs(engine: Any, specs: Sequence[TensorSpec]) -> list[EngineInput]:
    """Return the engine's inputs in the order of ``specs``; its first profile bounds free sizes."""
    found = []
    for spec in specs:
        smallest = largest = tuple(engine.get_tensor_shape(spec.name))
        if _FREE in smallest:
            low, _, high = engine.get_tensor_profile_shape(spec.name, 0)
            smallest, largest = tuple(low), tuple(high)
        found.append(EngineInput(spec.name, smallest, largest))
    return found


def check_interface(
    library: Any, engine: Any, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> None:
    """Refuse an engine whose tensors are not those of the package's graph.

    Raises:
        PackageError: Names, directions, types or numbers of axes differ.
    """
    modes = library.TensorIOMode
    wanted = {(spec.name, str(modes.INPUT), *_described(spec)) for spec in inputs}
    wanted |= {(spec.name, str(modes.OUTPUT), *_described(spec)) for spec in outputs}
    found = set()
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        kind = np.dtype(library.nptype(engine.get_tensor_dtype(name))).name
        rank = len(tuple(engine.get_tensor_shape(name)))
        if engine.get_tensor_location(name) != library.TensorLocation.DEVICE:
            kind += " on the host"
        found.add((name, str(engine.get_tensor_mode(name)), kind, rank))
    if found != wanted:
        raise PackageError(
            "the engine is not that of the package's graph",
            found=_listed(found - wanted),
            wanted=_listed(wanted - found),
            hint="build the package again",
        )


def _described(spec: TensorSpec) -> tuple[str, int]:
    return spec.dtype, len(spec.shape)


def _listed(tensors: set[tuple[str, str, str, int]]) -> str:
    texts = [
        f"{mode.rsplit('.', 1)[-1].lower()} {name!r} of {kind} with {rank} axes"
        for name, mode, kind, rank in sorted(tensors)
    ]
    return ", ".join(texts) or "nothing else"
