"""Elements along an axis, picked by numbers that the network computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._access import counters, physical, place
from segrt.cuda.kernels._base import REGISTRY, THREADS, Floats, Launch, blocks_for
from segrt.cuda.kernels._limits import require_elements, require_places
from segrt.cuda.kernels._operands import (
    Fixed,
    operand_arrays,
    operand_views,
    pointer_arguments,
    pointer_order,
)
from segrt.cuda.kernels._prelude import PRELUDE, constants, filled, setting
from segrt.cuda.views import View

_SOURCE = r"""
extern "C" __global__ void take(ARGUMENTS DST_S* __restrict__ y) {
    const u32 id = blockIdx.x * blockDim.x + threadIdx.x;
    if (id >= TOTAL) return;
    COUNTERS
    int row = (int)rintf(B_T::load(b[PICK]));
    row += row < 0 ? SIZE : 0;
    // Beyond the ends there is nothing to read.
    row = row < 0 ? 0 : (row < SIZE ? row : SIZE - 1);
    y[PUT] = DST_T::store(A_T::load(a[FROM + row * STRIDE]));
}
"""


@dataclass(frozen=True, slots=True)
class TakeSpec:
    """ONNX's Gather.

    Attributes:
        sources: What is computed: the table or the numbers or both.
        target: The table's sizes with those of the numbers in the place of ``axis``.
        axis: Of the table.
        fixed: What comes as a parameter.
    """

    sources: tuple[View, ...]
    target: View
    axis: int
    fixed: Fixed = ()


class Take:
    """Kernel ``take``; its parameter, if any, is the fixed operand."""

    name = "take"
    capability = (7, 5)
    cases = (
        TakeSpec(
            (View.dense((2, 5), "int8"),), View.dense((2, 5, 8), "fp16"), 0, ((0, (6, 8)),)
        ),
        TakeSpec(
            (View(2, 4, 3, 6, "bf16", 8, 2), View.dense((3,), "uint8")),
            View.dense((2, 6, 3, 3), "fp32"), 2,
        ),
        # From a slice to a slice.
        TakeSpec(
            (View(3, 2, 1, 5, "fp16", 9, 3),), View(3, 2, 1, 4, "bf16", 7, 3), 1, ((1, (4,)),)
        ),
    )  # fmt: skip

    def launch(self, spec: TakeSpec, /) -> Launch:
        """Return source and geometry: one thread an element."""
        table, numbers = operand_views(spec.sources, spec.fixed)
        require_elements(table, numbers, spec.target)
        require_places(table.sizes[spec.axis])
        sizes, axis, rank = spec.target.sizes, spec.axis, len(numbers.sizes)
        total = prod(sizes)
        head = constants("A", table) + constants("B", numbers) + constants("DST", spec.target)
        head += setting(total=total, size=table.sizes[axis], stride=table.strides[axis])
        counts = [f"i{number}" for number in range(len(sizes))]
        outside = counts[:axis] + counts[axis + rank :]
        strides = table.strides[:axis] + table.strides[axis + 1 :]
        parts = {
            "ARGUMENTS ": pointer_arguments("ab", pointer_order(2, spec.fixed)),
            "COUNTERS": "\n    ".join(counters("i", sizes, "id")),
            "PICK": place(counts[axis : axis + rank], numbers.strides),
            "PUT": place(counts, spec.target.strides),
            "FROM": place(outside, strides),
        }
        source = filled(_SOURCE, parts)
        return Launch(PRELUDE + head + source, self.name, blocks_for(total), THREADS)

    def parameters(self, spec: TakeSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return a random table, or numbers on both sides of 0."""
        rng = np.random.default_rng(seed)
        found = []
        for index, shape in spec.fixed:
            size = operand_views(spec.sources, spec.fixed)[0].sizes[spec.axis]
            numbers = rng.normal(size=shape) if index == 0 else rng.integers(-size, size, shape)
            found.append(numbers.astype(np.float32))
        return found

    def reference(
        self, spec: TakeSpec, images: Sequence[Floats], parameters: Sequence[npt.NDArray[Any]], /
    ) -> Floats:
        """Take with NumPy."""
        table, numbers = operand_arrays(spec.sources, spec.fixed, images, parameters)
        size = table.shape[spec.axis]
        rows = np.rint(numbers).astype(int)
        rows = np.clip(np.where(rows < 0, rows + size, rows), 0, size - 1)
        return physical(spec.target, np.take(table, rows, axis=spec.axis))


REGISTRY.register(Take.name)(Take())
