"""`resident_convolution` on integers of eight bits: weights in shared memory, Hopper.

With more than 64 outputs each block has the weights of 64 of them and walks over the image for
these alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels import _hopper, _hopper_int8, _resident
from segrt.cuda.kernels._base import REGISTRY, Floats, Launch
from segrt.cuda.kernels._integers import finish, random_numbers, random_weights
from segrt.cuda.kernels._prelude import setting
from segrt.cuda.kernels._resident import ResidentSpec
from segrt.cuda.kernels.first_convolution import convolve
from segrt.cuda.views import View

_STAGING_BYTES = 4 * _hopper.WARPGROUPS * _hopper_int8.STAGING_BYTES
# Of 64 outputs; fewer than the smallest part of a GPU has multiprocessors.
_MOST_GROUPS = 8

_STORE = r"""
            to_staging_int8<@SLOT@>(sums, bias + PART * 64, bias + (GROUPS + PART) * 64, staging,
                                    lane);
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                int row = i * 8 + lane / 4, m = warp * 16 + row;
                int ty0 = ty * 8 + m / 8, tx0 = tx * WIDE + @SLOT@ * 8 + m % 8;
                uint4 v = from_staging_int8(staging, row, lane % 4);
                if (ty0 < DST_H && tx0 < DST_W && PART * 64 + lane % 4 * 16 < DST_C)
                    *(uint4*)(y + (((u64)n * DST_H + ty0) * DST_W + tx0) * DST_PITCH
                              + PART * 64 + lane % 4 * 16) = v;
            }
            __syncwarp();
"""

# The 64 outputs that a block computes, and its place among the blocks that compute the same. Where
# their number does not divide the blocks', the last few do again what others do.
_PARTS = """
#define PART (blockIdx.x % GROUPS)
#define BLOCK (blockIdx.x / GROUPS)
#define BLOCKS (gridDim.x / GROUPS)
"""


@dataclass(frozen=True, slots=True)
class ResidentInt8Spec(ResidentSpec):
    """A convolution with stride 1.

    Attributes:
        source: A multiple of 16 channels, int8 or uint8, aligned to 16 bytes.
        target: The same; or 1 to 8 channels of any type.
    """

    @property
    def channels(self) -> int:
        """Channels that a row of 128 bytes holds."""
        return _hopper_int8.CHANNELS

    @property
    def taps_a_row(self) -> int:
        """Taps whose weights share rows of 128 bytes."""
        return 2 if self.source.c <= 64 else 1

    @property
    def row(self) -> int:
        """Channels that one tap has in a row of weights."""
        return _hopper_int8.CHANNELS // self.taps_a_row

    @property
    def blocks(self) -> tuple[int, ...]:
        """Block, tap in it, chunk, channel in it, group, output in it: how weights divide."""
        taps, chunks = (self.weight_blocks, self.taps_a_row), (self.chunks, self.row)
        return (*taps, *chunks, self.groups, self.outputs)


def fits(spec: ResidentInt8Spec) -> bool:
    """Say whether the kernel takes these sizes."""
    target = spec.target
    wide = _hopper_int8.fits_way_out(target) and spec.groups <= _MOST_GROUPS
    ends = _hopper_int8.fits_copy_engine(spec.source) and (wide or target.c <= 8)
    return ends and _resident.fits(spec, _STAGING_BYTES)


def arrange(weights: npt.NDArray[Any], spec: ResidentInt8Spec) -> npt.NDArray[np.int8]:
    """Order integers (y, x, in, out) as (64 outputs, chunk, block, outputs, 128), swizzled.

    A row holds one tap of 128 inputs, or two taps of 64; what is missing to whole rows, and to 64
    outputs or 8, is zero. 64 stand in the `_hopper_int8.order` of a product's columns.
    """
    taps = weights.astype(np.int8).reshape(-1, *weights.shape[2:])
    for axis, unit in enumerate((spec.taps_a_row, spec.row, spec.outputs)):
        taps = _hopper_int8.padded(taps, axis, unit)
    parts = taps.reshape(*taps.shape[:2], spec.groups, spec.outputs)
    if spec.outputs == 64:
        parts = parts[..., _hopper_int8.order()]
    blocks = parts.reshape(spec.blocks).transpose(4, 2, 0, 5, 1, 3)
    rows = blocks.reshape(spec.groups * spec.chunks, -1, _hopper_int8.CHANNELS)
    return _hopper_int8.swizzled(rows)


def restore(arranged: npt.NDArray[Any], spec: ResidentInt8Spec) -> npt.NDArray[np.float64]:
    """Return what `arrange` was given."""
    blocks = _hopper_int8.swizzled(arranged).astype(np.float64)
    shape = tuple(spec.blocks[axis] for axis in (4, 2, 0, 5, 1, 3))
    plain = blocks.reshape(shape).transpose(2, 4, 1, 5, 0, 3)
    if spec.outputs == 64:
        plain = plain[..., np.argsort(_hopper_int8.order())]
    plain = plain.reshape(-1, spec.chunks * spec.row, spec.groups * spec.outputs)
    plain = plain[: spec.window[0] * spec.window[1], : spec.source.c, : spec.target.c]
    return plain.reshape(*spec.window, spec.source.c, spec.target.c)


def pad_numbers(numbers: npt.NDArray[Any], spec: ResidentInt8Spec) -> npt.NDArray[np.float32]:
    """Return rows of factors and bias with as many columns as products have."""
    return _hopper_int8.padded(numbers.astype(np.float32), 1, spec.outputs)


class ResidentInt8:
    """Kernel ``resident_int8``; parameters: `arrange`d weights, factors and bias (2, columns)."""

    name = "resident_int8"
    capability = (9, 0)
    cases = (
        ResidentInt8Spec(
            View(3, 20, 60, 64, "int8", 128, 64, 0.02), View(3, 20, 60, 64, "int8", 192, 64, 0.5),
            (3, 3), (1, 1), True,
        ),
        ResidentInt8Spec(
            View(40, 24, 40, 128, "int8", scale=0.1), View(40, 24, 40, 64, "int8", scale=0.3),
            (3, 3), (1, 1), False,
        ),
        ResidentInt8Spec(
            View(30, 17, 33, 64, "int8", scale=0.1), View(30, 17, 33, 2, "fp32"), (3, 3), (1, 1),
            True,
        ),
        ResidentInt8Spec(
            View(2, 9, 12, 256, "int8", scale=0.1), View(2, 9, 12, 5, "fp16"), (2, 2), (0, 0),
            False,
        ),
        ResidentInt8Spec(
            View(40, 24, 40, 64, "int8", scale=0.1), View(40, 24, 40, 192, "int8", 256, 64, 0.3),
            (3, 3), (1, 1), True,
        ),
        ResidentInt8Spec(
            View(40, 24, 40, 256, "uint8", scale=0.1), View(40, 24, 40, 128, "uint8", scale=0.3),
            (3, 3), (1, 1), True,
        ),
        ResidentInt8Spec(
            View(9, 17, 33, 16, "uint8", 32, 16, 0.1), View(9, 17, 33, 32, "int8", 48, 16, 0.3),
            (3, 3), (1, 1), True,
        ),
        ResidentInt8Spec(
            View(9, 17, 33, 96, "int8", scale=0.1), View(9, 17, 33, 80, "uint8", scale=0.3),
            (2, 3), (0, 1), True,
        ),
        ResidentInt8Spec(
            View(9, 17, 33, 48, "uint8", scale=0.1), View(9, 17, 33, 3, "fp32"), (3, 3), (1, 1),
            True,
        ),
        # Smaller than a tile and than the window.
        ResidentInt8Spec(
            View(1, 3, 2, 16, "int8", scale=0.1), View(1, 3, 2, 16, "int8", 48, 16, 0.3), (5, 5),
            (2, 2), False,
        ),
        ResidentInt8Spec(
            View(1, 1, 1, 128, "int8", scale=0.1), View(1, 1, 1, 7, "bf16", 9, 1), (3, 3), (1, 1),
            False,
        ),
    )  # fmt: skip

    def launch(self, spec: ResidentInt8Spec, /) -> Launch:
        """Return source and geometry: a block of two warpgroups and a fetching thread."""
        layout = _resident.layout(spec, _STAGING_BYTES)
        assert layout is not None
        steps = min(4, -(-spec.source.c // _hopper_int8.STEP_BYTES))
        types = setting(groups=spec.groups) + _PARTS
        types += _hopper_int8.words(spec.target, steps, spec.outputs)
        products = (
            _hopper_int8.product(slot, spec.outputs, spec.source) for slot in range(layout.sub)
        )
        words = _resident.Words(
            self.name, types, _hopper_int8.HELPERS + "".join(products), _STORE,
            "(PART * CHUNKS + chunk)", "BLOCK", "BLOCKS", spec.groups,
        )  # fmt: skip
        return _resident.launch(spec, layout, words)

    def parameters(self, spec: ResidentInt8Spec, seed: int, /) -> Sequence[Any]:
        """Return weights, and factors with bias."""
        rng = np.random.default_rng(seed)
        weights = random_weights((*spec.window, spec.source.c, spec.target.c), rng)
        terms = spec.window[0] * spec.window[1] * spec.source.c
        numbers = random_numbers(2, terms, spec.target, rng)
        return arrange(weights, spec), pad_numbers(numbers, spec)

    def reference(
        self,
        spec: ResidentInt8Spec,
        images: Sequence[Floats],
        parameters: Sequence[npt.NDArray[Any]],
        /,
    ) -> Floats:
        """Sum shifted images; weights are taken back from their arrangement."""
        size = (spec.target.h, spec.target.w)
        integers = images[0] / spec.source.scale
        sums = convolve(integers, restore(parameters[0], spec), spec.before, size)
        result: Floats = finish(sums, parameters[1][:, : spec.target.c], spec.target)
        return np.maximum(result, 0) if spec.relu else result


REGISTRY.register(ResidentInt8.name)(ResidentInt8())
