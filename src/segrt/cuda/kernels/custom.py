"""Custom operations: the user's CUDA source, on images as they lie in the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.custom_source import (
    Operand,
    dense_operand,
    engine_source,
    entry_name,
    image_operand,
)
from segrt.cuda.kernels._base import REGISTRY, THREADS, Floats, Launch, blocks_for
from segrt.cuda.views import View
from segrt.graph.custom.upsample_bilinear import upsample_bilinear
from segrt.graph.custom.upsample_nearest import upsample_nearest
from segrt.graph.custom_ops import Attributes, CustomOp


@dataclass(frozen=True, slots=True)
class CustomSpec:
    """One node of a custom operation.

    Attributes:
        op: The operation.
        attributes: Of the node.
        sources: The images among its inputs.
        target: What is written.
        constants: Which inputs are constants, and their shapes; they come as parameters, dense
            and float32.
    """

    op: CustomOp
    attributes: tuple[tuple[str, Any], ...]
    sources: tuple[View, ...]
    target: View
    constants: tuple[tuple[int, tuple[int, ...]], ...] = ()

    @property
    def images(self) -> list[int]:
        """Which inputs are images."""
        fixed = dict(self.constants)
        return [index for index in range(len(self.op.inputs)) if index not in fixed]

    @property
    def named(self) -> Attributes:
        """The attributes by name."""
        return dict(self.attributes)

    @property
    def operands(self) -> list[Operand]:
        """The inputs, in the operation's order."""
        found = {
            index: image_operand(view)
            for index, view in zip(self.images, self.sources, strict=True)
        }
        found |= {index: dense_operand(shape, "fp32") for index, shape in self.constants}
        return [found[index] for index in range(len(found))]


def _up(op: CustomOp, source: View, target: View) -> CustomSpec:
    factors = (("rows", target.h // source.h), ("columns", target.w // source.w))
    return CustomSpec(op, factors, (source,), target)


class Custom:
    """Kernel ``custom``."""

    name = "custom"
    capability = (7, 5)
    cases = tuple(
        _up(op, source, target)
        for op in (upsample_nearest, upsample_bilinear)
        for source, target in (
            (View(2, 5, 3, 16, "fp16"), View(2, 10, 6, 16, "fp16", 48, 16)),
            (View(1, 4, 4, 7, "fp32"), View(1, 12, 8, 7, "fp32")),
            (View(1, 3, 2, 12, "bf16", 20, 4), View(1, 3, 8, 12, "bf16")),
        )
    )

    def launch(self, spec: CustomSpec, /) -> Launch:
        """Return source and geometry: threads as the operation's rule says."""
        threads = None
        if spec.op.threads is not None:
            shapes = [tuple(map(int, operand.sizes)) for operand in spec.operands]
            threads = int(spec.op.thread_count(shapes, spec.named))
        order = [*spec.images, *(index for index, _ in spec.constants)]
        source, total = engine_source(
            spec.op, spec.named, spec.operands, spec.target, order=order, threads=threads
        )
        return Launch(source, entry_name(spec.op), blocks_for(total), THREADS)

    def parameters(self, spec: CustomSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return random constants."""
        rng = np.random.default_rng(seed)
        return [rng.normal(size=shape).astype(np.float32) for _, shape in spec.constants]

    def reference(
        self, spec: CustomSpec, images: Sequence[Floats], parameters: Sequence[npt.NDArray[Any]], /
    ) -> Floats:
        """Run the operation's own reference, on N C H W."""
        arrays: dict[int, npt.NDArray[Any]] = {
            index: image.transpose(0, 3, 1, 2)
            for index, image in zip(spec.images, images, strict=True)
        }
        for (index, _), array in zip(spec.constants, parameters, strict=True):
            arrays[index] = array.astype(np.float64)
        found = spec.op.compute([arrays[index] for index in sorted(arrays)], spec.named)
        return np.asarray(found.transpose(0, 2, 3, 1), np.float64)


REGISTRY.register(Custom.name)(Custom())
