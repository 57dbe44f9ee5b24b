"""Max and average pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._base import REGISTRY, Floats, Launch
from segrt.cuda.kernels._image_launch import TARGET_PLACE, image_launch
from segrt.cuda.kernels._pools import pool_source
from segrt.cuda.kernels._window import sliding
from segrt.cuda.views import View, vector_width

_SOURCE = pool_source(r"""
extern "C" __global__ void pooling(const SRC_S* __restrict__ x, DST_S* __restrict__ y) {
    PLACE
BEGIN
#pragma unroll
    for (int ky = 0; ky < KY; ++ky) {
        int sy = py * STEP_Y + ky * APART_Y - TOP;
        // What lies beyond the padding is not counted even where padding is.
        if (sy >= SRC_H + BELOW) continue;
        bool row = sy >= 0 && sy < SRC_H;
#pragma unroll
        for (int kx = 0; kx < KX; ++kx) {
            int sx = px * STEP_X + kx * APART_X - LEFT;
            if (sx >= SRC_W + RIGHT) continue;
            bool inside = row && sx >= 0 && sx < SRC_W;
            if (COUNT_PADDING || inside) ++count;
            if (!inside) continue;
            auto v = Vec<SRC_T, V>::read(
                x + (((u64)n * SRC_H + sy) * SRC_W + sx) * SRC_PITCH + group * V);
TAKE
        }
    }
END
}
""").replace("PLACE", TARGET_PLACE)


@dataclass(frozen=True, slots=True)
class PoolingSpec:
    """A window slides over ``source``.

    Attributes:
        source: Read.
        target: Written.
        window: Height and width of the window.
        step: Strides (y, x).
        before: Padding above and to the left.
        maximum: Else the average.
        count_padding: An average counts padded pixels as zeros.
        after: Padding below and to the right; windows may reach further.
        apart: Distance between a window's pixels (y, x).
    """

    source: View
    target: View
    window: tuple[int, int]
    step: tuple[int, int]
    before: tuple[int, int] = (0, 0)
    maximum: bool = True
    count_padding: bool = False
    after: tuple[int, int] = (0, 0)
    apart: tuple[int, int] = (1, 1)

    @property
    def sources(self) -> tuple[View, ...]:
        """The one image."""
        return (self.source,)


class Pooling:
    """Kernel ``pooling``."""

    name = "pooling"
    capability = (7, 5)
    cases = (
        PoolingSpec(View(2, 8, 6, 16, "fp16", 32, 16), View(2, 4, 3, 16, "fp16"), (2, 2), (2, 2)),
        PoolingSpec(
            View(1, 7, 5, 6, "fp32"), View(1, 4, 3, 6, "fp32"), (3, 3), (2, 2), (1, 1), False
        ),
        PoolingSpec(
            View(1, 7, 5, 8, "bf16"), View(1, 7, 5, 8, "bf16"), (3, 2), (1, 1), (1, 0), False, True,
            (1, 1),
        ),
        PoolingSpec(
            View(2, 8, 6, 32, "int8", 64, 32, 0.02),
            View(2, 4, 3, 32, "int8", scale=0.02),
            (2, 2),
            (2, 2),
        ),
        PoolingSpec(
            View(1, 9, 11, 5, "fp32"), View(1, 5, 4, 5, "fp32"), (3, 2), (1, 3), (0, 1),
            after=(0, 1), apart=(2, 3),
        ),
        # The last windows reach two rows and a column over the padding.
        PoolingSpec(
            View(1, 6, 7, 4, "fp16"), View(1, 3, 3, 4, "fp32"), (5, 3), (3, 3), (1, 0), False, True,
            (1, 1),
        ),
        # One pixel, in odd slices.
        PoolingSpec(
            View(3, 1, 1, 5, "bf16", 9, 3), View(3, 1, 1, 5, "bf16", 7, 1), (3, 3), (2, 2), (1, 1)
        ),
        PoolingSpec(
            View(1, 5, 3, 20, "uint8", 36, 4, 0.02), View(1, 3, 2, 20, "uint8", 24, 4, 0.02),
            (2, 2), (2, 2),
        ),
    )  # fmt: skip

    def launch(self, spec: PoolingSpec, /) -> Launch:
        """Return source and geometry: one thread a target pixel and vector of channels."""
        settings = {
            **sliding(spec), "below": spec.after[0], "right": spec.after[1],
            "maximum": int(spec.maximum), "count_padding": int(spec.count_padding),
        }  # fmt: skip
        width = vector_width(spec.source, spec.target)
        return image_launch(self.name, _SOURCE, spec, width, settings)

    def parameters(self, spec: PoolingSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return nothing."""
        return ()

    def reference(
        self, spec: PoolingSpec, images: Sequence[Floats], parameters: Sequence[npt.NDArray[Any]], /
    ) -> Floats:
        """Look at every place of a window, with NaN for what is not counted."""
        image, out = images[0], spec.target
        (top, left), (below, right) = spec.before, spec.after
        reach = [(k - 1) * d + 1 for k, d in zip(spec.window, spec.apart, strict=True)]
        height, width = (out.h - 1) * spec.step[0] + reach[0], (out.w - 1) * spec.step[1] + reach[1]
        edges = [(0, 0), (top, below), (left, right), (0, 0)]
        padded = np.pad(image, edges, constant_values=0.0 if spec.count_padding else np.nan)
        over = [(0, 0), (0, max(0, height - padded.shape[1])), (0, max(0, width - padded.shape[2]))]
        padded = np.pad(padded, [*over, (0, 0)], constant_values=np.nan)
        places = [
            padded[:, y : y + height - reach[0] + 1 : spec.step[0]][
                :, :, x : x + width - reach[1] + 1 : spec.step[1]
            ]
            for y in range(0, reach[0], spec.apart[0])
            for x in range(0, reach[1], spec.apart[1])
        ]
        pick = np.nanmax if spec.maximum else np.nanmean
        found: Floats = pick(np.stack(places), axis=0)
        return found


REGISTRY.register(Pooling.name)(Pooling())
