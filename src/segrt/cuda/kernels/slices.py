"""Slices of a volume side by side as channels, so that a convolution of images sums over depth.

A table says which slice of the source each tap meets; so strides, dilations and padding along the
depth, and what a transposed convolution spreads, are all this one kernel.
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
extern "C" __global__ void slices(
        const SRC_S* __restrict__ x, const int* __restrict__ table, DST_S* __restrict__ y) {
    PLACE
    // Channels are counted group, tap, channel of the group.
    u32 c = group * V, part = c / EACH, tap = part % TAPS, own = part / TAPS * EACH + c % EACH;
    // Behind all channels there may be some more, which are zero.
    int slice = own < SRC_C ? table[n % MADE * TAPS + tap] : -1;
    Vec<DST_T, V> out;
    if (slice < 0) {
#pragma unroll
        for (int i = 0; i < V; ++i) out.e[i] = DST_T::store(0.0f);
    } else {
        u64 line = ((u64)(n / MADE) * DEPTH + slice) * SRC_H + py;
        auto v = Vec<SRC_T, V>::read(x + (line * SRC_W + px) * SRC_PITCH + own);
#pragma unroll
        for (int i = 0; i < V; ++i) out.e[i] = DST_T::store(SRC_T::load(v.e[i]));
    }
    out.write(y + (u64)pixel * DST_PITCH + c);
}
""".replace("PLACE", TARGET_PLACE)


@dataclass(frozen=True, slots=True)
class SlicesSpec:
    """Slices by a table.

    Attributes:
        source: Volumes.
        target: As many slices as are made of all volumes, each with the channels of all taps and
            perhaps, behind these, some of zeros.
        made: Slices made of one volume.
        taps: Slices side by side in one.
        groups: Of channels; those that a group has of all taps stay together.
    """

    source: View
    target: View
    made: int
    taps: int
    groups: int = 1

    @property
    def sources(self) -> tuple[View, ...]:
        """The volumes."""
        return (self.source,)


class Slices:
    """Kernel ``slices``; its parameter is the table (made, taps), int32, -1 for zeros."""

    name = "slices"
    capability = (7, 5)
    cases = (
        SlicesSpec(View(10, 3, 4, 16, "fp16", 32, 16, depth=5), View(6, 3, 4, 48, "fp16"), 3, 3),
        SlicesSpec(View(4, 3, 5, 1, "fp32", depth=4), View(4, 3, 5, 3, "fp16"), 4, 3),
        SlicesSpec(View(6, 2, 3, 6, "bf16", depth=3), View(10, 2, 3, 12, "fp32"), 5, 2, 3),
        SlicesSpec(
            View(3, 2, 4, 16, "int8", scale=0.1, depth=3),
            View(4, 2, 4, 32, "int8", 64, 32, 0.1), 4, 2,
        ),
        SlicesSpec(View(8, 2, 2, 4, "fp32", depth=4), View(4, 2, 2, 4, "fp32", depth=2), 2, 1),
        SlicesSpec(View(6, 2, 3, 4, "fp32", depth=3), View(6, 2, 3, 16, "fp16"), 3, 3),
    )  # fmt: skip

    def launch(self, spec: SlicesSpec, /) -> Launch:
        """Return source and geometry: one thread a target pixel and vector of channels."""
        each = spec.source.c // spec.groups
        width = vector_width(spec.source, spec.target)
        while each % width:
            width //= 2
        settings = {
            "each": each, "taps": spec.taps, "made": spec.made, "depth": spec.source.depth,
        }  # fmt: skip
        return image_launch(self.name, _SOURCE, spec, width, settings)

    def parameters(self, spec: SlicesSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return a random table."""
        rng = np.random.default_rng(seed)
        return (rng.integers(-1, spec.source.depth, (spec.made, spec.taps)).astype(np.int32),)

    def reference(
        self, spec: SlicesSpec, images: Sequence[Floats], parameters: Sequence[npt.NDArray[Any]], /
    ) -> Floats:
        """Take the slices, then put a group's channels of all taps together."""
        h, w, c = images[0].shape[1:]
        volumes = images[0].reshape(-1, spec.source.depth, h, w, c)
        table = parameters[0]
        taken = np.where((table >= 0)[:, :, None, None, None], volumes[:, table], 0)
        split = taken.reshape(-1, spec.taps, h, w, spec.groups, c // spec.groups)
        found = split.transpose(0, 2, 3, 4, 1, 5).reshape(-1, h, w, spec.taps * c)
        return np.pad(found, [(0, 0)] * 3 + [(0, spec.target.c - spec.taps * c)])


REGISTRY.register(Slices.name)(Slices())
