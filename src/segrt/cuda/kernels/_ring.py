"""Shared memory of Hopper kernels that keep tiles of an image and bring weights a tap at a time.

Two tiles lie first, so that one is fetched while the other is read; behind them the weights' ring,
as long as memory allows, and a place for results on their way out.
"""

from __future__ import annotations

from segrt.cuda.kernels import _hopper

IMAGES, _MOST_RING = 2, 6

# Barriers: full and empty of each tile, then of each block of weights.
BEGIN = _hopper.begin(
    "2 * IMAGES + 2 * RING",
    "empty = full + 8 * IMAGES;\n"
    "    u32 ring_full = empty + 8 * IMAGES, ring_empty = ring_full + 8 * RING;\n"
    "    u32 ring = base + IMAGES * TILE",
    [
        f"for (int s = 0; s < {count}; ++s) "
        f"{{ init({full} + 8 * s, 1); init({empty} + 8 * s, 2); }}"
        for count, full, empty in (("IMAGES", "full", "empty"), ("RING", "ring_full", "ring_empty"))
    ],
    lane=False,
)


def sizes(halo: tuple[int, int]) -> tuple[int, int, int]:
    """Return bytes of a tile, blocks of weights in the ring, and bytes of all shared memory.

    Args:
        halo: Rows and columns of a tile.
    """
    tile = _hopper.rounded(halo[0] * halo[1] * _hopper.PIXEL_BYTES)
    fixed = IMAGES * tile + _hopper.STAGING_BYTES * _hopper.WARPGROUPS + _hopper.ALIGNMENT_BYTES
    ring = min(_MOST_RING, (_hopper.MOST_SHARED_BYTES - 1024 - fixed) // _hopper.BLOCK_BYTES)
    return tile, ring, fixed + ring * _hopper.BLOCK_BYTES
