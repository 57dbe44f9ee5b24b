"""Elements put to places along an axis that the network computes.

A block makes one line of the result along the axis, and each thread some places of it: it looks at
all updates of the line in order and takes those for its places. So the result does not depend on
the order of threads, and every type can be summed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._access import counters, physical, place
from segrt.cuda.kernels._base import REGISTRY, Floats, Launch
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

_THREADS = 128
_SOURCE = r"""
extern "C" __global__ void scatter(ARGUMENTS DST_S* __restrict__ y) {
    const u32 line = blockIdx.x;
    COUNTERS
    const int from = A_PLACE, to = Y_PLACE;
    for (int p = threadIdx.x; p < SIZE; p += THREADS)
        y[to + p * Y_STEP] = DST_T::store(A_T::load(a[from + p * A_STEP]));
    if (!(BOUNDS)) return;
    for (int i = 0; i < UPDATES; ++i) {
        int p = (int)rintf(B_T::load(b[B_PLACE + i * B_STEP]));
        p += p < 0 ? SIZE : 0;
        if ((u32)p >= SIZE || p % THREADS != threadIdx.x) continue;
        const float w = C_T::load(c[C_PLACE + i * C_STEP]);
        const float v = DST_T::load(y[to + p * Y_STEP]);
        y[to + p * Y_STEP] = DST_T::store(COMBINE);
    }
}
"""
_COMBINE: dict[str, tuple[str, Callable[..., Any]]] = {
    "none": ("w", lambda _, w: w),
    "add": ("v + w", lambda v, w: v + w),
    "mul": ("v * w", lambda v, w: v * w),
    "max": ("v > w ? v : w", np.maximum),
    "min": ("v < w ? v : w", np.minimum),
}


@dataclass(frozen=True, slots=True)
class ScatterSpec:
    """ONNX's ScatterElements.

    Attributes:
        sources: What is computed of the data, the places and the updates.
        target: Of the data's sizes.
        axis: Along which the places are.
        reduction: ``none``, ``add``, ``mul``, ``max`` or ``min``.
        fixed: What comes as a parameter.
    """

    sources: tuple[View, ...]
    target: View
    axis: int
    reduction: str
    fixed: Fixed = ()


class Scatter:
    """Kernel ``scatter``; its parameters are the fixed operands."""

    name = "scatter"
    capability = (7, 5)
    cases = (
        ScatterSpec(
            (View.dense((2, 3, 7), "uint8"), View.dense((2, 3, 7), "bf16")),
            View.dense((2, 3, 300), "fp32"), 2, "add", ((0, (2, 3, 300)),),
        ),
        ScatterSpec(
            (View(1, 3, 4, 5, "fp16", 8, 0), View(1, 3, 4, 5, "fp32")),
            View(1, 3, 4, 5, "fp32"), 1, "max", ((1, (1, 4, 2, 4)),),
        ),
        # From slices to a slice; places that no update is for.
        ScatterSpec(
            (View(3, 2, 1, 5, "bf16", 9, 3), View(3, 1, 1, 2, "fp16", 5, 1)),
            View(3, 2, 1, 5, "fp16", 8, 2), 1, "mul", ((1, (3, 2, 1, 1)),),
        ),
        ScatterSpec(
            (View.dense((1, 4), "int8"), View.dense((1, 6), "fp32")), View.dense((1, 4), "bf16"), 1,
            "none", ((1, (1, 6)),),
        ),
    )  # fmt: skip

    def launch(self, spec: ScatterSpec, /) -> Launch:
        """Return source and geometry."""
        data, places, updates = operand_views(spec.sources, spec.fixed)
        require_elements(data, places, updates, spec.target)
        require_places(data.sizes[spec.axis])
        sizes, axis = data.sizes, spec.axis
        head = constants("A", data) + constants("B", places) + constants("C", updates)
        head += constants("DST", spec.target)
        head += setting(size=sizes[axis], updates=places.sizes[axis], threads=_THREADS)
        lines = [size for number, size in enumerate(sizes) if number != axis]
        parts = {
            "ARGUMENTS ": pointer_arguments("abc", pointer_order(3, spec.fixed)),
            "COUNTERS": "\n    ".join(counters("i", lines, "line")),
            "COMBINE": _COMBINE[spec.reduction][0],
            "BOUNDS": " && ".join(
                f"i{number} < {size}u"
                for number, size in enumerate(_without(places.sizes, axis))
            ) or "true",
        }  # fmt: skip
        for name, view in (("A", data), ("B", places), ("C", updates), ("Y", spec.target)):
            counts = [f"i{number}" for number in range(len(lines))]
            found = place(counts, _without(view.strides, axis), "(int)")
            parts[f"{name}_PLACE"] = f"({found})"
            parts[f"{name}_STEP"] = str(view.strides[axis])
        source = filled(_SOURCE, parts)
        return Launch(PRELUDE + head + source, self.name, prod(lines), _THREADS)

    def parameters(self, spec: ScatterSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return random data or updates, or places that do not repeat within a line."""
        rng = np.random.default_rng(seed)
        size, found = spec.target.sizes[spec.axis], []
        for index, shape in spec.fixed:
            numbers = rng.integers(-size, size, shape) if index == 1 else rng.normal(size=shape)
            found.append(numbers.astype(np.float32))
        return found

    def reference(
        self, spec: ScatterSpec, images: Sequence[Floats], parameters: Sequence[npt.NDArray[Any]], /
    ) -> Floats:
        """Put one update after the other."""
        arrays = operand_arrays(spec.sources, spec.fixed, images, parameters)
        data, places, updates = arrays
        result, function = data.copy(), _COMBINE[spec.reduction][1]
        size = data.shape[spec.axis]
        for index in np.ndindex(places.shape):
            place = int(np.rint(places[index]))
            place += size if place < 0 else 0
            if 0 <= place < size:
                target = (*index[: spec.axis], place, *index[spec.axis + 1 :])
                result[target] = function(result[target], updates[index])
        return physical(spec.target, result)


def _without(numbers: Sequence[int], axis: int) -> list[int]:
    return [number for place, number in enumerate(numbers) if place != axis]


REGISTRY.register(Scatter.name)(Scatter())
