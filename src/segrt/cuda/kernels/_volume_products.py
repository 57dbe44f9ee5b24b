"""Products of convolutions of volumes: rows of outputs, steps of channels, order of the weights.

A product has 64 rows. Where a slice has fewer outputs, its neighbours' lie behind its own, so that
all of them read the same pixels. Four steps of 16 channels make a block of 8 KiB; where fewer
channels are left, a block goes on with the next taps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels import _hopper
from segrt.cuda.kernels._base import Floats

ROWS, STEPS = 64, 4

# Ring: what blocks of weights come through, and how far a warpgroup is.
CHUNK_PRODUCTS = r"""
struct Ring { u32 begin, full, empty, parity; int slot, last, begun; };
// A tile's products over 16 * STEPS channels.
template <int STEPS> __device__ __forceinline__ void chunk_products(
        float (&sums)[128], Ring& ring, u32 image, u32 before, int thread, int group) {
    constexpr u64 IMAGE = tile_of(COLS * 128), KERNEL = tile_of(1024);
    constexpr int COUNT = TAPS * STEPS, BLOCKS = (COUNT + 3) / 4;
#pragma unroll (STEPS == 4 ? 1 : BLOCKS)
    for (int block = 0; block < BLOCKS; ++block) {
        u32 kernel = ring.begin + ring.slot * 8192;
        wait(ring.full + 8 * ring.slot, ring.parity);
        products_begin();
#pragma unroll
        for (int step = 0; step < 4; ++step) {
            int index = block * 4 + step, tap = index / STEPS;
            if (STEPS == 4 || index < COUNT)
                product_0(sums, at(KERNEL, kernel + step * 32),
                          at(IMAGE, image + (tap / WIDTH * COLS + tap % WIDTH) * 128
                                    + index % STEPS * 32));
        }
        products_commit();
        products_wait<1>();
        // What the products before this block's have read may be overwritten.
        if (thread % 128 == 0) {
            if (ring.last >= 0) arrive(ring.empty + 8 * ring.last);
            if (block == 0 && before) arrive(before);
        }
        if (++ring.begun == BEHIND && group == 0)
            asm volatile("bar.arrive 4, 256;" ::: "memory");
        ring.last = ring.slot;
        if (++ring.slot == RING) { ring.slot = 0; ring.parity ^= 1; }
    }
}
"""


def outputs_of(channels: int, depth: int) -> int:
    """Return how many outputs of a slice a product has: of what wastes least the most.

    Args:
        channels: Of the target.
        depth: Of the window.
    """

    def work(outputs: int) -> float:
        sharing = ROWS // outputs
        return -(-channels // outputs) * (sharing + depth - 1) / sharing

    return min((64, 32, 16), key=work)


def chunks(channels: int, taps: int) -> Iterator[tuple[int, int, int]]:
    """Yield first channel, steps and blocks of weights of each tile that a slice is read in."""
    for first in range(0, channels, _hopper.CHANNELS):
        steps = min(STEPS, -(-(channels - first) // 16))
        yield first, steps, -(-taps * steps // STEPS)


def arrange(weights: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """Order weights (z, y, x, in, out) as (outputs, slice, block, row, 4 x 16 in), swizzled."""
    depth, *window, channels, k = weights.shape
    own, taps = outputs_of(k, depth), int(np.prod(window))
    sharing, groups = ROWS // own, -(-k // own)
    plain = np.zeros((depth, taps, -(-channels // 16) * 16, groups * own))
    plain[:, :, :channels, :k] = weights.reshape(depth, taps, channels, k)
    split = plain.reshape(*plain.shape[:3], groups, own).transpose(3, 0, 1, 2, 4)
    # Row by row: outputs of the slice, then those of its neighbours, which begin a tap later.
    rows = np.zeros((groups, sharing + depth - 1, *plain.shape[1:3], ROWS))
    for near in range(sharing):
        rows[:, near : near + depth, :, :, near * own : (near + 1) * own] = split
    found = []
    for first, steps, blocks in chunks(channels, taps):
        part = rows[:, :, :, first : first + 16 * steps]
        part = part.reshape(groups, -1, taps * steps, 16, ROWS)
        part = np.pad(part, [(0, 0), (0, 0), (0, blocks * STEPS - taps * steps), (0, 0), (0, 0)])
        found.append(part.reshape(groups, part.shape[1], blocks, STEPS * 16, ROWS))
    return _hopper.arrange(np.concatenate(found, axis=2).transpose(0, 1, 2, 4, 3), dtype)


def arrange_bias(bias: npt.NDArray[Any], depth: int) -> npt.NDArray[np.float32]:
    """Order a bias as the rows of products.

    Args:
        bias: One number an output.
        depth: Of the window.
    """
    own = outputs_of(len(bias), depth)
    padded = np.pad(bias, (0, -len(bias) % own)).reshape(-1, own)
    return np.tile(padded, (1, ROWS // own)).astype(np.float32)


def restore(
    arranged: npt.NDArray[Any], dtype: str, window: Sequence[int], channels: int, k: int
) -> Floats:
    """Return the weights (z, y, x, in, out) that were arranged: the first slice's rows."""
    depth, height, width = window
    own, taps = outputs_of(k, depth), height * width
    parts = list(chunks(channels, taps))
    shape = (-(-k // own), ROWS // own + depth - 1, sum(part[2] for part in parts), ROWS, 64)
    plain = _hopper.restore(arranged, dtype, shape)[:, :depth, :, :own]
    found, at = [], 0
    for _, steps, blocks in parts:
        part = plain[:, :, at : at + blocks].transpose(1, 2, 4, 0, 3)
        part = part.reshape(depth, blocks * STEPS, 16, -1)[:, : taps * steps]
        found.append(part.reshape(depth, taps, steps * 16, -1))
        at += blocks
    whole = np.concatenate(found, axis=2)[:, :, :channels, :k]
    return whole.reshape(depth, height, width, channels, k)
