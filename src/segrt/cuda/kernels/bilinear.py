"""Bilinear upsampling by whole factors, pixel centres aligned as Keras does (half pixel)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._base import REGISTRY, Floats, Launch
from segrt.cuda.kernels._image_launch import TARGET_PLACE
from segrt.cuda.kernels._upsampling import CASES, UpsamplingSpec, upsampling_launch
from segrt.cuda.views import View
from segrt.graph.custom._places import BILINEAR

_SOURCE = (
    BILINEAR
    + r"""
extern "C" __global__ void bilinear(const SRC_S* __restrict__ x, DST_S* __restrict__ y) {
    PLACE
    int x0, x1, y0, y1;
    float wx = place(px, FX, SRC_W, x0, x1), wy = place(py, FY, SRC_H, y0, y1);
    const SRC_S* base = x + (u64)n * SRC_H * SRC_W * SRC_PITCH + group * V;
    auto a = Vec<SRC_T, V>::read(base + ((u64)y0 * SRC_W + x0) * SRC_PITCH);
    auto b = Vec<SRC_T, V>::read(base + ((u64)y0 * SRC_W + x1) * SRC_PITCH);
    auto c = Vec<SRC_T, V>::read(base + ((u64)y1 * SRC_W + x0) * SRC_PITCH);
    auto d = Vec<SRC_T, V>::read(base + ((u64)y1 * SRC_W + x1) * SRC_PITCH);
    Vec<DST_T, V> out;
#pragma unroll
    for (int i = 0; i < V; ++i) {
        float top = SRC_T::load(a.e[i]) * (1.0f - wx) + SRC_T::load(b.e[i]) * wx;
        float low = SRC_T::load(c.e[i]) * (1.0f - wx) + SRC_T::load(d.e[i]) * wx;
        out.e[i] = DST_T::store(top * (1.0f - wy) + low * wy);
    }
    out.write(y + (u64)pixel * DST_PITCH + group * V);
}
""".replace("PLACE", TARGET_PLACE)
)


@dataclass(frozen=True, slots=True)
class BilinearSpec(UpsamplingSpec):
    """``target`` is ``factors`` (y, x) times as large as ``source``."""


class Bilinear:
    """Kernel ``bilinear``."""

    name = "bilinear"
    capability = (7, 5)
    cases = (
        *(BilinearSpec(*each) for each in CASES),
        # One row; pairs of channels.
        BilinearSpec(View(2, 1, 3, 6, "fp32", 12, 6), View(2, 3, 6, 6, "fp16", 8, 2), (3, 2)),
        BilinearSpec(
            View(1, 3, 2, 16, "int8", scale=0.1), View(1, 6, 4, 16, "int8", scale=0.1), (2, 2)
        ),
    )

    def launch(self, spec: BilinearSpec, /) -> Launch:
        """Return source and geometry: one thread a target pixel and vector of channels."""
        return upsampling_launch(self.name, _SOURCE, spec)

    def parameters(self, spec: BilinearSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return nothing."""
        return ()

    def reference(
        self,
        spec: BilinearSpec,
        images: Sequence[Floats],
        parameters: Sequence[npt.NDArray[Any]],
        /,
    ) -> Floats:
        """Blend along y, then along x."""
        return _along(_along(images[0], 1, spec.factors[0]), 2, spec.factors[1])


def _along(image: Floats, axis: int, factor: int) -> Floats:
    size = image.shape[axis]
    place = np.maximum((np.arange(size * factor) + 0.5) / factor - 0.5, 0)
    low = np.minimum(place.astype(int), size - 1)
    shape = [1] * image.ndim
    shape[axis] = -1
    weight = (place - low).reshape(shape)
    high = np.minimum(low + 1, size - 1)
    blended: Floats = np.take(image, low, axis) * (1 - weight) + np.take(image, high, axis) * weight
    return blended


REGISTRY.register(Bilinear.name)(Bilinear())
