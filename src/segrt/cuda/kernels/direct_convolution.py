"""Convolution and transposed convolution with any settings: every sum written out.

For what a library has no plan for, and for convolutions of few channels a group, where products
of matrices have nothing to gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._base import REGISTRY, Floats, Launch
from segrt.cuda.kernels._image_launch import TARGET_PLACE, image_launch
from segrt.cuda.kernels._window import sliding
from segrt.cuda.kernels.pointwise import Step, code_of, follow
from segrt.cuda.views import View, vector_width

_SOURCE = r"""
// Which source row or column a tap meets, negative or too large for none.
__device__ __forceinline__ int meets(int at, int tap, int step, int apart, int before) {
    if (!TRANSPOSED) return at * step + tap * apart - before;
    int there = at + before - tap * apart;
    return there % step ? -1 : there / step;
}
extern "C" __global__ void direct_convolution(
        const SRC_S* __restrict__ x, const float* __restrict__ weights,
        const float* __restrict__ bias, DST_S* __restrict__ y) {
    PLACE
    constexpr int IN = SRC_C / GROUPS, OUT = DST_C / GROUPS;
    int o = group * V;
    float acc[V];
#pragma unroll
    for (int i = 0; i < V; ++i) acc[i] = bias[o + i];
    for (int ky = 0; ky < KY; ++ky) {
        int sy = meets(py, ky, STEP_Y, APART_Y, TOP);
        if (sy < 0 || sy >= SRC_H) continue;
        for (int kx = 0; kx < KX; ++kx) {
            int sx = meets(px, kx, STEP_X, APART_X, LEFT);
            if (sx < 0 || sx >= SRC_W) continue;
            const SRC_S* in = x + (((u64)n * SRC_H + sy) * SRC_W + sx) * SRC_PITCH;
            const float* w = weights + (u64)(ky * KX + kx) * IN * DST_C + o;
            if (OUT % V == 0) {
                // All outputs of the vector read the same channels.
                in += o / OUT * IN;
#pragma unroll 4
                for (int c = 0; c < IN; ++c, w += DST_C) {
                    float value = SRC_T::load(in[c]);
#pragma unroll
                    for (int i = 0; i < V; ++i) acc[i] = fmaf(value, w[i], acc[i]);
                }
            } else if (IN == 1 && OUT == 1) {
                auto v = Vec<SRC_T, V>::read(in + o);
#pragma unroll
                for (int i = 0; i < V; ++i) acc[i] = fmaf(SRC_T::load(v.e[i]), w[i], acc[i]);
            }
        }
    }
    Vec<DST_T, V> out;
#pragma unroll
    for (int i = 0; i < V; ++i) out.e[i] = DST_T::store(RELU && acc[i] < 0.0f ? 0.0f : acc[i]);
    out.write(y + (u64)pixel * DST_PITCH + o);
}
""".replace("PLACE", TARGET_PLACE)

_STORE = "out.e[i] = DST_T::store(RELU && acc[i] < 0.0f ? 0.0f : acc[i]);"
_KEPT = "out.e[i] = DST_T::store(v);"


@dataclass(frozen=True, slots=True)
class DirectConvolutionSpec:
    """A convolution, or a transposed one.

    Attributes:
        source: Read.
        target: Written.
        window: Height and width of the kernel.
        step: Strides (y, x).
        apart: Dilations (y, x).
        before: Padding above and to the left; what lies below and right follows from the sizes.
        groups: Groups of channels.
        relu: Whether a ReLU follows.
        transposed: A transposed convolution; padding is what is cut off.
        steps: What follows that, of each number by itself.
    """

    source: View
    target: View
    window: tuple[int, int]
    step: tuple[int, int] = (1, 1)
    apart: tuple[int, int] = (1, 1)
    before: tuple[int, int] = (0, 0)
    groups: int = 1
    relu: bool = False
    transposed: bool = False
    steps: tuple[Step, ...] = ()

    @property
    def sources(self) -> tuple[View, ...]:
        """The one image."""
        return (self.source,)


def arrange(kernel: npt.NDArray[Any], groups: int, *, transposed: bool) -> npt.NDArray[np.float32]:
    """Return O I/groups H W (transposed: I O/groups H W) as (y, x, in of a group, out)."""
    if transposed:
        inputs, each, *window = kernel.shape
        split = kernel.reshape(groups, inputs // groups, each, *window)
        kernel = split.transpose(0, 2, 1, 3, 4).reshape(groups * each, -1, *window)
    return np.ascontiguousarray(kernel.transpose(2, 3, 1, 0), np.float32)


class DirectConvolution:
    """Kernel ``direct_convolution``; parameters: `arrange`d weights and bias (out), float32."""

    name = "direct_convolution"
    capability = (7, 5)
    cases = (
        DirectConvolutionSpec(
            View(2, 9, 7, 6, "fp32"), View(2, 5, 3, 8, "fp32"), (3, 2), (2, 3), before=(1, 0),
            groups=2, relu=True,
        ),
        DirectConvolutionSpec(
            View(1, 9, 13, 16, "fp16", 32, 16), View(1, 9, 13, 16, "fp16"), (3, 3), apart=(2, 1),
            before=(2, 1), groups=16,
        ),
        DirectConvolutionSpec(
            View(1, 6, 5, 4, "bf16"), View(1, 6, 5, 12, "fp32"), (2, 2), groups=4, before=(0, 1)
        ),
        DirectConvolutionSpec(
            View(2, 4, 5, 6, "fp32"), View(2, 9, 12, 4, "fp32", 8, 4), (3, 2), (2, 3), (1, 2),
            groups=2, transposed=True,
        ),
        DirectConvolutionSpec(
            View(1, 4, 4, 16, "fp16"), View(1, 8, 8, 8, "fp16"), (4, 4), (2, 2), before=(1, 1),
            transposed=True,
        ),
        DirectConvolutionSpec(
            View(1, 6, 4, 16, "int8", scale=0.1), View(1, 6, 4, 3, "int8", scale=0.2), (1, 1)
        ),
        # Smaller than the window, in slices.
        DirectConvolutionSpec(
            View(3, 1, 1, 3, "fp32", 5, 1), View(3, 1, 1, 5, "bf16", 9, 3), (5, 5), before=(2, 2)
        ),
        DirectConvolutionSpec(
            View(1, 2, 3, 7, "uint8", 16, 1, 0.05), View(1, 2, 3, 7, "uint8", 9, 2, 0.05), (3, 3),
            before=(1, 1), groups=7, relu=True,
        ),
        # Steps behind it: a swish of a channel each, and a clip of a transposed one's.
        DirectConvolutionSpec(
            View(1, 7, 9, 24, "fp16", 32, 8), View(1, 4, 5, 24, "fp16"), (3, 3), (2, 2),
            before=(1, 1), groups=24,
            steps=(Step("keep"), Step("sigmoid"), Step("mul", "kept")),
        ),
        DirectConvolutionSpec(
            View(1, 3, 4, 5, "fp32"), View(1, 6, 8, 3, "fp32"), (2, 2), (2, 2), transposed=True,
            steps=(Step("clip", "", (0.0, 6.0)),),
        ),
    )  # fmt: skip

    def launch(self, spec: DirectConvolutionSpec, /) -> Launch:
        """Return source and geometry: one thread a target pixel and vector of channels."""
        each = (spec.source.c // spec.groups, spec.target.c // spec.groups)
        width = min(8, vector_width(spec.target))
        if each == (1, 1):
            width = min(width, vector_width(spec.source))
        else:
            while each[1] % width:
                width //= 2
        settings = {
            "groups": spec.groups, "relu": int(spec.relu), "transposed": int(spec.transposed),
            **sliding(spec),
        }  # fmt: skip
        source = _SOURCE
        if spec.steps:
            lines = ("{", "float v = acc[i];", code_of(spec.steps), _KEPT, "}")
            source = source.replace(_STORE, "\n        ".join(lines))
        return image_launch(self.name, source, spec, width, settings)

    def parameters(self, spec: DirectConvolutionSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return weights and bias."""
        rng = np.random.default_rng(seed)
        shape = (*spec.window, spec.source.c // spec.groups, spec.target.c)
        bias = rng.normal(size=spec.target.c)
        return rng.normal(0, 0.3, shape).astype(np.float32), bias.astype(np.float32)

    def reference(
        self,
        spec: DirectConvolutionSpec,
        images: Sequence[Floats],
        parameters: Sequence[npt.NDArray[Any]],
        /,
    ) -> Floats:
        """Sum what each tap sees; a transposed convolution sees zeros between the pixels."""
        (weights, bias), image = (array.astype(np.float64) for array in parameters), images[0]
        reach = [(k - 1) * d for k, d in zip(spec.window, spec.apart, strict=True)]
        step, before = spec.step, list(spec.before)
        if spec.transposed:
            image, step = _spread(image, spec.step), (1, 1)
            weights = weights[::-1, ::-1]
            before = [r - b for r, b in zip(reach, before, strict=True)]
        result: Floats = np.zeros((*_sizes(spec.target), spec.target.c)) + bias
        for y in range(spec.window[0]):
            for x in range(spec.window[1]):
                at = [k * d - b for k, d, b in zip((y, x), spec.apart, before, strict=True)]
                seen = _seen(image, at, step, (spec.target.h, spec.target.w))
                split = seen.reshape(*seen.shape[:3], spec.groups, -1)
                taps = weights[y, x].reshape(split.shape[-1], spec.groups, -1)
                result += np.einsum("nhwgi,igo->nhwgo", split, taps).reshape(result.shape)
        return follow(spec.steps, [np.maximum(result, 0) if spec.relu else result])


def _sizes(view: View) -> tuple[int, int, int]:
    return view.n, view.h, view.w


def _spread(image: Floats, step: tuple[int, int]) -> Floats:
    n, h, w, c = image.shape
    result: Floats = np.zeros((n, (h - 1) * step[0] + 1, (w - 1) * step[1] + 1, c))
    result[:, :: step[0], :: step[1]] = image
    return result


def _seen(image: Floats, at: Sequence[int], step: tuple[int, int], size: tuple[int, int]) -> Floats:
    """Return what one tap sees, zeros outside the image."""
    result: Floats = np.zeros((image.shape[0], *size, image.shape[3]))
    rows, columns = (np.arange(s) * p + a for s, p, a in zip(size, step, at, strict=True))
    ys = np.flatnonzero((rows >= 0) & (rows < image.shape[1]))
    xs = np.flatnonzero((columns >= 0) & (columns < image.shape[2]))
    result[:, ys[:, None], xs] = image[:, rows[ys][:, None], columns[xs]]
    return result


REGISTRY.register(DirectConvolution.name)(DirectConvolution())
