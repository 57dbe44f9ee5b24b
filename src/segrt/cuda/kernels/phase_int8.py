"""`phase_convolution` on integers of eight bits: merged upsampling, Hopper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels import _hopper, _hopper_int8, _phases
from segrt.cuda.kernels._base import REGISTRY, Floats, Launch
from segrt.cuda.kernels._integers import finish, random_numbers, random_weights
from segrt.cuda.kernels._phases import EVERY_PHASE, PHASES, SAME_2X2, PhaseSpec
from segrt.cuda.views import View

_STAGING_BYTES = 4 * _hopper.WARPGROUPS * _hopper_int8.STAGING_BYTES
_STORE = r"""
            to_staging_int8<@SLOT@>(sums, bias + (@SLOT@ * GROUPS + outputs) * 64,
                                    bias + (4 * GROUPS + outputs) * 64, staging, lane);
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                int row = i * 8 + lane / 4, m = warp * 16 + row;
                int sy = ty * 16 + group * 8 + m / 8, sx = tx * 8 + m % 8;
                uint4 v = from_staging_int8(staging, row, lane % 4);
                if (sy < H && sx < W && outputs * 64 + lane % 4 * 16 < DST_C)
                    *(uint4*)(y + (((u64)n * DST_H + 2 * sy + @Y@) * DST_W + 2 * sx + @X@)
                              * DST_PITCH + outputs * 64 + lane % 4 * 16) = v;
            }
            __syncwarp();
"""


@dataclass(frozen=True, slots=True)
class PhaseInt8Spec(PhaseSpec):
    """A convolution with stride 1 to four phases on integers.

    Attributes:
        source: A multiple of 16 channels, int8 or uint8, aligned to 16 bytes.
        target: Likewise.
    """


def fits(spec: PhaseInt8Spec) -> bool:
    """Say whether the kernel takes these sizes."""
    ends = _hopper_int8.fits_copy_engine(spec.source) and _hopper_int8.fits_way_out(spec.target)
    return ends and spec.depth == 1 and _phases.fits(spec, _STAGING_BYTES)


def arrange(kernel: npt.NDArray[Any], uses: Sequence[tuple[int, int]]) -> npt.NDArray[np.int8]:
    """Order integers (4 K, in, y, x) as (64 outputs, 128 in, use, out, in), swizzled.

    What is missing to 64 outputs and 128 inputs is zero. Outputs stand in the
    `_hopper_int8.order` of a product's columns.
    """
    each, row = kernel.shape[0] // PHASES, _hopper_int8.CHANNELS
    split = kernel.astype(np.int8).reshape(PHASES, each, kernel.shape[1], -1)
    split = _hopper_int8.padded(_hopper_int8.padded(split, 1, 64), 2, row)
    groups, chunks = split.shape[1] // 64, split.shape[2] // row
    split = split.reshape(PHASES, groups, 64, chunks, row, -1)
    blocks = np.stack([split[phase, ..., tap] for tap, phase in uses])
    ordered = blocks.transpose(1, 3, 0, 2, 4)[..., _hopper_int8.order(), :]
    return _hopper_int8.swizzled(ordered.reshape(groups, chunks, -1, row))


def restore(arranged: npt.NDArray[Any], spec: PhaseInt8Spec) -> npt.NDArray[np.float64]:
    """Return the blocks (use, in, out) that `arrange` was given."""
    row, uses = _hopper_int8.CHANNELS, len(spec.uses)
    shape = (-(-spec.target.c // 64), -(-spec.source.c // row), uses, 64, row)
    plain = _hopper_int8.swizzled(arranged).astype(np.float64).reshape(shape)
    plain = plain[..., np.argsort(_hopper_int8.order()), :].transpose(2, 1, 4, 0, 3)
    return plain.reshape(uses, shape[1] * row, -1)[:, : spec.source.c, : spec.target.c]


def pad_numbers(numbers: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return rows of factors and bias with whole 64s of columns."""
    return _hopper_int8.padded(numbers.astype(np.float32), 1, 64)


class PhaseInt8:
    """Kernel ``phase_int8``; parameters: `arrange`d weights, factors a phase and bias (5, K)."""

    name = "phase_int8"
    capability = (9, 0)
    cases = (
        PhaseInt8Spec(
            View(13, 40, 28, 384, "int8", scale=0.1),
            View(13, 80, 56, 128, "int8", 256, 128, 0.2), (2, 2), (0, 0), SAME_2X2, True,
        ),
        PhaseInt8Spec(
            View(3, 9, 12, 128, "int8", 192, 64, 0.1), View(3, 18, 24, 64, "int8", scale=0.2),
            (2, 2), (1, 1), ((0, 0), (1, 1), (2, 2), (3, 3), (3, 0)), False,
        ),
        PhaseInt8Spec(
            View(3, 9, 12, 32, "uint8", scale=0.1), View(3, 18, 24, 16, "uint8", 32, 16, 0.2),
            (2, 2), (0, 0), SAME_2X2, True,
        ),
        PhaseInt8Spec(
            View(3, 9, 12, 160, "uint8", scale=0.1), View(3, 18, 24, 80, "int8", scale=0.2),
            (2, 2), (0, 0), SAME_2X2, True,
        ),
        # One pixel.
        PhaseInt8Spec(
            View(1, 1, 1, 16, "int8", scale=0.1), View(1, 2, 2, 16, "uint8", 48, 16, 0.2), (2, 2),
            (0, 0), SAME_2X2, True,
        ),
        # A transposed convolution's, one tap a phase.
        PhaseInt8Spec(
            View(5, 19, 12, 144, "uint8", scale=0.1), View(5, 38, 24, 96, "int8", 192, 96, 0.2),
            (1, 1), (0, 0), EVERY_PHASE, False,
        ),
    )  # fmt: skip

    def launch(self, spec: PhaseInt8Spec, /) -> Launch:
        """Return source and geometry: a block of two warpgroups and a fetching thread."""
        products = "".join(_hopper_int8.product(phase, 64, spec.source) for phase in range(PHASES))
        # Channels are filled up to whole rows and columns.
        words = _phases.Words(
            self.name, _hopper_int8.CHANNELS, _STAGING_BYTES,
            _hopper_int8.words(spec.target, 4, spec.target.c), _hopper_int8.HELPERS + products,
            _STORE, "(DST_C + 63) / 64", "(SRC_C + CHANNELS - 1) / CHANNELS",
        )  # fmt: skip
        return _phases.launch(spec, words)

    def parameters(self, spec: PhaseInt8Spec, seed: int, /) -> Sequence[Any]:
        """Return weights, and factors with bias."""
        rng = np.random.default_rng(seed)
        kernel = _phases.random_kernel(spec, lambda shape: random_weights(shape, rng), np.int8)
        numbers = random_numbers(1 + PHASES, 2 * spec.source.c, spec.target, rng)
        return arrange(kernel, spec.uses), pad_numbers(numbers)

    def reference(
        self,
        spec: PhaseInt8Spec,
        images: Sequence[Floats],
        parameters: Sequence[npt.NDArray[Any]],
        /,
    ) -> Floats:
        """Convolve once a phase and put the phases where they belong."""
        integers, numbers = images[0] / spec.source.scale, parameters[1][:, : spec.target.c]
        return _phases.reference(
            spec,
            integers,
            restore(parameters[0], spec),
            lambda sums, phase: finish(sums, numbers, spec.target, phase),
        )


REGISTRY.register(PhaseInt8.name)(PhaseInt8())
