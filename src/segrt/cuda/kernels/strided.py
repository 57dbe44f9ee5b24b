"""Moving elements and element-by-element steps with broadcasting, on operands of any rank.

What is written is walked through in the order of its memory, so neighbouring threads write
neighbouring elements, several at once where all operands allow it. Where an operand's walk is
another one (a change of sizes out of an image), each operand counts for itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._access import (
    Access,
    Dimension,
    Instruction,
    Move,
    broadcast,
    counters,
    dimensions,
    logical,
    physical,
    pick,
    segment,
    simplified,
    together,
    whole,
)
from segrt.cuda.kernels._base import REGISTRY, THREADS, Floats, Launch, blocks_for
from segrt.cuda.kernels._elements import code, compute, literal
from segrt.cuda.kernels._limits import require_elements
from segrt.cuda.kernels._prelude import PRELUDE, constants, setting
from segrt.cuda.views import View

_HALF_MAX = 65504.0
_ACCESS_BYTES = 16


@dataclass(frozen=True, slots=True)
class StridedSpec:
    """One pass.

    Attributes:
        sources: Values read.
        fixed: Shapes of operands that come as parameters, dense and float32.
        target: What is written, all of it.
        accesses: Of the sources, then of the fixed operands.
        program: Steps on the numbers read; empty: the first one is written.
    """

    sources: tuple[View, ...]
    target: View
    accesses: tuple[Access, ...]
    program: tuple[Instruction, ...] = ()
    fixed: tuple[tuple[int, ...], ...] = ()

    @property
    def operands(self) -> tuple[View, ...]:
        """How every operand lies."""
        return (*self.sources, *(View.dense(shape, "fp32") for shape in self.fixed))


@dataclass(slots=True)
class _Walks:
    """The walks of a launch: one for all operands and the target, or one for each.

    Attributes:
        shared: The axes of all; None: they differ.
        single: The axes of each operand and, last, of the target.
        begins: Where each begins.
        table: Numbers of all tables, one behind the other.
        width: Elements a thread takes.
    """

    shared: list[Dimension] | None
    single: list[list[Dimension]]
    begins: list[int]
    table: list[int]
    width: int = 1


class Strided:
    """Kernel ``strided``; parameters: the fixed operands, then the int32 tables if any."""

    name = "strided"
    capability = (7, 5)
    cases = (
        # A transposition and a broadcast sum, then an activation.
        StridedSpec(
            (View.dense((2, 5, 3), "fp32"), View.dense((5, 1), "fp16")),
            View.dense((2, 3, 5), "fp16"),
            (
                Access((2, 3, 5), (Move(0), Move(2), Move(1)), (0, 0, 0)),
                Access((2, 3, 5), (None, None, Move(0)), (0, 0)),
            ),
            (Instruction("add", (0, 1)), Instruction("sigmoid", (2,))),
        ),
        # A channel's factor on an image, by vectors.
        StridedSpec(
            (View(2, 4, 3, 16, "fp16", 32, 16), View(2, 1, 1, 16, "fp16")),
            View(2, 4, 3, 16, "fp16"),
            (whole((2, 16, 4, 3)), broadcast((2, 16, 1, 1), (2, 16, 4, 3))),
            (Instruction("mul", (0, 1)),),
        ),
        # Padding, mirrored on one axis; a table, an even piece, a constant operand.
        StridedSpec(
            (View(1, 4, 5, 3, "fp32"),),
            View(1, 8, 7, 3, "bf16"),
            (
                Access(
                    (1, 3, 8, 7),
                    (Move(0), Move(1), Move(2, indices=(2, 1, 0, 1, 2, 3, 2, 1)),
                     Move(3, indices=(-1, 0, 1, 2, 3, 4, -1))),
                    (0, 0, 0, 0), -2.0,
                ),
                broadcast((3, 1, 1), (1, 3, 8, 7)),
            ),
            (Instruction("number", (), (0.5,)), Instruction("where", (1, 0, 2))),
            ((3, 1, 1),),
        ),
        # From an image to a row of its elements in the graph's order.
        StridedSpec(
            (View(2, 3, 4, 5, "bf16", 8, 0),), View.dense((2, 60), "fp32"), (whole((2, 5, 3, 4)),)
        ),
        # Backwards, and every other one.
        StridedSpec(
            (View.dense((6, 9), "uint8"),), View.dense((6, 4), "fp32"),
            (Access((6, 4), (Move(0, -1), Move(1, 2)), (5, 1)),),
            (Instruction("not", (0,)), Instruction("add", (0, 1))),
        ),
        StridedSpec(
            (View.dense((), "fp32"), View.dense((70,), "int8")), View.dense((70,), "fp32"),
            (broadcast((), (70,)), whole((70,))), (Instruction("sub", (0, 1)),),
        ),
        *(
            StridedSpec(
                (View.dense((3, 8), "fp32"), View.dense((3, 8), "fp32")),
                View.dense((3, 8), "fp32"), (whole((3, 8)), whole((3, 8))),
                (Instruction("abs", (1,)), Instruction(op, (0, 2)), Instruction(last, (1, 3))),
            )
            for op, last in (
                ("floor_mod", "add"), ("c_mod", "add"), ("whole_div", "sub"), ("greater", "add"),
                ("less_equal", "mul"), ("rdiv", "add"), ("less", "xor"),
            )
        ),
        # From a slice to a slice.
        StridedSpec(
            (View(3, 2, 1, 5, "fp16", 9, 3),), View(3, 2, 1, 5, "bf16", 8, 3),
            (whole((3, 5, 2, 1)),),
        ),
    )  # fmt: skip

    def launch(self, spec: StridedSpec, /) -> Launch:
        """Return source and geometry."""
        walks = _walks(spec)
        total = prod(spec.target.sizes) // walks.width
        head = constants("DST", spec.target)
        arguments = []
        for index, view in enumerate(spec.operands):
            head += constants(f"SRC{index}", view)
            arguments.append(f"const SRC{index}_S* __restrict__ x{index}")
        if walks.table:
            arguments.append("const int* __restrict__ tables")
        arguments.append("DST_S* __restrict__ y")
        head += setting(total=total, v=walks.width)
        body = "\n    ".join(_body(spec, walks))
        source = (
            f'extern "C" __global__ void strided({", ".join(arguments)}) {{\n'
            "    const u32 id = blockIdx.x * blockDim.x + threadIdx.x;\n"
            f"    if (id >= TOTAL) return;\n    {body}\n}}\n"
        )
        return Launch(PRELUDE + head + source, self.name, blocks_for(total), THREADS)

    def parameters(self, spec: StridedSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return random fixed operands, and the tables."""
        rng = np.random.default_rng(seed)
        arrays = [rng.normal(size=shape).astype(np.float32) for shape in spec.fixed]
        return [*arrays, *tables(spec)]

    def reference(
        self, spec: StridedSpec, images: Sequence[Floats], parameters: Sequence[npt.NDArray[Any]], /
    ) -> Floats:
        """Pick what each operand gives along its walk, then take the steps."""
        arrays = [logical(view, image) for view, image in zip(spec.sources, images, strict=True)]
        arrays += [
            parameter.astype(np.float64).reshape(shape)
            for parameter, shape in zip(parameters, spec.fixed, strict=False)
        ]
        sizes = spec.target.sizes
        picked = [
            pick(access, array).reshape(sizes)
            for access, array in zip(spec.accesses, arrays, strict=True)
        ]
        found = compute(spec.program, picked) if spec.program else picked[0]
        if spec.target.dtype == "fp16":
            found = np.clip(found, -_HALF_MAX, _HALF_MAX)
        found = np.broadcast_to(np.asarray(found, np.float64), sizes)
        return physical(spec.target, found)


def tables(spec: StridedSpec) -> tuple[npt.NDArray[np.int32], ...]:
    """Return the launch's last parameter, if it needs it."""
    table = _walks(spec).table
    return (np.asarray(table, np.int32),) if table else ()


def _walks(spec: StridedSpec) -> _Walks:
    """Lay out the walks.

    Raises:
        EngineError: An operand has more elements than 31 bits can count.
    """
    views = (*spec.operands, spec.target)
    require_elements(*views)
    accesses = (*spec.accesses, whole(spec.target.sizes))
    found = [dimensions(access, view) for access, view in zip(accesses, views, strict=True)]
    single, begins = [walk for walk, _ in found], [begin for _, begin in found]
    shared = together(single)
    walks = _Walks(None if shared is None else simplified(shared), single, begins, [])
    if walks.shared:
        walks.width = _width(walks.shared, views, begins)
    for axis, operand in _tabled(walks):
        table = axis.tables[operand]
        if table is not None and segment(table, axis.strides[operand]) is None:
            walks.table += table
    return walks


def _tabled(walks: _Walks) -> Iterator[tuple[Dimension, int]]:
    """Yield axes with tables, and whose."""
    for index, walk in enumerate(walks.single):
        for axis in walk if walks.shared is None else walks.shared:
            operand = 0 if walks.shared is None else index
            if axis.tables[operand] is not None:
                yield axis, operand


def _width(axes: Sequence[Dimension], views: Sequence[View], begins: Sequence[int]) -> int:
    """Return how many elements of the innermost axis a thread may take at once."""
    inner = axes[-1]
    if not inner.plain or inner.strides[-1] != 1 or any(s not in (0, 1) for s in inner.strides):
        return 1
    moving = [index for index, stride in enumerate(inner.strides) if stride == 1]
    width = min(8, *(_ACCESS_BYTES // views[index].item_bytes for index in moving))
    numbers = [inner.size]
    for index in moving:
        numbers += [begins[index], views[index].offset]
        for axis in axes[:-1]:
            table = axis.tables[index]
            numbers += [axis.strides[index]] if table is None else [max(0, n) for n in table]
    while any(number % width for number in numbers):
        width //= 2
    return width


def _body(spec: StridedSpec, walks: _Walks) -> Iterator[str]:
    operands = len(spec.accesses)
    if walks.shared:
        sizes = [axis.size for axis in walks.shared]
        sizes[-1] //= walks.width
        yield from counters("w", sizes, "id")
    used = 0
    for index in range(operands + 1):
        if walks.shared is None:
            yield from counters(f"w{index}_", [axis.size for axis in walks.single[index]], "id")
        lines, used = _place(walks, index, used)
        yield from lines
    for index in range(operands):
        yield from _load(spec, index, _step(walks, index))
    yield "Vec<DST_T, V> out;"
    yield "#pragma unroll\n    for (int i = 0; i < V; ++i) {"
    for index in range(operands):
        yield f"    const float r{index} = in{index}[i];"
    half = spec.target.dtype == "fp16"
    for line in code(spec.program, operands, _HALF_MAX) if half else code(spec.program, operands):
        yield f"    {line}"
    result = f"r{operands + len(spec.program) - 1}" if spec.program else "r0"
    if half:
        # What a half cannot hold would become infinite, and a masked row then not a number.
        limit = literal(_HALF_MAX)
        yield f"    const float kept = {result} > {limit} ? {limit} : {result};"
        yield f"    out.e[i] = DST_T::store(kept < -{limit} ? -{limit} : kept);"
    else:
        yield f"    out.e[i] = DST_T::store({result});"
    yield "}"
    yield f"out.write(y + place{operands});"


def _step(walks: _Walks, index: int) -> int:
    """Return whether an operand moves along a thread's elements."""
    return walks.shared[-1].strides[index] if walks.shared and walks.width > 1 else 0


def _place(walks: _Walks, index: int, used: int) -> tuple[list[str], int]:
    """Return the lines that find ``place`` and ``inside`` of an operand; numbers of tables used."""
    lines, terms, conditions = [], [str(walks.begins[index])], []
    shared = walks.shared is not None
    axes = walks.single[index] if walks.shared is None else walks.shared
    operand, prefix = (index, "w") if shared else (0, f"w{index}_")
    for number, axis in enumerate(axes):
        counter, stride, table = f"{prefix}{number}", axis.strides[operand], axis.tables[operand]
        if shared and number == len(axes) - 1:
            counter = f"{counter} * V"
        if table is None:
            if stride:
                terms.append(f"(int)({counter}) * {stride}")
            continue
        even = segment(table, stride)
        if even is None:
            lines.append(f"const int t{index}_{number} = tables[{used} + {counter}];")
            used += len(table)
            terms.append(f"t{index}_{number}")
            conditions.append(f"t{index}_{number} >= 0")
        else:
            begin, end, first = even
            terms.append(f"{first} + ((int)({counter}) - {begin}) * {stride}")
            conditions.append(f"(u32)((int)({counter}) - {begin}) < {end - begin}u")
    lines.append(f"const int place{index} = {' + '.join(terms)};")
    lines.append(f"const bool inside{index} = {' && '.join(conditions) or 'true'};")
    return lines, used


def _load(spec: StridedSpec, index: int, step: int) -> Iterator[str]:
    """Yield the lines that read an operand's numbers of one thread."""
    fill = literal(spec.accesses[index].fill)
    kind, name = f"SRC{index}_T", f"in{index}"
    yield f"float {name}[V];"
    if step:
        yield f"if (inside{index}) {{"
        yield f"    auto vector = Vec<{kind}, V>::read(x{index} + place{index});"
        yield f"    for (int i = 0; i < V; ++i) {name}[i] = {kind}::load(vector.e[i]);"
        yield "} else {"
        yield f"    for (int i = 0; i < V; ++i) {name}[i] = {fill};"
        yield "}"
    else:
        found = f"{kind}::load(x{index}[place{index}])"
        yield f"const float one{index} = inside{index} ? {found} : {fill};"
        yield f"for (int i = 0; i < V; ++i) {name}[i] = one{index};"


REGISTRY.register(Strided.name)(Strided())
