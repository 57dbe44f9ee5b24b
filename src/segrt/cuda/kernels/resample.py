"""Resizing by tables: each row and column is a weighted sum of some of the source's.

One exact form for every mode, coordinate rule, factor and filter of ONNX's Resize.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._base import REGISTRY, Floats, Launch
from segrt.cuda.kernels._image_launch import TARGET_PLACE, image_launch
from segrt.cuda.views import View, vector_width

_SOURCE = r"""
extern "C" __global__ void resample(
        const SRC_S* __restrict__ x, const int* __restrict__ places,
        const float* __restrict__ weights, DST_S* __restrict__ y) {
    PLACE
    const SRC_S* image = x + (u64)n * SRC_H * SRC_W * SRC_PITCH + group * V;
    const int* columns = places + DST_H * TAPS_Y + px * TAPS_X;
    const float* across = weights + DST_H * TAPS_Y + px * TAPS_X;
    float acc[V];
#pragma unroll
    for (int i = 0; i < V; ++i) acc[i] = 0.0f;
    for (int ky = 0; ky < TAPS_Y; ++ky) {
        float down = weights[py * TAPS_Y + ky];
        // A weight of zero reads nothing: tables are as wide as their widest row.
        if (down == 0.0f) continue;
        const SRC_S* line = image + (u64)places[py * TAPS_Y + ky] * SRC_W * SRC_PITCH;
        float sum[V];
#pragma unroll
        for (int i = 0; i < V; ++i) sum[i] = 0.0f;
#pragma unroll 4
        for (int kx = 0; kx < TAPS_X; ++kx) {
            float weight = across[kx];
            if (weight == 0.0f) continue;
            auto v = Vec<SRC_T, V>::read(line + columns[kx] * SRC_PITCH);
#pragma unroll
            for (int i = 0; i < V; ++i) sum[i] = fmaf(SRC_T::load(v.e[i]), weight, sum[i]);
        }
#pragma unroll
        for (int i = 0; i < V; ++i) acc[i] = fmaf(sum[i], down, acc[i]);
    }
    Vec<DST_T, V> out;
#pragma unroll
    for (int i = 0; i < V; ++i) out.e[i] = DST_T::store(acc[i]);
    out.write(y + (u64)pixel * DST_PITCH + group * V);
}
""".replace("PLACE", TARGET_PLACE)


@dataclass(frozen=True, slots=True)
class ResampleSpec:
    """Each pixel of ``target`` is a sum over ``taps`` (y, x) pixels of ``source``."""

    source: View
    target: View
    taps: tuple[int, int]

    @property
    def sources(self) -> tuple[View, ...]:
        """The one image."""
        return (self.source,)


class Resample:
    """Kernel ``resample``.

    Its parameters: places (int32) and weights (float32), each first for the target's rows
    (rows, taps), then for its columns.
    """

    name = "resample"
    capability = (7, 5)
    cases = (
        ResampleSpec(View(2, 5, 3, 16, "fp16", 32, 16), View(2, 8, 7, 16, "fp16"), (2, 2)),
        ResampleSpec(View(1, 9, 8, 7, "fp32"), View(1, 4, 3, 7, "fp32"), (4, 4)),
        ResampleSpec(View(1, 3, 5, 12, "bf16", 20, 4), View(1, 3, 2, 12, "fp32", 24, 12), (1, 6)),
        ResampleSpec(
            View(1, 6, 4, 16, "int8", scale=0.1), View(1, 9, 5, 16, "int8", scale=0.1), (2, 2)
        ),
        ResampleSpec(View(3, 1, 1, 5, "uint8"), View(3, 2, 3, 5, "bf16", 7, 1), (1, 2)),
    )  # fmt: skip

    def launch(self, spec: ResampleSpec, /) -> Launch:
        """Return source and geometry: one thread a target pixel and vector of channels."""
        width, (ty, tx) = vector_width(spec.source, spec.target), spec.taps
        return image_launch(self.name, _SOURCE, spec, width, {"taps_y": ty, "taps_x": tx})

    def parameters(self, spec: ResampleSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return random places and weights."""
        rng, s, t = np.random.default_rng(seed), spec.source, spec.target
        (ty, tx), places, weights = spec.taps, [], []
        for size, count, taps in ((s.h, t.h, ty), (s.w, t.w, tx)):
            places.append(rng.integers(0, size, count * taps))
            raw = rng.uniform(0.1, 1, (count, taps))
            weights.append((raw / raw.sum(axis=1, keepdims=True)).reshape(-1))
        return np.concatenate(places).astype(np.int32), np.concatenate(weights).astype(np.float32)

    def reference(
        self,
        spec: ResampleSpec,
        images: Sequence[Floats],
        parameters: Sequence[npt.NDArray[Any]],
        /,
    ) -> Floats:
        """Take, weigh and add along y, then along x."""
        result, start = images[0], 0
        for axis, (count, taps) in enumerate(
            ((spec.target.h, spec.taps[0]), (spec.target.w, spec.taps[1])), start=1
        ):
            part = slice(start, start + count * taps)
            start = part.stop
            shape = [1] * 5
            shape[axis : axis + 2] = count, taps
            places, weights = (array[part] for array in parameters)
            split = result.take(places, axis).reshape(
                *result.shape[:axis], count, taps, *result.shape[axis + 1 :]
            )
            result = (split * weights.reshape(shape).astype(np.float64)).sum(axis=axis + 1)
        return result


REGISTRY.register(Resample.name)(Resample())
