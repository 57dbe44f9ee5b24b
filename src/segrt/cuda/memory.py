"""One arena for all inner values: buffers whose lives do not meet share memory."""

from __future__ import annotations

from collections.abc import Mapping

from segrt.cuda.plan import Buffer

# What a bulk copy or a vector access may ask for at most.
ALIGNMENT_BYTES = 1024


def place_buffers(buffers: Mapping[str, Buffer]) -> tuple[dict[str, int], int]:
    """Return the offset of every buffer in the arena, and the arena's size, in bytes.

    Largest first, each at the lowest place where it meets no buffer alive at the same time.
    """
    placed: list[tuple[int, int, Buffer]] = []
    offsets: dict[str, int] = {}
    for name, buffer in sorted(buffers.items(), key=lambda item: (-item[1].size, item[1].first)):
        size = -(-buffer.size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        start = 0
        for begin, end, other in sorted(placed, key=lambda entry: entry[0]):
            meets = other.first <= buffer.last and buffer.first <= other.last
            if meets and begin < start + size and start < end:
                start = end
        placed.append((start, start + size, buffer))
        offsets[name] = start
    return offsets, max((end for _, end, _ in placed), default=0)
