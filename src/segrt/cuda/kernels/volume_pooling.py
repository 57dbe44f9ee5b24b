"""Max and average pooling of volumes, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._base import REGISTRY, Floats, Launch
from segrt.cuda.kernels._image_launch import TARGET_PLACE, image_launch
from segrt.cuda.kernels._pools import pool_source
from segrt.cuda.views import View, vector_width

_SOURCE = pool_source(r"""
extern "C" __global__ void volume_pooling(const SRC_S* __restrict__ x, DST_S* __restrict__ y) {
    PLACE
    // n counts slices; these of a volume lie one behind the other.
    int pz = n % DST_D, volume = n / DST_D;
BEGIN
    for (int kz = 0; kz < KZ; ++kz) {
        int sz = pz * STEP_Z + kz * APART_Z - FRONT;
        // What lies beyond the padding is not counted even where padding is.
        if (sz >= SRC_D + BACK) continue;
        bool slice = sz >= 0 && sz < SRC_D;
        for (int ky = 0; ky < KY; ++ky) {
            int sy = py * STEP_Y + ky * APART_Y - TOP;
            if (sy >= SRC_H + BELOW) continue;
            bool row = slice && sy >= 0 && sy < SRC_H;
            for (int kx = 0; kx < KX; ++kx) {
                int sx = px * STEP_X + kx * APART_X - LEFT;
                if (sx >= SRC_W + RIGHT) continue;
                bool inside = row && sx >= 0 && sx < SRC_W;
                if (COUNT_PADDING || inside) ++count;
                if (!inside) continue;
                u64 line = ((u64)volume * SRC_D + sz) * SRC_H + sy;
                auto v = Vec<SRC_T, V>::read(x + (line * SRC_W + sx) * SRC_PITCH + group * V);
TAKE
            }
        }
    }
END
}
""").replace("PLACE", TARGET_PLACE)


@dataclass(frozen=True, slots=True)
class VolumePoolingSpec:
    """A window slides over ``source``; settings are for depth, height and width.

    Attributes:
        source: Read.
        target: Written.
        window: Sizes of the window.
        step: Strides.
        before: Padding in front, above and to the left.
        maximum: Else the average.
        count_padding: An average counts padded places as zeros.
        after: Padding behind, below and to the right; windows may reach further.
        apart: Distance between a window's places.
    """

    source: View
    target: View
    window: tuple[int, ...]
    step: tuple[int, ...]
    before: tuple[int, ...] = (0, 0, 0)
    maximum: bool = True
    count_padding: bool = False
    after: tuple[int, ...] = (0, 0, 0)
    apart: tuple[int, ...] = (1, 1, 1)

    @property
    def sources(self) -> tuple[View, ...]:
        """The volumes."""
        return (self.source,)


class VolumePooling:
    """Kernel ``volume_pooling``."""

    name = "volume_pooling"
    capability = (7, 5)
    cases = (
        VolumePoolingSpec(
            View(8, 8, 6, 16, "fp16", 32, 16, depth=4), View(4, 4, 3, 16, "fp16", depth=2),
            (2, 2, 2), (2, 2, 2),
        ),
        VolumePoolingSpec(
            View(5, 7, 5, 6, "fp32", depth=5), View(3, 4, 3, 6, "fp32", depth=3),
            (3, 3, 3), (2, 2, 2), (1, 1, 1), False,
        ),
        VolumePoolingSpec(
            View(6, 7, 5, 8, "bf16", depth=3), View(6, 7, 5, 8, "bf16", 16, 8, depth=3),
            (2, 3, 2), (1, 1, 1), (1, 1, 0), False, True, (0, 1, 1),
        ),
        VolumePoolingSpec(
            View(4, 8, 6, 32, "int8", 64, 32, 0.02, depth=4),
            View(2, 4, 3, 32, "int8", scale=0.02, depth=2), (2, 2, 2), (2, 2, 2),
        ),
        VolumePoolingSpec(
            View(9, 9, 11, 5, "fp32", depth=9), View(3, 5, 4, 5, "fp32", depth=3),
            (2, 3, 2), (3, 1, 3), (1, 0, 1), after=(0, 0, 1), apart=(3, 2, 3),
        ),
        # The last windows reach over the padding.
        VolumePoolingSpec(
            View(7, 6, 7, 4, "fp16", depth=7), View(3, 3, 3, 4, "fp32", depth=3),
            (3, 5, 3), (3, 3, 3), (0, 1, 0), False, True, (1, 1, 1),
        ),
    )  # fmt: skip

    def launch(self, spec: VolumePoolingSpec, /) -> Launch:
        """Return source and geometry: one thread a target place and vector of channels."""
        settings = {
            "src_d": spec.source.depth, "dst_d": spec.target.depth,
            "maximum": int(spec.maximum), "count_padding": int(spec.count_padding),
        }  # fmt: skip
        names = ("k{}", "step_{}", "apart_{}")
        for name, numbers in zip(names, (spec.window, spec.step, spec.apart), strict=True):
            settings |= {name.format(axis): n for axis, n in zip("zyx", numbers, strict=True)}
        settings |= dict(zip(("front", "top", "left"), spec.before, strict=True))
        settings |= dict(zip(("back", "below", "right"), spec.after, strict=True))
        width = vector_width(spec.source, spec.target)
        return image_launch(self.name, _SOURCE, spec, width, settings)

    def parameters(self, spec: VolumePoolingSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return nothing."""
        return ()

    def reference(
        self,
        spec: VolumePoolingSpec,
        images: Sequence[Floats],
        parameters: Sequence[npt.NDArray[Any]],
        /,
    ) -> Floats:
        """Look at every place of a window, with NaN for what is not counted."""
        out = spec.target
        sizes = (out.depth, out.h, out.w)
        image = images[0].reshape(-1, spec.source.depth, *images[0].shape[1:])
        edges = [(0, 0), *zip(spec.before, spec.after, strict=True), (0, 0)]
        padded = np.pad(image, edges, constant_values=0.0 if spec.count_padding else np.nan)
        # Where each axis' taps look, for all places of the result.
        looks = [
            [np.arange(size) * step + tap * apart for tap in range(window)]
            for size, step, window, apart in zip(
                sizes, spec.step, spec.window, spec.apart, strict=True
            )
        ]
        reach = [max(int(tap.max()) for tap in taps) + 1 for taps in looks]
        over = [(0, max(0, r - s)) for r, s in zip(reach, padded.shape[1:4], strict=True)]
        padded = np.pad(padded, [(0, 0), *over, (0, 0)], constant_values=np.nan)
        places = [padded[:, z[:, None, None], y[:, None], x] for z, y, x in product(*looks)]
        pick = np.nanmax if spec.maximum else np.nanmean
        return np.asarray(pick(np.stack(places), axis=0).reshape(-1, out.h, out.w, out.c))


REGISTRY.register(VolumePooling.name)(VolumePooling())
