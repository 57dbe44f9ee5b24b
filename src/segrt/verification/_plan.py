"""How many images are run at a time, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy.typing as npt
import onnx_ir as ir

from segrt.verification._inner import fixed_batch, value_bytes

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """The images and how they are dealt out.

    Attributes:
        inputs: All images, by input name.
        images: How many there are.
        batch: The batch size the graph fixes, None if it is free.
        step: How many images are run at a time.
        sizes: Bytes of every ONNX value in a run of ``step`` images, None where unknown.
        budget_bytes: The most bytes of values that one run may hand out.
    """

    inputs: dict[str, Array]
    images: int
    batch: int | None
    step: int
    sizes: dict[str, int | None]
    budget_bytes: int

    @classmethod
    def make(
        cls,
        model: ir.Model,
        inputs: Mapping[str, Array],
        carriers: Iterable[str],
        budget_bytes: int,
    ) -> Self:
        """Plan the runs of ``model``.

        Args:
            model: The graph.
            inputs: All images, by input name; one common batch size.
            carriers: ONNX names of the values that will be looked at.
            budget_bytes: See `Plan`.
        """
        images = len(next(iter(inputs.values())))
        batch = fixed_batch(model)
        unit = batch or 1

        def sizes(count: int) -> dict[str, int | None]:
            return value_bytes(
                model, {name: (count, *array.shape[1:]) for name, array in inputs.items()}
            )

        one = sizes(unit)
        largest = max((one.get(name) or 0 for name in carriers), default=0)
        most = -(-images // unit)
        step = max(1, min(budget_bytes // largest if largest else most, most)) * unit
        return cls(dict(inputs), images, batch, step, sizes(step), budget_bytes)

    def slices(self) -> Iterator[slice]:
        """Yield which images make one run."""
        for start in range(0, self.images, self.step):
            yield slice(start, min(start + self.step, self.images))

    def feeds(self, rows: slice) -> dict[str, Array]:
        """Return those images."""
        return {name: array[rows] for name, array in self.inputs.items()}
