"""Kernels that look at groups of elements: a group for each place along the axes that are kept.

A block holds some groups and some threads for each. Where the elements of a group lie side by
side, neighbouring threads take neighbouring elements of it; where neighbouring elements belong to
different groups, neighbouring threads take different groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from segrt.cuda.kernels._access import counters, place

_THREADS = 256


@dataclass(frozen=True, slots=True)
class Side:
    """The kept axes, or those along which a group's elements lie.

    Attributes:
        sizes: Of the axes, the one that moves least in the source's memory last.
        strides: For each operand, elements from one step to the next along each axis.
    """

    sizes: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]

    @property
    def total(self) -> int:
        """How many places there are."""
        return prod(self.sizes)

    def offsets(self, name: str, index: str) -> Iterator[str]:
        """Yield lines that define ``<name>0``, ``<name>1`` ...: each operand's place."""
        yield from counters(f"{name}_c", self.sizes, index)
        for operand, strides in enumerate(self.strides):
            counts = [f"{name}_c{axis}" for axis in range(len(strides))]
            yield f"const int {name}{operand} = {place(counts, strides, '(int)')};"


@dataclass(frozen=True, slots=True)
class Groups:
    """How groups are spread over threads.

    Attributes:
        kept: Axes that tell groups apart.
        within: Axes along which a group's elements lie.
        lanes: Threads for each group.
        along: Neighbouring threads take elements of one group.
    """

    kept: Side
    within: Side
    lanes: int
    along: bool

    @property
    def per_block(self) -> int:
        """Groups of a block."""
        return _THREADS // self.lanes

    @property
    def blocks(self) -> int:
        """Blocks of the launch."""
        return -(-self.kept.total // self.per_block)

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return _THREADS

    def begin(self) -> str:
        """Return the lines that define ``lane``, ``group``, ``live`` and each operand's place."""
        slot, lane = "threadIdx.x / LANES", "threadIdx.x % LANES"
        if not self.along:
            slot, lane = "threadIdx.x % GROUPS", "threadIdx.x / GROUPS"
        lines = [
            f"constexpr int LANES = {self.lanes}, GROUPS = {self.per_block};",
            f"constexpr int COUNT = {self.within.total};",
            f"const int slot = {slot}, lane = {lane};",
            "const u32 wanted = blockIdx.x * GROUPS + slot;",
            f"const bool live = wanted < {self.kept.total}u;",
            "const u32 group = live ? wanted : 0u;",
            *self.kept.offsets("base", "group"),
        ]
        return "\n    ".join(lines)

    def each(self, body: str) -> str:
        """Return a loop over a lane's elements; ``element`` counts, ``at0`` ... are places."""
        lines = "\n        ".join(self.within.offsets("at", "(u32)element"))
        return (
            "for (int element = lane; element < COUNT; element += LANES) {\n"
            f"        {lines}\n        {body}\n    }}"
        )


def spread(sizes: Sequence[int], axes: Sequence[int], strides: Sequence[Sequence[int]]) -> Groups:
    """Return how to spread groups.

    Args:
        sizes: Of the source.
        axes: Along which a group's elements lie.
        strides: Of each operand along the source's axes; the source's first.
    """
    kept = _side(sizes, [axis for axis in range(len(sizes)) if axis not in axes], strides)
    within = _side(sizes, axes, strides)
    along = not _even(kept) or _even(within)
    most = _THREADS if along else _THREADS // 32
    lanes = 1
    while lanes < most and lanes < within.total:
        lanes *= 2
    # Few groups: more threads for each rather than empty ones.
    while not along and lanes < _THREADS and _THREADS // lanes >= 2 * kept.total:
        lanes *= 2
    return Groups(kept, within, lanes, along)


def _side(sizes: Sequence[int], axes: Sequence[int], strides: Sequence[Sequence[int]]) -> Side:
    ordered = sorted((axis for axis in axes if sizes[axis] > 1), key=lambda a: -strides[0][a])
    return Side(
        tuple(sizes[axis] for axis in ordered),
        tuple(tuple(operand[axis] for axis in ordered) for operand in strides),
    )


def _even(side: Side) -> bool:
    """Say whether neighbours along the last axis lie side by side."""
    return bool(side.sizes) and side.strides[0][-1] == 1


def tree(combine: str) -> str:
    """Return the lines that combine all lanes' values through shared memory.

    Args:
        combine: Statements that take thread ``other``'s part into that of ``me``.
    """
    return (
        "__syncthreads();\n"
        "    for (int half = LANES / 2; half > 0; half /= 2) {\n"
        "        if (lane < half) {\n"
        "            const int me = threadIdx.x, other = me + half * NEXT;\n"
        f"            {combine}\n"
        "        }\n        __syncthreads();\n    }"
    )
