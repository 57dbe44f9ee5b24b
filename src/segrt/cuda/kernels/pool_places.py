"""Where each window's largest element is, as ONNX's MaxPool counts: in N C H W."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._access import counters, logical, physical
from segrt.cuda.kernels._base import REGISTRY, THREADS, Floats, Launch, blocks_for
from segrt.cuda.kernels._limits import require_elements, require_places
from segrt.cuda.kernels._prelude import PRELUDE, constants, setting
from segrt.cuda.kernels._window import sliding
from segrt.cuda.views import View

_SOURCE = r"""
extern "C" __global__ void pool_places(const SRC_S* __restrict__ x, DST_S* __restrict__ y) {
    const u32 id = blockIdx.x * blockDim.x + threadIdx.x;
    if (id >= TOTAL) return;
    COUNTERS
    const int n = i0, row = i1, column = i2, channel = i3;
    int found = -1;
    float best = 0.0f;
    for (int ky = 0; ky < KY; ++ky) {
        const int h = row * STEP_Y + ky * APART_Y - TOP;
        if (h < 0 || h >= HEIGHT) continue;
        for (int kx = 0; kx < KX; ++kx) {
            const int w = column * STEP_X + kx * APART_X - LEFT;
            if (w < 0 || w >= WIDTH) continue;
            const float v = SRC_T::load(x[n * SN + channel * SC + h * SH + w * SW]);
            if (found < 0 || v > best) {
                best = v;
                found = ((n * CHANNELS + channel) * HEIGHT + h) * WIDTH + w;
            }
        }
    }
    y[n * DN + channel * DC + row * DH + column * DW] = DST_T::store((float)found);
}
"""


@dataclass(frozen=True, slots=True)
class PoolPlacesSpec:
    """A window slides over ``source``.

    Attributes:
        source: N C H W, however it lies.
        target: Likewise.
        window: Height and width of the window.
        step: Strides (y, x).
        before: Padding above and to the left.
        apart: Distance between a window's pixels (y, x).
    """

    source: View
    target: View
    window: tuple[int, int]
    step: tuple[int, int]
    before: tuple[int, int] = (0, 0)
    apart: tuple[int, int] = (1, 1)

    @property
    def sources(self) -> tuple[View, ...]:
        """The one value."""
        return (self.source,)


class PoolPlaces:
    """Kernel ``pool_places``."""

    name = "pool_places"
    capability = (7, 5)
    cases = (
        PoolPlacesSpec(
            View(2, 6, 7, 3, "fp16", 8, 2), View.dense((2, 3, 3, 4), "fp32"), (3, 2), (2, 2), (1, 1)
        ),
        PoolPlacesSpec(
            View.dense((1, 2, 5, 6), "fp32"), View(1, 3, 4, 2, "fp32"), (2, 2), (1, 1), (0, 0),
            (2, 2),
        ),
        PoolPlacesSpec(
            View(3, 1, 5, 3, "bf16", 5, 2), View(3, 1, 2, 3, "fp32", 7, 3), (3, 2), (2, 2), (1, 0)
        ),
    )  # fmt: skip

    def launch(self, spec: PoolPlacesSpec, /) -> Launch:
        """Return source and geometry: one thread an element, as an image's lie."""
        require_elements(spec.source, spec.target)
        require_places(prod(spec.source.sizes))
        n, channels, h, w = spec.target.sizes
        _, _, height, width = spec.source.sizes
        total = n * channels * h * w
        head = constants("SRC", spec.source) + constants("DST", spec.target)
        head += setting(total=total, channels=channels, height=height, width=width)
        head += setting(**sliding(spec))
        for prefix, view in (("s", spec.source), ("d", spec.target)):
            names = zip("nchw", view.strides, strict=True)
            head += setting(**{prefix + axis: stride for axis, stride in names})
        lines = "\n    ".join(counters("i", (n, h, w, channels), "id"))
        source = PRELUDE + head + _SOURCE.replace("COUNTERS", lines)
        return Launch(source, self.name, blocks_for(total), THREADS)

    def parameters(self, spec: PoolPlacesSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return nothing."""
        return ()

    def reference(
        self,
        spec: PoolPlacesSpec,
        images: Sequence[Floats],
        parameters: Sequence[npt.NDArray[Any]],
        /,
    ) -> Floats:
        """Look at every window; what lies outside is the smallest of all."""
        image = logical(spec.source, images[0])
        n, c, height, width = image.shape
        places = np.arange(image.size).reshape(image.shape)
        result = np.empty(spec.target.sizes)
        for row in range(result.shape[2]):
            for column in range(result.shape[3]):
                rows = (
                    row * spec.step[0] - spec.before[0] + spec.apart[0] * np.arange(spec.window[0])
                )
                columns = np.arange(spec.window[1]) * spec.apart[1]
                columns = columns + column * spec.step[1] - spec.before[1]
                rows = rows[(rows >= 0) & (rows < height)]
                columns = columns[(columns >= 0) & (columns < width)]
                part = np.ix_(range(n), range(c), rows, columns)
                best = image[part].reshape(n, c, -1).argmax(axis=2)[..., None]
                found = np.take_along_axis(places[part].reshape(n, c, -1), best, axis=2)
                result[:, :, row, column] = found[..., 0]
        return physical(spec.target, result)


REGISTRY.register(PoolPlaces.name)(PoolPlaces())
