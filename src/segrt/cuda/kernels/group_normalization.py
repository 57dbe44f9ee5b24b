"""Normalize groups of channels by their statistics, scale, shift, and perhaps a ReLU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._base import REGISTRY, THREADS, Floats, Launch
from segrt.cuda.kernels._limits import require
from segrt.cuda.kernels._prelude import PRELUDE, constants, setting
from segrt.cuda.kernels.group_statistics import ends_of_pieces
from segrt.cuda.kernels.pointwise import Step, code_of, follow
from segrt.cuda.views import View, vector_width

# What pieces of an image say of a group is joined by every block for itself: they are few.
_SOURCE = r"""
extern "C" __global__ void group_normalization(
        const SRC_S* __restrict__ x, const float* __restrict__ pieces,
        const float* __restrict__ scale_shift, DST_S* __restrict__ y) {
    constexpr int EACH = SRC_C / GROUPS, PIXELS = SRC_H * SRC_W, G = DST_C / V;
    constexpr u32 VECTORS = PIXELS * G;
    __shared__ float means[GROUPS], factors[GROUPS];
    int n = blockIdx.x / BLOCKS, block = blockIdx.x % BLOCKS;
    for (int g = threadIdx.x; g < GROUPS; g += 256) {
        const float* at = pieces + (u64)n * PIECES * 2 * GROUPS + g;
        float mean = 0.0f, squares = 0.0f, known = 0.0f;
        for (int p = 0; p < PIECES; ++p, at += 2 * GROUPS) {
            int begin = (int)((u64)p * PIXELS / PIECES);
            int end = (int)((u64)(p + 1) * PIXELS / PIECES);
            float count = (float)(end - begin) * EACH, all = known + count;
            float apart = at[0] - mean;
            mean += apart * (count / all);
            squares += fabsf(at[GROUPS]) + apart * apart * (known * (count / all));
            known = all;
        }
        means[g] = mean;
        factors[g] = 1.0f / sqrtf(squares / known + EPSILON);
    }
    __syncthreads();
    for (u32 id = block * 256 + threadIdx.x; id < VECTORS; id += BLOCKS * 256) {
        u32 c = id % G * V;
        u64 pixel = (u64)n * PIXELS + id / G;
        auto v = Vec<SRC_T, V>::read(x + pixel * SRC_PITCH + c);
        Vec<DST_T, V> out;
#pragma unroll
        for (int i = 0; i < V; ++i) {
            int g = (c + i) / EACH;
            float r = (SRC_T::load(v.e[i]) - means[g]) * factors[g];
            r = fmaf(r, scale_shift[c + i], scale_shift[DST_C + c + i]);
            out.e[i] = DST_T::store(RELU && r < 0.0f ? 0.0f : r);
        }
        out.write(y + pixel * DST_PITCH + c);
    }
}
"""
_STORE = "out.e[i] = DST_T::store(RELU && r < 0.0f ? 0.0f : r);"
_KEPT = "out.e[i] = DST_T::store(v);"
_MOST_GROUPS = 4096


@dataclass(frozen=True, slots=True)
class GroupNormalizationSpec:
    """Of groups of neighbouring channels.

    Attributes:
        source: Read.
        statistics: As `group_statistics` writes them.
        target: Written.
        epsilon: Added to the variance.
        relu: Whether a ReLU follows.
        steps: What follows that, of each number by itself.
    """

    source: View
    statistics: View
    target: View
    epsilon: float
    relu: bool = False
    steps: tuple[Step, ...] = ()

    @property
    def sources(self) -> tuple[View, ...]:
        """The image and its statistics."""
        return (self.source, self.statistics)


def fits(groups: int) -> bool:
    """Say whether so many groups' statistics fit into shared memory."""
    return groups <= _MOST_GROUPS


class GroupNormalization:
    """Kernel ``group_normalization``; its parameter: scale and shift (2, channels), float32."""

    name = "group_normalization"
    capability = (7, 5)
    cases = (
        GroupNormalizationSpec(
            View(2, 9, 7, 16, "fp16", 32, 16), View(2, 3, 1, 8, "fp32"), View(2, 9, 7, 16, "fp16"),
            1e-3, True,
        ),
        GroupNormalizationSpec(
            View(1, 5, 5, 6, "fp32"), View(1, 1, 1, 12, "fp32"), View(1, 5, 5, 6, "fp32"), 1e-5
        ),
        GroupNormalizationSpec(
            View(1, 40, 31, 24, "bf16"), View(1, 7, 1, 2, "fp32"), View(1, 40, 31, 24, "fp32"), 0.1
        ),
        GroupNormalizationSpec(
            View(1, 9, 8, 16, "int8", scale=0.1), View(1, 2, 1, 4, "fp32"),
            View(1, 9, 8, 16, "int8", scale=0.1), 1e-3,
        ),
        GroupNormalizationSpec(
            View(1, 3, 5, 15, "fp32", 17, 1), View(1, 2, 1, 6, "fp32"),
            View(1, 3, 5, 15, "bf16", 16, 1), 1e-3,
        ),
        # A swish behind it.
        GroupNormalizationSpec(
            View(2, 7, 5, 24, "fp16"), View(2, 2, 1, 6, "fp32"), View(2, 7, 5, 24, "fp16", 32, 8),
            1e-3, steps=(Step("keep"), Step("sigmoid"), Step("mul", "kept")),
        ),
    )  # fmt: skip

    def launch(self, spec: GroupNormalizationSpec, /) -> Launch:
        """Return source and geometry: blocks share an image's vectors of channels."""
        width = vector_width(spec.source, spec.target)
        vectors = spec.source.h * spec.source.w * spec.source.c // width
        require(vectors, of="vectors of an image's channels")
        # Four vectors a thread, so that joining the pieces weighs little.
        blocks = max(1, vectors // (4 * THREADS))
        head = constants("SRC", spec.source) + constants("DST", spec.target)
        head += setting(v=width, groups=spec.statistics.c // 2, pieces=spec.statistics.h)
        head += setting(blocks=blocks, relu=int(spec.relu))
        head += f"constexpr float EPSILON = {float(np.float32(spec.epsilon)).hex()}f;\n"
        source = _SOURCE
        if spec.steps:
            lines = f"float v = r;\n            {code_of(spec.steps)}"
            source = source.replace(
                _STORE, f"{{\n            {lines}\n            {_KEPT}\n            }}"
            )
        return Launch(PRELUDE + head + source, self.name, spec.source.n * blocks, THREADS)

    def parameters(self, spec: GroupNormalizationSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return scale and shift."""
        rng = np.random.default_rng(seed)
        return (rng.normal(size=(2, spec.target.c)).astype(np.float32),)

    def reference(
        self,
        spec: GroupNormalizationSpec,
        images: Sequence[Floats],
        parameters: Sequence[npt.NDArray[Any]],
        /,
    ) -> Floats:
        """Join the pieces by their moments, then compute it as it is defined.

        Sums of squares have no sign; random numbers in their place are taken without theirs.
        """
        s, groups = spec.source, spec.statistics.c // 2
        ends = ends_of_pieces(s.h * s.w, spec.statistics.h)
        counts = np.diff(ends).reshape(1, -1, 1) * (s.c // groups)
        means, squares = np.split(images[1].reshape(s.n, -1, 2 * groups), 2, axis=2)
        mean = (means * counts).sum(axis=1, keepdims=True) / counts.sum()
        parts = np.abs(squares) + (means - mean) ** 2 * counts
        second = parts.sum(axis=1, keepdims=True) / counts.sum()
        split = images[0].reshape(s.n, s.h * s.w, groups, -1)
        normal = (split - mean[..., None]) / np.sqrt(second[..., None] + spec.epsilon)
        result: Floats = normal.reshape(s.n, s.h, s.w, s.c) * parameters[0][0] + parameters[0][1]
        return follow(spec.steps, [np.maximum(result, 0) if spec.relu else result])


REGISTRY.register(GroupNormalization.name)(GroupNormalization())
