"""Rows, columns and channels taken by tables: padding of every kind, cropping, strides, flips."""

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
extern "C" __global__ void gather_pixels(
        const SRC_S* __restrict__ x, const int* __restrict__ tables, DST_S* __restrict__ y) {
    PLACE
    int sy = tables[py], sx = tables[DST_H + px];
    bool inside = sy >= 0 && sx >= 0;
    const SRC_S* source = x + (((u64)n * SRC_H + sy) * SRC_W + sx) * SRC_PITCH;
    Vec<DST_T, V> out;
    if (CHANNELS) {
#pragma unroll
        for (int i = 0; i < V; ++i) {
            int c = tables[DST_H + DST_W + group * V + i];
            out.e[i] = DST_T::store(inside && c >= 0 ? SRC_T::load(source[c]) : FILL);
        }
    } else if (inside) {
        auto v = Vec<SRC_T, V>::read(source + group * V);
#pragma unroll
        for (int i = 0; i < V; ++i) out.e[i] = DST_T::store(SRC_T::load(v.e[i]));
    } else {
#pragma unroll
        for (int i = 0; i < V; ++i) out.e[i] = DST_T::store(FILL);
    }
    out.write(y + (u64)pixel * DST_PITCH + group * V);
}
""".replace("PLACE", TARGET_PLACE)


@dataclass(frozen=True, slots=True)
class GatherPixelsSpec:
    """Each row, column (and channel) of ``target`` is one of ``source``, or filled.

    Attributes:
        source: Read.
        target: Written; as many images.
        fill: What stands where a table says -1.
        channels: There is a table for channels too; else both have the same.
    """

    source: View
    target: View
    fill: float = 0.0
    channels: bool = False

    @property
    def sources(self) -> tuple[View, ...]:
        """The one image."""
        return (self.source,)


class GatherPixels:
    """Kernel ``gather_pixels``; bit-equal where the types are.

    Its parameter: int32, the source's rows, columns and, if they are asked for, channels, by the
    target's; -1 where it is filled.
    """

    name = "gather_pixels"
    capability = (7, 5)
    cases = (
        GatherPixelsSpec(View(2, 5, 3, 16, "fp16", 32, 16), View(2, 8, 6, 16, "fp16")),
        GatherPixelsSpec(View(1, 4, 4, 7, "fp32"), View(1, 3, 9, 7, "fp32"), -2.5),
        GatherPixelsSpec(View(1, 4, 4, 5, "fp32"), View(1, 4, 4, 8, "bf16", 12, 4), 1.0, True),
        GatherPixelsSpec(View(1, 6, 4, 3, "uint8"), View(1, 6, 4, 3, "fp32"), 0.0, True),
        GatherPixelsSpec(
            View(1, 6, 4, 16, "int8", scale=0.1), View(1, 7, 5, 16, "int8", scale=0.1), 0.0
        ),
        GatherPixelsSpec(View(3, 2, 3, 5, "bf16", 9, 3), View(3, 4, 1, 5, "bf16", 7, 1), 0.5),
    )  # fmt: skip

    def launch(self, spec: GatherPixelsSpec, /) -> Launch:
        """Return source and geometry: one thread a target pixel and vector of channels."""
        views = (spec.target,) if spec.channels else (spec.source, spec.target)
        source = f"#define FILL ({literal(float(np.float32(spec.fill)))})\n{_SOURCE}"
        settings = {"channels": int(spec.channels)}
        return image_launch(self.name, source, spec, vector_width(*views), settings)

    def parameters(self, spec: GatherPixelsSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return random tables."""
        rng, s, t = np.random.default_rng(seed), spec.source, spec.target
        sizes = [(s.h, t.h), (s.w, t.w), *([(s.c, t.c)] if spec.channels else [])]
        tables = [rng.integers(-1, there, here) for there, here in sizes]
        return (np.concatenate(tables).astype(np.int32),)

    def reference(
        self,
        spec: GatherPixelsSpec,
        images: Sequence[Floats],
        parameters: Sequence[npt.NDArray[Any]],
        /,
    ) -> Floats:
        """Take along each axis from an image with what is filled behind its end."""
        ends = np.cumsum([spec.target.h, spec.target.w])
        result = images[0]
        for axis, table in enumerate(np.split(parameters[0], ends), start=1):
            if axis < 3 or spec.channels:
                edges = [(0, int(other == axis)) for other in range(4)]
                result = np.pad(result, edges, constant_values=spec.fill).take(table, axis)
        return result


def literal(value: float) -> str:
    """Return a float as CUDA C++, infinities too."""
    if np.isinf(value):
        return f"__int_as_float({'0xff800000' if value < 0 else '0x7f800000'})"
    return f"{value.hex()}f"


REGISTRY.register(GatherPixels.name)(GatherPixels())
