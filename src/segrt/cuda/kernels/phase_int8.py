"""`phase_convolution` on integers of eight bits: merged upsampling, Hopper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels import _hopper, _hopper_int8
from segrt.cuda.kernels._base import REGISTRY, Floats, Launch, Map
from segrt.cuda.kernels._integers import finish, random_numbers, random_weights
from segrt.cuda.kernels._prelude import constants, setting
from segrt.cuda.kernels.first_convolution import convolve
from segrt.cuda.kernels.phase_convolution import PHASES, SOURCE, TILE_H, TILE_W
from segrt.cuda.views import View

_STAGES = 2

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
class PhaseInt8Spec:
    """A convolution with stride 1 to the phases (0, 0), (0, 1), (1, 0), (1, 1).

    Attributes:
        source: The small image: a multiple of 16 channels, int8 or uint8, aligned to 16 bytes.
        target: Twice as high and wide, else the same.
        window: Height and width of the kernel.
        before: Padding above and to the left.
        uses: (tap, phase) wherever weights are not all zero; taps count row by row.
        relu: Whether a ReLU follows.
    """

    source: View
    target: View
    window: tuple[int, int]
    before: tuple[int, int]
    uses: tuple[tuple[int, int], ...]
    relu: bool

    @property
    def sources(self) -> tuple[View, ...]:
        """The one image."""
        return (self.source,)


def _sizes(spec: PhaseInt8Spec) -> tuple[int, int, int]:
    """Return bytes of a tile, of its weights, and of all shared memory."""
    rows, cols = TILE_H + spec.window[0] - 1, TILE_W + spec.window[1] - 1
    tile = _hopper.rounded(rows * cols * _hopper.PIXEL_BYTES)
    weights = len(spec.uses) * _hopper.BLOCK_BYTES
    staging = 4 * _hopper.WARPGROUPS * _hopper_int8.STAGING_BYTES
    return tile, weights, _STAGES * (tile + weights) + staging + _hopper.ALIGNMENT_BYTES


def fits(spec: PhaseInt8Spec) -> bool:
    """Say whether the kernel takes these sizes."""
    source, target = spec.source, spec.target
    ends = _hopper_int8.fits_copy_engine(source) and _hopper_int8.fits_way_out(target)
    twice = (target.h, target.w) == (2 * source.h, 2 * source.w)
    small = _sizes(spec)[2] <= _hopper.MOST_SHARED_BYTES - 1024
    return ends and twice and small and max(spec.window) <= 3 and bool(spec.uses)


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


_SAME_2X2 = tuple(
    (2 * y + x, 2 * py + px)
    for y in range(2)
    for x in range(2)
    for py in range(2)
    for px in range(2)
    if y <= py and x <= px
)


class PhaseInt8:
    """Kernel ``phase_int8``; parameters: `arrange`d weights, factors a phase and bias (5, K)."""

    name = "phase_int8"
    capability = (9, 0)
    cases = (
        PhaseInt8Spec(
            View(13, 40, 28, 384, "int8", scale=0.1),
            View(13, 80, 56, 128, "int8", 256, 128, 0.2), (2, 2), (0, 0), _SAME_2X2, True,
        ),
        PhaseInt8Spec(
            View(3, 9, 12, 128, "int8", 192, 64, 0.1), View(3, 18, 24, 64, "int8", scale=0.2),
            (2, 2), (1, 1), ((0, 0), (1, 1), (2, 2), (3, 3), (3, 0)), False,
        ),
        PhaseInt8Spec(
            View(3, 9, 12, 32, "uint8", scale=0.1), View(3, 18, 24, 16, "uint8", 32, 16, 0.2),
            (2, 2), (0, 0), _SAME_2X2, True,
        ),
        PhaseInt8Spec(
            View(3, 9, 12, 160, "uint8", scale=0.1), View(3, 18, 24, 80, "int8", scale=0.2),
            (2, 2), (0, 0), _SAME_2X2, True,
        ),
    )  # fmt: skip

    def launch(self, spec: PhaseInt8Spec, /) -> Launch:
        """Return source and geometry: a block of two warpgroups and a fetching thread."""
        tile, weights, total = _sizes(spec)
        source, target = spec.source, spec.target
        rows, cols = TILE_H + spec.window[0] - 1, TILE_W + spec.window[1] - 1
        head = constants("SRC", source) + constants("DST", target)
        head += setting(top=spec.before[0], left=spec.before[1], relu=int(spec.relu))
        head += setting(rows=rows, cols=cols, stages=_STAGES, tile=tile, weights=weights)
        head += _hopper_int8.words(target, 4, target.c) + _hopper_int8.HELPERS
        head += "".join(_hopper_int8.product(phase, 64, source) for phase in range(PHASES))
        store = "".join(
            _STORE.replace("@SLOT@", str(p)).replace("@Y@", str(p // 2)).replace("@X@", str(p % 2))
            for p in range(PHASES)
        )
        body = SOURCE.replace("@PRODUCTS@", _products(spec, cols)).replace("@STORE@", store)
        # Channels are filled up to whole rows and columns.
        body = body.replace("SRC_C / CHANNELS", "(SRC_C + CHANNELS - 1) / CHANNELS")
        body = body.replace("DST_C / 64", "(DST_C + 63) / 64")
        groups = -(-target.c // 64)
        tiles = source.n * -(-source.h // TILE_H) * -(-source.w // TILE_W) * groups
        text = (_hopper.HELPERS + head + body).replace("phase_convolution", self.name)
        return Launch(
            text, self.name, tiles, _hopper.THREADS, total,
            (Map(0, (_hopper_int8.CHANNELS, cols, rows)),), persistent=True, specific=True,
        )  # fmt: skip

    def parameters(self, spec: PhaseInt8Spec, seed: int, /) -> Sequence[Any]:
        """Return weights, and factors with bias."""
        rng = np.random.default_rng(seed)
        kernel = np.zeros((PHASES * spec.target.c, spec.source.c, *spec.window), np.int8)
        blocks = kernel.reshape(PHASES, spec.target.c, spec.source.c, -1)
        for tap, phase in spec.uses:
            blocks[phase, :, :, tap] = random_weights(blocks.shape[1:3], rng)
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
        k, c = spec.target.c, spec.source.c
        blocks, integers = restore(parameters[0], spec), images[0] / spec.source.scale
        result = np.empty((spec.target.n, spec.target.h, spec.target.w, k))
        for phase in range(PHASES):
            weights = np.zeros((spec.window[0] * spec.window[1], c, k))
            for (tap, wanted), block in zip(spec.uses, blocks, strict=True):
                if wanted == phase:
                    weights[tap] = block
            size = (spec.source.h, spec.source.w)
            sums = convolve(integers, weights.reshape(*spec.window, c, k), spec.before, size)
            part = finish(sums, parameters[1][:, :k], spec.target, phase)
            result[:, phase // 2 :: 2, phase % 2 :: 2] = part
        return np.maximum(result, 0) if spec.relu else result


def _products(spec: PhaseInt8Spec, cols: int) -> str:
    """Return one product a use: the tile begun at the tap's pixel, into the phase's sums."""
    lines = []
    for index, (tap, phase) in enumerate(spec.uses):
        y, x = divmod(tap, spec.window[1])
        pixel = (y * cols + x) * _hopper.PIXEL_BYTES
        lines.append(
            f"                    product_{phase}(sums, at(IMAGE, image + {pixel} + step * 32), "
            f"at(KERNEL, kernel + {index * _hopper.BLOCK_BYTES} + step * 32));"
        )
    return "\n".join(lines)


REGISTRY.register(PhaseInt8.name)(PhaseInt8())
