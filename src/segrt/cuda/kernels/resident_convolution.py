"""Convolution to 64, or at most 8, channels whose weights all stay in shared memory: Hopper.

Large images with few channels are where a library's kernels lose most: 64 to 64 channels at
256 x 256 is bound by memory and arithmetic alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels import _hopper, _resident
from segrt.cuda.kernels._base import REGISTRY, Floats, Launch
from segrt.cuda.kernels._resident import ResidentSpec
from segrt.cuda.kernels.first_convolution import convolve
from segrt.cuda.views import View

_STAGING_BYTES = _hopper.STAGING_BYTES * _hopper.WARPGROUPS
_STORE = r"""
            to_staging<@SLOT@>(sums, bias, staging, lane);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                int row = i * 4 + lane / 8, m = warp * 16 + row;
                int ty0 = ty * 8 + m / 8, tx0 = tx * WIDE + @SLOT@ * 8 + m % 8;
                uint4 v = from_staging(staging, row, lane % 8);
                if (ty0 < DST_H && tx0 < DST_W)
                    *(uint4*)(y + (((u64)n * DST_H + ty0) * DST_W + tx0) * DST_PITCH
                              + lane % 8 * 8) = v;
            }
            __syncwarp();
"""


@dataclass(frozen=True, slots=True)
class ResidentConvolutionSpec(ResidentSpec):
    """A convolution with stride 1 in half precision.

    Attributes:
        source: A multiple of 64 channels, fp16 or bf16, aligned to 16 bytes.
        target: 64 channels of the same type, aligned likewise; or 1 to 8 of any type.
    """


def fits(spec: ResidentConvolutionSpec) -> bool:
    """Say whether the kernel takes these sizes."""
    target = spec.target
    wide = target.c == 64 and target.dtype == spec.source.dtype
    wide = wide and target.pitch % 8 == 0 and target.offset % 8 == 0
    ends = _hopper.fits_copy_engine(spec.source) and (wide or target.c <= 8)
    return ends and _resident.fits(spec, _STAGING_BYTES)


def arrange(weights: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """Order weights (y, x, in, out) as (chunk of 64 in, y, x, out, 64), swizzled.

    Fewer than 64 outputs are filled up to 8 with zeros.
    """
    height, width, channels, outputs = weights.shape
    rows = 64 if outputs > 8 else 8
    padded = np.zeros((height * width, channels, rows))
    padded[..., :outputs] = weights.reshape(height * width, channels, outputs)
    chunks = padded.reshape(height * width, channels // 64, 64, rows).transpose(1, 0, 3, 2)
    return _hopper.arrange(chunks.reshape(channels // 64, -1, 64), dtype)


class ResidentConvolution:
    """Kernel ``resident_convolution``; parameters: `arrange`d weights, float32 bias."""

    name = "resident_convolution"
    capability = (9, 0)
    cases = (
        ResidentConvolutionSpec(
            View(3, 20, 60, 64, "fp16", 128, 64), View(3, 20, 60, 64, "fp16", 192, 64),
            (3, 3), (1, 1), True,
        ),
        ResidentConvolutionSpec(
            View(40, 24, 40, 128, "bf16"), View(40, 24, 40, 64, "bf16"), (3, 3), (1, 1), False
        ),
        ResidentConvolutionSpec(
            View(30, 17, 33, 64, "fp16"), View(30, 17, 33, 2, "fp32"), (3, 3), (1, 1), True
        ),
        ResidentConvolutionSpec(
            View(2, 9, 12, 64, "bf16"), View(2, 9, 12, 5, "bf16"), (2, 2), (0, 0), False
        ),
        # Smaller than a tile and than the window.
        ResidentConvolutionSpec(
            View(1, 2, 1, 64, "fp16"), View(1, 2, 1, 64, "fp16", 72, 8), (3, 3), (1, 1), True
        ),
        ResidentConvolutionSpec(
            View(1, 1, 1, 64, "bf16"), View(1, 1, 1, 1, "fp32", 3, 1), (3, 3), (1, 1), False
        ),
    )  # fmt: skip

    def launch(self, spec: ResidentConvolutionSpec, /) -> Launch:
        """Return source and geometry: a block of two warpgroups and a fetching thread."""
        layout = _resident.layout(spec, _STAGING_BYTES)
        assert layout is not None
        kind = "f16" if spec.source.dtype == "fp16" else "bf16"
        products = [_hopper.product(slot, spec.outputs, kind) for slot in range(layout.sub)]
        helpers = "".join(products) + _hopper.STORE
        words = _resident.Words(self.name, _hopper.words(kind), helpers, _STORE)
        return _resident.launch(spec, layout, words)

    def parameters(self, spec: ResidentConvolutionSpec, seed: int, /) -> Sequence[Any]:
        """Return weights and bias."""
        rng = np.random.default_rng(seed)
        shape = (*spec.window, spec.source.c, spec.target.c)
        weights = rng.normal(0, 0.1, shape)
        bias = np.zeros(spec.outputs, np.float32)
        bias[: spec.target.c] = rng.normal(size=spec.target.c)
        return arrange(weights, spec.source.dtype), bias

    def reference(
        self,
        spec: ResidentConvolutionSpec,
        images: Sequence[Floats],
        parameters: Sequence[npt.NDArray[Any]],
        /,
    ) -> Floats:
        """Sum shifted images; weights are taken back from their arrangement."""
        height, width = spec.window
        chunks = spec.source.c // 64
        shape = (chunks, height * width * spec.outputs, 64)
        plain = _hopper.restore(parameters[0], spec.source.dtype, shape)
        plain = plain.reshape(chunks, height, width, spec.outputs, 64).transpose(1, 2, 0, 4, 3)
        weights = plain.reshape(height, width, spec.source.c, spec.outputs)[..., : spec.target.c]
        size = (spec.target.h, spec.target.w)
        bias = parameters[1][: spec.target.c].astype(np.float64)
        result: Floats = convolve(images[0], weights, spec.before, size) + bias
        return np.maximum(result, 0) if spec.relu else result


REGISTRY.register(ResidentConvolution.name)(ResidentConvolution())
