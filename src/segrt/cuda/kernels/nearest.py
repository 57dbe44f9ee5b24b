"""Nearest upsampling by whole factors: each source pixel is read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._base import REGISTRY, Floats, Launch
from segrt.cuda.kernels._image_launch import SOURCE_PLACE
from segrt.cuda.kernels._upsampling import CASES, UpsamplingSpec, upsampling_launch
from segrt.cuda.views import View
from segrt.graph.custom._places import NEAREST

_SOURCE = (
    NEAREST
    + r"""
extern "C" __global__ void nearest(const SRC_S* __restrict__ x, DST_S* __restrict__ y) {
    PLACE
    auto v = Vec<SRC_T, V>::read(x + (u64)pixel * SRC_PITCH + group * V);
    Vec<DST_T, V> out;
#pragma unroll
    for (int i = 0; i < V; ++i) out.e[i] = DST_T::store(SRC_T::load(v.e[i]));
#pragma unroll
    for (int fy = 0; fy < FY; ++fy)
#pragma unroll
        for (int fx = 0; fx < FX; ++fx) {
            u64 row_of_target = (u64)n * DST_H + block_of(py, FY) + fy;
            u64 target = row_of_target * DST_W + block_of(px, FX) + fx;
            out.write(y + target * DST_PITCH + group * V);
        }
}
""".replace("PLACE", SOURCE_PLACE)
)


@dataclass(frozen=True, slots=True)
class NearestSpec(UpsamplingSpec):
    """``target`` is ``factors`` (y, x) times as large as ``source``."""


class Nearest:
    """Kernel ``nearest``; bit-equal where the types are."""

    name = "nearest"
    capability = (7, 5)
    cases = (
        *(NearestSpec(*each) for each in CASES),
        NearestSpec(
            View(1, 3, 2, 16, "int8", scale=0.5), View(1, 6, 4, 16, "int8", scale=0.4), (2, 2)
        ),
        NearestSpec(View(3, 1, 1, 5, "uint8"), View(3, 2, 3, 5, "uint8", 9, 3), (2, 3)),
    )  # fmt: skip

    def launch(self, spec: NearestSpec, /) -> Launch:
        """Return source and geometry: one thread a source pixel and vector of channels."""
        return upsampling_launch(self.name, _SOURCE, spec, over=spec.source)

    def parameters(self, spec: NearestSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return nothing."""
        return ()

    def reference(
        self, spec: NearestSpec, images: Sequence[Floats], parameters: Sequence[npt.NDArray[Any]], /
    ) -> Floats:
        """Repeat rows, then columns."""
        return np.repeat(np.repeat(images[0], spec.factors[0], axis=1), spec.factors[1], axis=2)


REGISTRY.register(Nearest.name)(Nearest())
