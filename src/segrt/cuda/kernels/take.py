"""Elements along an axis, picked by numbers that the network computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._access import counters, logical, physical
from segrt.cuda.kernels._base import REGISTRY, THREADS, Floats, Launch, blocks_for
from segrt.cuda.kernels._prelude import PRELUDE, constants, setting
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
        fixed: What comes as a parameter, dense and float32: (which, shape).
    """

    sources: tuple[View, ...]
    target: View
    axis: int
    fixed: tuple[tuple[int, tuple[int, ...]], ...] = ()

    @property
    def order(self) -> list[int]:
        """Which operand each pointer of the launch is: the computed ones come first."""
        fixed = [index for index, _ in self.fixed]
        return [*(index for index in (0, 1) if index not in fixed), *fixed]

    @property
    def operands(self) -> list[View]:
        """How table and numbers lie."""
        views = [*self.sources, *(View.dense(shape, "fp32") for _, shape in self.fixed)]
        return [views[self.order.index(index)] for index in (0, 1)]


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
    )  # fmt: skip

    def launch(self, spec: TakeSpec, /) -> Launch:
        """Return source and geometry: one thread an element."""
        table, numbers = spec.operands
        sizes, axis, rank = spec.target.sizes, spec.axis, len(numbers.sizes)
        total = prod(sizes)
        head = constants("A", table) + constants("B", numbers) + constants("DST", spec.target)
        head += setting(total=total, size=table.sizes[axis], stride=table.strides[axis])
        names = ["ab"[index] for index in spec.order]
        counts = [f"i{number}" for number in range(len(sizes))]
        outside = counts[:axis] + counts[axis + rank :]
        strides = table.strides[:axis] + table.strides[axis + 1 :]
        parts = {
            "ARGUMENTS ": "".join(f"const {n.upper()}_S* __restrict__ {n}, " for n in names),
            "COUNTERS": "\n    ".join(counters("i", sizes, "id")),
            "PICK": _sum(counts[axis : axis + rank], numbers.strides),
            "PUT": _sum(counts, spec.target.strides),
            "FROM": _sum(outside, strides),
        }
        source = _SOURCE
        for name, text in parts.items():
            source = source.replace(name, text)
        return Launch(PRELUDE + head + source, self.name, blocks_for(total), THREADS)

    def parameters(self, spec: TakeSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return a random table, or numbers on both sides of 0."""
        rng = np.random.default_rng(seed)
        found = []
        for index, shape in spec.fixed:
            size = spec.operands[0].sizes[spec.axis]
            numbers = rng.normal(size=shape) if index == 0 else rng.integers(-size, size, shape)
            found.append(numbers.astype(np.float32))
        return found

    def reference(
        self, spec: TakeSpec, images: Sequence[Floats], parameters: Sequence[npt.NDArray[Any]], /
    ) -> Floats:
        """Take with NumPy."""
        arrays = [logical(view, image) for view, image in zip(spec.sources, images, strict=True)]
        arrays += [
            array.astype(np.float64).reshape(shape)
            for array, (_, shape) in zip(parameters, spec.fixed, strict=True)
        ]
        table, numbers = (arrays[spec.order.index(index)] for index in (0, 1))
        size = table.shape[spec.axis]
        rows = np.rint(numbers).astype(int)
        rows = np.clip(np.where(rows < 0, rows + size, rows), 0, size - 1)
        return physical(spec.target, np.take(table, rows, axis=spec.axis))


def _sum(counts: Sequence[str], strides: Sequence[int]) -> str:
    terms = [f"{count} * {stride}" for count, stride in zip(counts, strides, strict=True) if stride]
    return " + ".join(terms) or "0"


REGISTRY.register(Take.name)(Take())
