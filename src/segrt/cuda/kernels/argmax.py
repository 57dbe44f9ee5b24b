"""The channel that is largest (or smallest), pixel by pixel: the decision of many classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._base import REGISTRY, Floats, Launch
from segrt.cuda.kernels._lanes import LANE_PLACE, lane_launch
from segrt.cuda.views import View

_SOURCE = r"""
extern "C" __global__ void argmax(const SRC_S* __restrict__ x, DST_S* __restrict__ y) {
    PLACE
    float top = __int_as_float(0xff800000);
    int best = LAST ? -1 : SRC_C;
    for (int c = lane; c < SRC_C; c += LANES) {
        float v = SIGN * SRC_T::load(in[c]);
        if (best < 0 || best == SRC_C || (LAST ? v >= top : v > top)) { top = v; best = c; }
    }
#pragma unroll
    for (int k = LANES / 2; k; k /= 2) {
        float v = __shfl_xor_sync(~0u, top, k);
        int other = __shfl_xor_sync(~0u, best, k);
        bool earlier = LAST ? other > best : other < best;
        bool known = other >= 0 && other < SRC_C;
        if (known && (v > top || (v == top && earlier))) { top = v; best = other; }
    }
    if (!spare && lane == 0) y[(u64)pixel * DST_PITCH] = DST_T::store((float)best);
}
""".replace("PLACE", LANE_PLACE)


@dataclass(frozen=True, slots=True)
class ArgmaxSpec:
    """Over the channels of each pixel.

    Attributes:
        source: Read.
        target: Written; one channel.
        minimum: The smallest instead.
        last: The last of equals, not the first.
    """

    source: View
    target: View
    minimum: bool = False
    last: bool = False

    @property
    def sources(self) -> tuple[View, ...]:
        """The one image."""
        return (self.source,)


class Argmax:
    """Kernel ``argmax``."""

    name = "argmax"
    capability = (7, 5)
    cases = (
        ArgmaxSpec(View(2, 3, 5, 21, "fp16", 32, 8), View(2, 3, 5, 1, "uint8")),
        ArgmaxSpec(View(1, 3, 5, 3, "fp32"), View(1, 3, 5, 1, "fp32", 4, 2), minimum=True),
        ArgmaxSpec(View(1, 2, 3, 1000, "uint8"), View(1, 2, 3, 1, "fp32"), last=True),
        ArgmaxSpec(View(1, 5, 5, 300, "uint8"), View(1, 5, 5, 1, "fp32")),
        ArgmaxSpec(View(1, 5, 5, 16, "int8", scale=0.05), View(1, 5, 5, 1, "uint8")),
        ArgmaxSpec(View(3, 1, 1, 33, "bf16", 40, 7), View(3, 1, 1, 1, "fp16", 3, 1)),
    )  # fmt: skip

    def launch(self, spec: ArgmaxSpec, /) -> Launch:
        """Return source and geometry: lanes of a warp a pixel."""
        settings = {"last": int(spec.last), "sign": -1 if spec.minimum else 1}
        return lane_launch(self.name, _SOURCE, spec, settings)

    def parameters(self, spec: ArgmaxSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return nothing."""
        return ()

    def reference(
        self, spec: ArgmaxSpec, images: Sequence[Floats], parameters: Sequence[npt.NDArray[Any]], /
    ) -> Floats:
        """Compute it as it is defined."""
        values = -images[0] if spec.minimum else images[0]
        if spec.last:
            found = values.shape[-1] - 1 - values[..., ::-1].argmax(axis=-1, keepdims=True)
        else:
            found = values.argmax(axis=-1, keepdims=True)
        return np.asarray(found, np.float64)


REGISTRY.register(Argmax.name)(Argmax())
