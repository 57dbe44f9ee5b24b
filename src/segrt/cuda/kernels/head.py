"""The last layer: 1x1 convolution of few channels, its activation, and on request the decision.

One pass from the last features to probabilities, or to a uint8 mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._base import REGISTRY, THREADS, Floats, Launch, blocks_for
from segrt.cuda.kernels._prelude import PRELUDE, constants, setting
from segrt.cuda.views import View, vector_width

_SOURCE = r"""
extern "C" __global__ void head(const SRC_S* __restrict__ x, const float* __restrict__ weights,
                                const float* __restrict__ bias, DST_S* __restrict__ y) {
    u32 pixel = blockIdx.x * blockDim.x + threadIdx.x;
    if (pixel >= TOTAL) return;
    float acc[K];
#pragma unroll
    for (int k = 0; k < K; ++k) acc[k] = bias[k];
#pragma unroll 4
    for (int c = 0; c < SRC_C; c += V) {
        auto v = Vec<SRC_T, V>::read(x + (u64)pixel * SRC_PITCH + c);
#pragma unroll
        for (int i = 0; i < V; ++i) {
            float value = SRC_T::load(v.e[i]);
#pragma unroll
            for (int k = 0; k < K; ++k) acc[k] = fmaf(value, weights[(c + i) * K + k], acc[k]);
        }
    }
    DST_S* out = y + (u64)pixel * DST_PITCH;
    if (ARGMAX) {
        int best = 0;
#pragma unroll
        for (int k = 1; k < K; ++k) if (acc[k] > acc[best]) best = k;
        out[0] = DST_T::store((float)best);
        return;
    }
    if (SOFTMAX) {
        float top = acc[0], sum = 0.0f;
#pragma unroll
        for (int k = 1; k < K; ++k) top = fmaxf(top, acc[k]);
#pragma unroll
        for (int k = 0; k < K; ++k) { acc[k] = expf(acc[k] - top); sum += acc[k]; }
#pragma unroll
        for (int k = 0; k < K; ++k) acc[k] /= sum;
    }
#pragma unroll
    for (int k = 0; k < K; ++k) {
        float v = acc[k];
        if (SIGMOID) v = 1.0f / (1.0f + expf(-v));
        if (RELU) v = v < 0.0f ? 0.0f : v;
        if (THRESHOLD) v = v > LIMIT ? 1.0f : 0.0f;
        out[k] = DST_T::store(v);
    }
}
"""

Activation = Literal["none", "relu", "sigmoid", "softmax"]


@dataclass(frozen=True, slots=True)
class HeadSpec:
    """A 1x1 convolution.

    Attributes:
        source: Up to 64 channels.
        target: 1 to 8 channels; one where the decision is ``argmax``.
        classes: Outputs of the convolution.
        activation: What follows it.
        decision: ``none`` writes the values; ``threshold`` writes 1 where what comes before the
            activation is above the limit; ``argmax`` writes the index of the largest.
        limit: Of the threshold; one half of a sigmoid is 0 before it.
    """

    source: View
    target: View
    classes: int
    activation: Activation
    decision: Literal["none", "threshold", "argmax"] = "none"
    limit: float = 0.0

    @property
    def sources(self) -> tuple[View, ...]:
        """The one image."""
        return (self.source,)


def fits(spec: HeadSpec) -> bool:
    """Say whether the kernel takes these sizes."""
    return spec.source.c <= 64 and spec.classes <= 8


class Head:
    """Kernel ``head``; parameters, both float32: weights (in, out) and bias (out)."""

    name = "head"
    capability = (7, 5)
    cases = (
        HeadSpec(View(2, 5, 7, 2, "fp16"), View(2, 5, 7, 1, "fp32"), 1, "sigmoid"),
        HeadSpec(View(1, 5, 7, 16, "bf16", 32, 16), View(1, 5, 7, 5, "fp32"), 5, "softmax"),
        HeadSpec(View(1, 5, 7, 3, "fp32"), View(1, 5, 7, 4, "fp16"), 4, "relu"),
        HeadSpec(View(1, 5, 7, 8, "fp16"), View(1, 5, 7, 1, "uint8"), 4, "softmax", "argmax"),
        HeadSpec(View(1, 5, 7, 8, "fp16"), View(1, 5, 7, 2, "uint8"), 2, "none", "threshold"),
        HeadSpec(
            View(1, 5, 7, 8, "fp32"), View(1, 5, 7, 1, "uint8"), 1, "sigmoid", "threshold", -1
        ),
        HeadSpec(View(1, 5, 7, 16, "int8", scale=0.1), View(1, 5, 7, 1, "fp32"), 1, "sigmoid"),
        HeadSpec(View(1, 1, 1, 7, "bf16", 9, 1), View(1, 1, 1, 3, "bf16", 5, 2), 3, "none"),
        HeadSpec(
            View(3, 5, 7, 32, "uint8", scale=0.1), View(3, 5, 7, 8, "fp16", 16, 8), 8, "relu"
        ),
    )  # fmt: skip

    def launch(self, spec: HeadSpec, /) -> Launch:
        """Return source and geometry: one thread a pixel."""
        argmax, threshold = spec.decision == "argmax", spec.decision == "threshold"
        head = constants("SRC", spec.source) + constants("DST", spec.target)
        head += setting(v=vector_width(spec.source), total=spec.target.pixels, k=spec.classes)
        head += setting(argmax=int(argmax), threshold=int(threshold))
        for name in ("relu", "sigmoid", "softmax"):
            # A decision is taken on the values before the activation, which keeps their order.
            head += setting(**{name: int(spec.activation == name and not (argmax or threshold))})
        head += f"constexpr float LIMIT = {float(np.float32(spec.limit)).hex()}f;\n"
        source = PRELUDE + head + _SOURCE
        return Launch(source, self.name, blocks_for(spec.target.pixels), THREADS)

    def parameters(self, spec: HeadSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return weights and bias."""
        rng = np.random.default_rng(seed)
        weights = rng.normal(size=(spec.source.c, spec.classes)).astype(np.float32)
        return weights, rng.normal(size=spec.classes).astype(np.float32)

    def reference(
        self, spec: HeadSpec, images: Sequence[Floats], parameters: Sequence[npt.NDArray[Any]], /
    ) -> Floats:
        """Multiply, then activate or decide."""
        scores: Floats = images[0] @ parameters[0].astype(np.float64) + parameters[1]
        if spec.decision == "argmax":
            return np.asarray(scores.argmax(axis=-1, keepdims=True), np.float64)
        if spec.decision == "threshold":
            return np.asarray(scores > spec.limit, np.float64)
        if spec.activation == "softmax":
            powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
            return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float64)
        if spec.activation == "sigmoid":
            return np.asarray(1 / (1 + np.exp(-scores)), np.float64)
        return np.maximum(scores, 0) if spec.activation == "relu" else scores


REGISTRY.register(Head.name)(Head())
