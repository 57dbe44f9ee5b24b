"""Sums of products where the result has few rows or few columns: some threads for each number.

There a tile of the other kernel would be mostly empty, and few blocks would read all the weights.
"""

from __future__ import annotations

from segrt.cuda.kernels._base import REGISTRY, Launch
from segrt.cuda.kernels._elements import literal
from segrt.cuda.kernels._groups import Groups, spread, tree
from segrt.cuda.kernels._limits import require_elements
from segrt.cuda.kernels._operands import operand_views
from segrt.cuda.kernels._prelude import PRELUDE, constants, filled
from segrt.cuda.kernels.product import Product, ProductSpec, arguments, axes_of, steps_of
from segrt.cuda.views import View

_FEW = 16
_SOURCE = r"""
extern "C" __global__ void dot(ARGUMENTS DST_S* __restrict__ y) {
    BEGIN
    constexpr int NEXT = ALONG ? 1 : GROUPS;
    __shared__ float part[LANES * GROUPS];
    float sum = 0.0f;
    EACH
    part[threadIdx.x] = sum;
    TREE
    if (lane == 0 && live) {
        float v = part[ALONG ? slot * LANES : slot] * FACTOR;
#if BIASED
        v += bias[base4];
#endif
        y[base3] = DST_T::store(v);
    }
}
"""


def fits(spec: ProductSpec) -> bool:
    """Say whether the result has few rows or few columns."""
    axes = axes_of(spec)
    return min(axes.rows.total, axes.columns.total) <= _FEW


def _groups(spec: ProductSpec) -> Groups:
    """Return how the sums are spread; places are the leader's, left, right, target and bias.

    The leader is the operand that has more to read.
    """
    views = operand_views(spec.sources, spec.fixed)
    sizes, strides = steps_of(spec, views, (spec.left, spec.right))
    names = list(sizes)
    summed = [place for place, name in enumerate(names) if name not in spec.result]
    first = 0 if views[0].pixels * views[0].c >= views[1].pixels * views[1].c else 1
    steps = [[strides[name][place] for name in names] for place in (first, 0, 1, 2, 3)]
    return spread([sizes[name] for name in names], summed, steps)


class Dot(Product):
    """Kernel ``dot``; specs, parameters and reference are those of ``product``."""

    name = "dot"
    cases = (
        ProductSpec(
            (View.dense((2, 300), "fp16"),), View.dense((2, 40), "fp16"), "mk", "kn", "mn",
            ((1, (300, 40)),), 40,
        ),
        ProductSpec(
            (View(3, 1, 1, 70, "bf16", 80, 8),), View.dense((3, 5), "fp32"), "bkhw", "nk", "bn",
            ((1, (5, 70)),), 1, 0.5,
        ),
        ProductSpec(
            (View.dense((2, 7, 30), "fp32"), View.dense((2, 30, 2), "fp32")),
            View.dense((2, 2, 7), "fp32"), "bmk", "bkn", "bnm",
        ),
        ProductSpec(
            (View.dense((1, 1), "int8"), View.dense((1, 1), "fp32")), View.dense((1, 1), "bf16"),
            "mk", "kn", "mn",
        ),
        # From a slice to a slice.
        ProductSpec(
            (View(3, 2, 1, 5, "fp16", 9, 3),), View(3, 2, 1, 7, "bf16", 11, 2), "bchw", "kc",
            "bkhw", ((1, (7, 5)),),
        ),
    )  # fmt: skip

    def launch(self, spec: ProductSpec, /) -> Launch:
        """Return source and geometry."""
        groups, views = _groups(spec), operand_views(spec.sources, spec.fixed)
        require_elements(*views, spec.target)
        head = constants("A", views[0]) + constants("B", views[1]) + constants("DST", spec.target)
        head += f"#define ALONG {int(groups.along)}\n#define BIASED {int(spec.bias > 0)}\n"
        read = "sum = fmaf(A_T::load(a[base1 + at1]), B_T::load(b[base2 + at2]), sum);"
        parts = {
            "ARGUMENTS ": arguments(spec, "ab"),
            "BEGIN": groups.begin(),
            "EACH": groups.each(read),
            "TREE": tree("part[me] += part[other];"),
            "FACTOR": literal(spec.factor),
        }
        source = filled(_SOURCE, parts)
        return Launch(PRELUDE + head + source, self.name, groups.blocks, groups.threads)


REGISTRY.register(Dot.name)(Dot())
