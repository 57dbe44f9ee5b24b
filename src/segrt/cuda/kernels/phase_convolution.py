"""Convolution whose outputs are the four phases of an image twice as large: Hopper.

What nearest upsampling and the convolution behind it become when they are merged: a convolution
of the small image to 4 K channels, and a pixel shuffle. Here no product is spent on weights that
are zero (a 2x2 window has 9 of 16 that are not), the large image is written once, and nothing lies
between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels import _hopper, _phases
from segrt.cuda.kernels._base import REGISTRY, Floats, Launch
from segrt.cuda.kernels._phases import EVERY_PHASE, PHASES, SAME_2X2, PhaseSpec
from segrt.cuda.views import View

_STAGING_BYTES = _hopper.STAGING_BYTES * _hopper.WARPGROUPS
_STORE = r"""
            to_staging<@SLOT@>(sums, bias + outputs * 64, staging, lane);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                int row = i * 4 + lane / 8, m = warp * 16 + row;
                int sy = ty * 16 + group * 8 + m / 8, sx = tx * 8 + m % 8;
                uint4 v = from_staging(staging, row, lane % 8);
                if (sy < H && sx < W)
                    *(uint4*)(y + (((u64)n * DST_H + 2 * sy + @Y@) * DST_W + 2 * sx + @X@)
                              * DST_PITCH + outputs * 64 + lane % 8 * 8) = v;
            }
            __syncwarp();
"""


@dataclass(frozen=True, slots=True)
class PhaseConvolutionSpec(PhaseSpec):
    """A convolution with stride 1 to four phases in half precision.

    Attributes:
        source: A multiple of 64 channels, fp16 or bf16, aligned to 16 bytes.
        target: A multiple of 64 channels of the same type.
    """


def used(kernel: npt.NDArray[Any], depth: int = 1) -> tuple[tuple[int, int], ...]:
    """Return (tap, phase) wherever a kernel (4 K, in, y, x) has weights other than zero.

    Of several images that one becomes, (depth 4 K, in, y, x), what any of them uses.
    """
    outputs, channels, height, width = kernel.shape
    each = outputs // (depth * PHASES) * channels
    blocks = kernel.reshape(depth, PHASES, each, height * width)
    return tuple(
        (tap, phase)
        for tap in range(height * width)
        for phase in range(PHASES)
        if np.any(blocks[:, phase, :, tap])
    )


def fits(spec: PhaseConvolutionSpec) -> bool:
    """Say whether the kernel takes these sizes."""
    return suits(spec) and _phases.fits(spec, _STAGING_BYTES)


def suits(spec: PhaseConvolutionSpec) -> bool:
    """Say whether images and window suit, however much memory they take."""
    target = spec.target
    ends = _hopper.fits_copy_engine(spec.source) and target.dtype == spec.source.dtype
    aligned = target.c % 64 == 0 and target.pitch % 8 == 0 and target.offset % 8 == 0
    return ends and aligned and _phases.suits(spec)


def arrange(
    kernel: npt.NDArray[Any], uses: Sequence[tuple[int, int]], dtype: str
) -> npt.NDArray[Any]:
    """Order a kernel (4 K, in, y, x) as (64 outputs, 64 in, use, out, in), swizzled.

    Those of several images that one becomes lie behind one another.
    """
    outputs, channels, height, width = kernel.shape
    each = outputs // PHASES
    split = kernel.reshape(PHASES, each // 64, 64, channels // 64, 64, height * width)
    blocks = np.stack([split[phase, ..., tap] for tap, phase in uses])
    ordered = blocks.transpose(1, 3, 0, 2, 4).astype(np.float64)
    return _hopper.arrange(ordered.reshape(each // 64, channels // 64, -1, 64), dtype)


def arrange_all(
    kernels: Sequence[npt.NDArray[Any]], uses: Sequence[tuple[int, int]], dtype: str
) -> npt.NDArray[Any]:
    """Order the kernels of all images that one becomes, one behind the other."""
    return np.concatenate([arrange(kernel, uses, dtype) for kernel in kernels])


class PhaseConvolution:
    """Kernel ``phase_convolution``; parameters: `arrange`d weights, float32 bias (K)."""

    name = "phase_convolution"
    capability = (9, 0)
    cases: tuple[PhaseConvolutionSpec, ...] = (
        PhaseConvolutionSpec(
            View(13, 40, 28, 192, "fp16"), View(13, 80, 56, 128, "fp16", 256, 128),
            (2, 2), (0, 0), SAME_2X2, True,
        ),
        PhaseConvolutionSpec(
            View(3, 9, 12, 64, "bf16", 128, 64), View(3, 18, 24, 64, "bf16"),
            (2, 2), (1, 1), ((0, 0), (1, 1), (2, 2), (3, 3), (3, 0)), False,
        ),
        # One pixel.
        PhaseConvolutionSpec(
            View(1, 1, 1, 64, "fp16"), View(1, 2, 2, 64, "fp16", 72, 8), (2, 2), (0, 0), SAME_2X2,
            True,
        ),
        # A transposed convolution's, one tap a phase.
        PhaseConvolutionSpec(
            View(5, 19, 12, 128, "fp16", 192, 64), View(5, 38, 24, 64, "fp16", 128, 64),
            (1, 1), (0, 0), EVERY_PHASE, True,
        ),
        # Of volumes: each slice becomes two.
        PhaseConvolutionSpec(
            View(3, 19, 12, 128, "fp16"), View(6, 38, 24, 128, "fp16", 192, 64), (1, 1), (0, 0),
            EVERY_PHASE, True, depth=2,
        ),
    )  # fmt: skip

    def launch(self, spec: PhaseConvolutionSpec, /) -> Launch:
        """Return source and geometry: a block of two warpgroups and a fetching thread."""
        kind = "f16" if spec.source.dtype == "fp16" else "bf16"
        products = "".join(_hopper.product(phase, 64, kind) for phase in range(PHASES))
        words = _phases.Words(
            self.name, _hopper.CHANNELS, _STAGING_BYTES, _hopper.words(kind),
            products + _hopper.STORE, _STORE, "DST_C / 64", "SRC_C / CHANNELS",
        )  # fmt: skip
        return _phases.launch(spec, words)

    def parameters(self, spec: PhaseConvolutionSpec, seed: int, /) -> Sequence[Any]:
        """Return weights and bias."""
        rng = np.random.default_rng(seed)
        kernels = [
            _phases.random_kernel(spec, lambda shape: rng.normal(0, 0.1, shape), np.float64)
            for _ in range(spec.depth)
        ]
        bias = rng.normal(size=spec.target.c).astype(np.float32)
        return arrange_all(kernels, spec.uses, spec.source.dtype), bias

    def reference(
        self,
        spec: PhaseConvolutionSpec,
        images: Sequence[Floats],
        parameters: Sequence[npt.NDArray[Any]],
        /,
    ) -> Floats:
        """Convolve once a phase and put the phases where they belong."""
        k, c, depth = spec.target.c, spec.source.c, spec.depth
        shape = (depth * k // 64, c // 64, len(spec.uses) * 64, 64)
        plain = _hopper.restore(parameters[0], spec.source.dtype, shape)
        plain = plain.reshape(depth, k // 64, c // 64, len(spec.uses), 64, 64)
        blocks = plain.transpose(0, 3, 2, 5, 1, 4).reshape(depth, len(spec.uses), c, k)
        one = replace(spec, target=replace(spec.target, n=spec.source.n), depth=1)
        made = [
            _phases.reference(one, images[0], block, lambda sums, _: sums + parameters[1])
            for block in blocks
        ]
        return np.stack(made, axis=1).reshape(-1, *made[0].shape[1:])


REGISTRY.register(PhaseConvolution.name)(PhaseConvolution())
