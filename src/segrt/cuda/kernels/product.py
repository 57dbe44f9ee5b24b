"""Sums of products of two values of any rank: matrix products, batched ones, contractions.

A block computes a tile of the result; both operands' parts go through shared memory as fp32, where
the sums are kept too. The equation's letters fall into four groups: those of all three values
(batches), of the left one and the result (rows), of the right one and the result (columns), and
of the operands alone, which are summed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._access import physical
from segrt.cuda.kernels._base import REGISTRY, Floats, Launch
from segrt.cuda.kernels._elements import literal
from segrt.cuda.kernels._groups import Side
from segrt.cuda.kernels._limits import require_elements
from segrt.cuda.kernels._operands import (
    Fixed,
    operand_arrays,
    operand_views,
    pointer_arguments,
    pointer_order,
)
from segrt.cuda.kernels._prelude import PRELUDE, constants, filled, setting
from segrt.cuda.views import View

_THREADS = 256
_DEPTH = 16
_SOURCE = r"""
extern "C" __global__ void product(ARGUMENTS DST_S* __restrict__ y) {
    constexpr int TM = BM / 16, TN = BN / 16, AL = BM * DEPTH / 256, BL = BN * DEPTH / 256;
    __shared__ __align__(16) float as[DEPTH][BM + 4];
    __shared__ __align__(16) float bs[DEPTH][BN + 4];
    const u32 column_tile = blockIdx.x % COLUMN_TILES, rest = blockIdx.x / COLUMN_TILES;
    const u32 row_tile = rest % ROW_TILES, batch = rest / ROW_TILES;
    BATCH
    const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    int rows[AL], columns[BL];
    bool row_in[AL], column_in[BL];
    int ak[AL], am[AL], bk[BL], bn[BL];
#pragma unroll
    for (int i = 0; i < AL; ++i) {
        const int e = threadIdx.x + i * 256;
        ak[i] = LEFT_ALONG ? e % DEPTH : e / BM;
        am[i] = LEFT_ALONG ? e / DEPTH : e % BM;
        const u32 m = row_tile * BM + am[i];
        row_in[i] = m < ROWS;
        ROW_OFFSETS
        rows[i] = batch0 + m0;
    }
#pragma unroll
    for (int i = 0; i < BL; ++i) {
        const int e = threadIdx.x + i * 256;
        bk[i] = RIGHT_ALONG ? e % DEPTH : e / BN;
        bn[i] = RIGHT_ALONG ? e / DEPTH : e % BN;
        const u32 n = column_tile * BN + bn[i];
        column_in[i] = n < COLUMNS;
        COLUMN_OFFSETS
        columns[i] = batch1 + n1;
    }
    float sums[TM][TN] = {};
    for (int from = 0; from < DEPTHS; from += DEPTH) {
#pragma unroll
        for (int i = 0; i < AL; ++i) {
            const int k = from + ak[i];
            float v = 0.0f;
            if (row_in[i] && k < DEPTHS) {
                SUM_OFFSETS
                v = A_T::load(a[rows[i] + k0]);
            }
            as[ak[i]][am[i]] = v;
        }
#pragma unroll
        for (int i = 0; i < BL; ++i) {
            const int k = from + bk[i];
            float v = 0.0f;
            if (column_in[i] && k < DEPTHS) {
                SUM_OFFSETS
                v = B_T::load(b[columns[i] + k1]);
            }
            bs[bk[i]][bn[i]] = v;
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < DEPTH; ++k) {
            float left[TM], right[TN];
#pragma unroll
            for (int i = 0; i < TM; ++i) left[i] = as[k][ty * TM + i];
#pragma unroll
            for (int j = 0; j < TN; ++j) right[j] = bs[k][tx * TN + j];
#pragma unroll
            for (int i = 0; i < TM; ++i)
#pragma unroll
                for (int j = 0; j < TN; ++j) sums[i][j] = fmaf(left[i], right[j], sums[i][j]);
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < TM; ++i) {
        const u32 m = row_tile * BM + ty * TM + i;
        if (m >= ROWS) continue;
        ROW_OFFSETS
#pragma unroll
        for (int j = 0; j < TN; ++j) {
            const u32 n = column_tile * BN + tx * TN + j;
            if (n >= COLUMNS) continue;
            COLUMN_OFFSETS
            float v = sums[i][j] * FACTOR;
#if BIASED
            v += bias[batch3 + m3 + n3];
#endif
            y[batch2 + m2 + n2] = DST_T::store(v);
        }
    }
}
"""


@dataclass(frozen=True, slots=True)
class ProductSpec:
    """A product.

    Attributes:
        sources: Operands that are computed.
        target: What is written.
        left: A letter for each axis of the first operand.
        right: Likewise of the second.
        result: Likewise of the target.
        fixed: Operands that come as parameters.
        bias: Numbers added along the target's last axis: how many; 0: nothing.
        factor: What sums are multiplied with.
    """

    sources: tuple[View, ...]
    target: View
    left: str
    right: str
    result: str
    fixed: Fixed = ()
    bias: int = 0
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Axes:
    """An equation's letters by what they do; strides of left, right, target and bias."""

    batches: Side
    rows: Side
    columns: Side
    summed: Side


def steps_of(
    spec: ProductSpec, views: Sequence[View], letters: Sequence[str]
) -> tuple[dict[str, int], dict[str, list[int]]]:
    """Return for each letter its size, and how far it moves in operands, target and bias.

    Args:
        spec: The product.
        views: Of the two operands.
        letters: Of the two operands.
    """
    sizes: dict[str, int] = {}
    strides: dict[str, list[int]] = {}
    triples = zip((*views, spec.target), (*letters, spec.result), strict=True)
    for place, (view, names) in enumerate(triples):
        for name, size, stride in zip(names, view.sizes, view.strides, strict=True):
            sizes[name] = max(size, sizes.get(name, 1))
            strides.setdefault(name, [0, 0, 0, 0])[place] = stride if size > 1 else 0
    if spec.bias > 1:
        strides[spec.result[-1]][3] = 1
    return sizes, strides


def axes_of(spec: ProductSpec, *, swapped: bool = False) -> Axes:
    """Sort the letters of an equation.

    Args:
        spec: The product.
        swapped: Let the operands change places.
    """
    views = operand_views(spec.sources, spec.fixed)
    letters = [spec.left, spec.right]
    if swapped:
        views, letters = views[::-1], letters[::-1]
    left, right = letters
    sizes, strides = steps_of(spec, views, letters)

    def side(wanted: Sequence[str], leader: int) -> Side:
        names = sorted((n for n in wanted if sizes[n] > 1), key=lambda n: -strides[n][leader])
        each = tuple(tuple(strides[name][place] for name in names) for place in range(4))
        return Side(tuple(sizes[name] for name in names), each)

    known = [name for name in sizes if name in spec.result]
    return Axes(
        side([n for n in known if n in left and n in right], 2),
        side([n for n in known if n in left and n not in right], 0),
        side([n for n in known if n not in left], 2),
        side([n for n in sizes if n not in spec.result], 0),
    )


def arguments(spec: ProductSpec, names: str) -> str:
    """Return a launch's arguments but for the target; ``names`` has a letter for each operand."""
    bias = "const float* __restrict__ bias, " if spec.bias else ""
    return pointer_arguments(names, pointer_order(2, spec.fixed)) + bias


def _last(side: Side, operand: int) -> int:
    return side.strides[operand][-1] if side.sizes else 0


class Product:
    """Kernel ``product``; parameters, float32: operands that are fixed, then the bias."""

    name = "product"
    capability = (7, 5)
    cases: tuple[ProductSpec, ...] = (
        ProductSpec(
            (View.dense((37, 70), "fp16"),), View.dense((37, 90), "fp16"), "mk", "kn", "mn",
            ((1, (70, 90)),), 90,
        ),
        # Attention: heads are an axis in the middle.
        ProductSpec(
            (View.dense((2, 20, 3, 8), "fp32"), View.dense((2, 30, 3, 8), "fp32")),
            View.dense((2, 3, 20, 30), "fp32"), "bmhk", "bnhk", "bhmn", factor=0.25,
        ),
        # A matrix from the left on an image's rows.
        ProductSpec(
            (View(2, 9, 5, 4, "bf16", 8, 4),), View(2, 11, 5, 4, "fp32"), "mk", "bckn", "bcmn",
            ((0, (11, 9)),),
        ),
        ProductSpec(
            (View.dense((1, 6, 8, 4), "fp32"), View.dense((1, 6, 8, 5), "fp32")),
            View.dense((1, 4, 5), "fp32"), "bhwc", "bhwd", "bcd",
        ),
        ProductSpec(
            (View.dense((100, 3), "fp32"), View.dense((3, 70), "int8")),
            View.dense((100, 70), "bf16"), "mk", "kn", "mn", (), 1, -1.5,
        ),
        ProductSpec(
            (View.dense((1, 1), "int8"), View.dense((1, 1), "fp32")), View.dense((1, 1), "bf16"),
            "mk", "kn", "mn",
        ),
        # From a slice to a slice, one column more than a tile.
        ProductSpec(
            (View(1, 13, 5, 7, "fp16", 9, 2),), View(1, 13, 5, 17, "fp32", 20, 3), "bchw", "kc",
            "bkhw", ((1, (17, 7)),),
        ),
    )  # fmt: skip

    def launch(self, spec: ProductSpec, /) -> Launch:
        """Return source and geometry."""
        require_elements(*operand_views(spec.sources, spec.fixed), spec.target)
        plain = axes_of(spec)
        # Neighbouring threads write neighbouring columns.
        swapped = _last(plain.rows, 2) == 1 and _last(plain.columns, 2) != 1
        axes = axes_of(spec, swapped=swapped)
        rows, columns = axes.rows.total, axes.columns.total
        height, width = (16 if size <= 32 else 64 for size in (rows, columns))
        tiles = (-(-rows // height), -(-columns // width))
        operands = operand_views(spec.sources, spec.fixed)[:: -1 if swapped else 1]
        head = constants("A", operands[0]) + constants("B", operands[1])
        head += constants("DST", spec.target)
        head += setting(
            bm=height, bn=width, depth=_DEPTH, rows=rows, columns=columns,
            depths=axes.summed.total, row_tiles=tiles[0], column_tiles=tiles[1],
            left_along=int(_last(axes.summed, 0) == 1),
            right_along=int(_last(axes.summed, 1) == 1),
        )  # fmt: skip
        head += f"#define BIASED {int(spec.bias > 0)}\n"
        parts = {
            "ARGUMENTS ": arguments(spec, "ba" if swapped else "ab"),
            "BATCH\n": "\n    ".join(axes.batches.offsets("batch", "batch")) + "\n",
            "ROW_OFFSETS": "\n        ".join(axes.rows.offsets("m", "m")),
            "COLUMN_OFFSETS": "\n            ".join(axes.columns.offsets("n", "n")),
            "SUM_OFFSETS": "\n                ".join(axes.summed.offsets("k", "(u32)k")),
            "FACTOR": literal(spec.factor),
        }
        source = filled(_SOURCE, parts)
        blocks = axes.batches.total * tiles[0] * tiles[1]
        return Launch(PRELUDE + head + source, self.name, blocks, _THREADS)

    def parameters(self, spec: ProductSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return fixed operands and bias."""
        rng = np.random.default_rng(seed)
        shapes = [shape for _, shape in spec.fixed] + ([(spec.bias,)] if spec.bias else [])
        return [rng.normal(size=shape).astype(np.float32) for shape in shapes]

    def reference(
        self, spec: ProductSpec, images: Sequence[Floats], parameters: Sequence[npt.NDArray[Any]], /
    ) -> Floats:
        """Contract with NumPy."""
        letters = (spec.left, spec.right)
        ordered = operand_arrays(spec.sources, spec.fixed, images, parameters)
        sizes: dict[str, int] = {}
        for names, array in zip(letters, ordered, strict=True):
            for name, size in zip(names, array.shape, strict=True):
                sizes[name] = max(size, sizes.get(name, 1))
        # An axis of one element goes with a longer one, which einsum does not do by itself.
        full = [
            np.broadcast_to(array, [sizes[name] for name in names])
            for names, array in zip(letters, ordered, strict=True)
        ]
        found = np.einsum(f"{spec.left},{spec.right}->{spec.result}", *full, optimize=True)
        found = found * spec.factor
        if spec.bias:
            found = found + parameters[-1].astype(np.float64)
        return physical(spec.target, found)


REGISTRY.register(Product.name)(Product())
