"""Operands of a kernel, some of which are computed and some of which come as parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._access import logical
from segrt.cuda.views import View

# What comes as a parameter, dense and float32: (which operand, shape).
Fixed: TypeAlias = tuple[tuple[int, tuple[int, ...]], ...]


def pointer_order(count: int, fixed: Fixed) -> list[int]:
    """Return which operand each pointer of a launch is: the computed ones come first."""
    given = [index for index, _ in fixed]
    return [*(index for index in range(count) if index not in given), *given]


def operand_views(sources: Sequence[View], fixed: Fixed) -> list[View]:
    """Return how every operand lies, in the operation's order."""
    views = [*sources, *(View.dense(shape, "fp32") for _, shape in fixed)]
    order = pointer_order(len(views), fixed)
    return [views[order.index(index)] for index in range(len(views))]


def operand_arrays(
    sources: Sequence[View],
    fixed: Fixed,
    images: Sequence[npt.NDArray[Any]],
    parameters: Sequence[npt.NDArray[Any]],
) -> list[npt.NDArray[np.float64]]:
    """Return every operand's numbers with the graph's axes, in the operation's order."""
    arrays = [logical(view, image) for view, image in zip(sources, images, strict=True)]
    arrays += [
        array.astype(np.float64).reshape(shape)
        for array, (_, shape) in zip(parameters, fixed, strict=False)
    ]
    order = pointer_order(len(arrays), fixed)
    return [arrays[order.index(index)] for index in range(len(arrays))]


def pointer_arguments(names: str, order: Sequence[int]) -> str:
    """Return a launch's arguments for its operands; ``names`` has a letter for each."""
    letters = [names[index] for index in order]
    return "".join(f"const {n.upper()}_S* __restrict__ {n}, " for n in letters)
