"""Softmax, or its logarithm, over the channels of every pixel: a few lanes a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._base import REGISTRY, Floats, Launch
from segrt.cuda.kernels._lanes import LANE_PLACE, lane_launch
from segrt.cuda.views import View

# Lanes of one warp share a pixel. A channel is read three times at most, from the cache but once.
_SOURCE = r"""
extern "C" __global__ void softmax(const SRC_S* __restrict__ x, DST_S* __restrict__ y) {
    PLACE
    DST_S* out = y + (u64)pixel * DST_PITCH;
    float top = __int_as_float(0xff800000), sum = 0.0f;
    for (int c = lane; c < SRC_C; c += LANES) top = fmaxf(top, SRC_T::load(in[c]));
#pragma unroll
    for (int k = LANES / 2; k; k /= 2) top = fmaxf(top, __shfl_xor_sync(~0u, top, k));
    for (int c = lane; c < SRC_C; c += LANES) sum += expf(SRC_T::load(in[c]) - top);
#pragma unroll
    for (int k = LANES / 2; k; k /= 2) sum += __shfl_xor_sync(~0u, sum, k);
    float factor = LOGARITHM ? logf(sum) : 1.0f / sum;
    if (spare) return;
    for (int c = lane; c < SRC_C; c += LANES) {
        float v = SRC_T::load(in[c]) - top;
        out[c] = DST_T::store(LOGARITHM ? v - factor : expf(v) * factor);
    }
}
""".replace("PLACE", LANE_PLACE)


@dataclass(frozen=True, slots=True)
class SoftmaxSpec:
    """Over the channels of each pixel.

    Attributes:
        source: Read.
        target: Written; as large.
        logarithm: The logarithm of the softmax.
    """

    source: View
    target: View
    logarithm: bool = False

    @property
    def sources(self) -> tuple[View, ...]:
        """The one image."""
        return (self.source,)


class Softmax:
    """Kernel ``softmax``."""

    name = "softmax"
    capability = (7, 5)
    cases = (
        SoftmaxSpec(View(2, 3, 5, 21, "fp16", 32, 8), View(2, 3, 5, 21, "fp16")),
        SoftmaxSpec(View(1, 3, 5, 3, "fp32"), View(1, 3, 5, 3, "fp32", 7, 2)),
        SoftmaxSpec(View(1, 2, 3, 1000, "fp32"), View(1, 2, 3, 1000, "bf16")),
        SoftmaxSpec(View(1, 5, 5, 40, "fp32"), View(1, 5, 5, 40, "fp32"), logarithm=True),
        SoftmaxSpec(View(1, 5, 5, 16, "int8", scale=0.05), View(1, 5, 5, 16, "fp32")),
        SoftmaxSpec(View(3, 1, 1, 2, "bf16", 5, 3), View(3, 1, 1, 2, "fp16", 7, 4)),
    )  # fmt: skip

    def launch(self, spec: SoftmaxSpec, /) -> Launch:
        """Return source and geometry: lanes of a warp a pixel."""
        return lane_launch(self.name, _SOURCE, spec, {"logarithm": int(spec.logarithm)})

    def parameters(self, spec: SoftmaxSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return nothing."""
        return ()

    def reference(
        self, spec: SoftmaxSpec, images: Sequence[Floats], parameters: Sequence[npt.NDArray[Any]], /
    ) -> Floats:
        """Compute it as it is defined."""
        shifted = images[0] - images[0].max(axis=-1, keepdims=True)
        sums = np.exp(shifted).sum(axis=-1, keepdims=True)
        result: Floats = shifted - np.log(sums) if spec.logarithm else np.exp(shifted) / sums
        return result


REGISTRY.register(Softmax.name)(Softmax())
