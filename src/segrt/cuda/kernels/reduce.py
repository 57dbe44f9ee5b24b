"""One number for all elements along some axes, summed in fp32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._access import logical, physical
from segrt.cuda.kernels._base import REGISTRY, Floats, Launch
from segrt.cuda.kernels._groups import Groups, spread, tree
from segrt.cuda.kernels._limits import require_elements, require_places
from segrt.cuda.kernels._prelude import PRELUDE, constants, filled
from segrt.cuda.views import View

_SOURCE = r"""
extern "C" __global__ void reduce(const SRC_S* __restrict__ x, DST_S* __restrict__ y) {
    BEGIN
    constexpr int NEXT = ALONG ? 1 : GROUPS;
    __shared__ float part[LANES * GROUPS], place[PLACES ? LANES * GROUPS : 1];
    const int first = ALONG ? slot * LANES : slot;
    float top = 0.0f;
#if TOPPED
    // Powers are summed in relation to the largest, so that none overflows.
    {
        float a = START_TOP;
        EACH_TOP
        part[threadIdx.x] = a;
        TREE_TOP
        top = part[first];
        top = top - top == 0.0f ? top : 0.0f;
        __syncthreads();
    }
#endif
    float a = START;
    int p = 0;
    EACH
    part[threadIdx.x] = a;
    if (PLACES) place[threadIdx.x] = __int_as_float(p);
    TREE
    if (lane == 0 && live) {
        float v = part[first];
        const int found = PLACES ? __float_as_int(place[first]) : 0;
        y[base1] = DST_T::store(FINISH);
    }
}
"""
_ADD, _SUM = "a += v;", "part[me] += part[other];"
_LARGER = "a = v > a ? v : a;"
_LARGER_PART = "part[me] = part[other] > part[me] ? part[other] : part[me];"
_BEST = "if (p < 0 || v {0} a) {{ a = v; p = element; }}"
_BEST_PART = (
    "const int mine = __float_as_int(place[me]), theirs = __float_as_int(place[other]);\n"
    "            if (theirs >= 0 && (mine < 0 || part[other] {0} part[me] ||\n"
    "                (part[other] == part[me] && theirs < mine))) {{\n"
    "                part[me] = part[other]; place[me] = place[other];\n            }}"
)


@dataclass(frozen=True, slots=True)
class _Rule:
    """How a kind of reduction is computed: start, step, combination, end; and NumPy."""

    start: str
    step: str
    combine: str
    finish: str
    function: Callable[..., Any]


def _log_sum_exp(v: Floats, axis: tuple[int, ...]) -> Floats:
    top = v.max(axis=axis, keepdims=True)
    return np.asarray(np.log(np.exp(v - top).sum(axis=axis)) + np.squeeze(top, axis), np.float64)


_RULES = {
    "sum": _Rule("0.0f", _ADD, _SUM, "v", np.sum),
    "mean": _Rule("0.0f", _ADD, _SUM, "v / (float)COUNT", np.mean),
    "max": _Rule("-__int_as_float(0x7f800000)", _LARGER, _LARGER_PART, "v", np.max),
    "min": _Rule(
        "__int_as_float(0x7f800000)",
        "a = v < a ? v : a;",
        "part[me] = part[other] < part[me] ? part[other] : part[me];",
        "v",
        np.min,
    ),
    "prod": _Rule("1.0f", "a *= v;", "part[me] *= part[other];", "v", np.prod),
    "l1": _Rule("0.0f", "a += fabsf(v);", _SUM, "v", lambda v, axis: np.abs(v).sum(axis)),
    "l2": _Rule(
        "0.0f", "a += v * v;", _SUM, "sqrtf(v)", lambda v, axis: np.sqrt((v * v).sum(axis))
    ),
    "sum_square": _Rule("0.0f", "a += v * v;", _SUM, "v", lambda v, axis: (v * v).sum(axis)),
    "log_sum_exp": _Rule("0.0f", "a += expf(v - top);", _SUM, "logf(v) + top", _log_sum_exp),
    "argmax": _Rule(
        "0.0f", _BEST.format(">"), _BEST_PART.format(">"), "(float)found",
        lambda v, axis: v.argmax(axis[0]),
    ),
    "argmin": _Rule(
        "0.0f", _BEST.format("<"), _BEST_PART.format("<"), "(float)found",
        lambda v, axis: v.argmin(axis[0]),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReduceSpec:
    """A reduction.

    Attributes:
        source: Read.
        target: The source's sizes with 1 for each axis along which is reduced, or without these.
        kind: A name of the rules above; the place of the largest or smallest is along one axis.
        axes: Of the source's sizes.
    """

    source: View
    target: View
    kind: str
    axes: tuple[int, ...]

    @property
    def sources(self) -> tuple[View, ...]:
        """The one value."""
        return (self.source,)

    @property
    def groups(self) -> Groups:
        """How the work is spread."""
        sizes, strides, steps = self.source.sizes, self.target.strides, iter(self.target.strides)
        if len(strides) == len(sizes):
            moved = [0 if axis in self.axes else strides[axis] for axis in range(len(sizes))]
        else:
            moved = [0 if axis in self.axes else next(steps) for axis in range(len(sizes))]
        return spread(sizes, self.axes, (self.source.strides, moved))


class Reduce:
    """Kernel ``reduce``."""

    name = "reduce"
    capability = (7, 5)
    cases = (
        ReduceSpec(View(2, 9, 7, 6, "fp16", 16, 8), View(2, 1, 1, 6, "fp16"), "mean", (2, 3)),
        ReduceSpec(View.dense((5, 300), "bf16"), View.dense((5,), "fp32"), "max", (1,)),
        ReduceSpec(View.dense((3, 5, 7), "fp32"), View.dense((3, 7), "fp32"), "argmax", (1,)),
        ReduceSpec(View.dense((2, 37), "fp32"), View.dense((2, 1), "fp32"), "log_sum_exp", (1,)),
        ReduceSpec(View(1, 3, 4, 5, "fp32"), View.dense((1, 3, 4), "fp32"), "argmin", (1,)),
        ReduceSpec(View.dense((4, 3), "fp32"), View.dense((), "fp32"), "l2", (0, 1)),
        *(
            ReduceSpec(View.dense((4, 3, 50), "fp32"), View.dense((3, 50), "fp32"), kind, (0,))
            for kind in ("sum", "min", "prod", "l1", "sum_square")
        ),
        ReduceSpec(View(3, 2, 5, 7, "bf16", 9, 1), View(3, 2, 5, 1, "fp16", 4, 2), "max", (1,)),
        ReduceSpec(
            View(1, 1, 1, 5, "int8", 9, 3, 0.5), View.dense((), "bf16"), "sum", (0, 1, 2, 3)
        ),
    )  # fmt: skip

    def launch(self, spec: ReduceSpec, /) -> Launch:
        """Return source and geometry."""
        require_elements(spec.source, spec.target)
        if "arg" in spec.kind:
            require_places(spec.groups.within.total)
        groups, rule = spec.groups, _RULES[spec.kind]
        read = "const float v = SRC_T::load(x[base0 + at0]);"
        head = constants("SRC", spec.source) + constants("DST", spec.target)
        head += f"#define ALONG {int(groups.along)}\n#define PLACES {int('arg' in spec.kind)}\n"
        head += f"#define TOPPED {int(spec.kind == 'log_sum_exp')}\n"
        top = _RULES["max"]
        parts = {
            "EACH_TOP": groups.each(f"{read} {top.step}"),
            "TREE_TOP": tree(top.combine),
            "START_TOP": top.start,
            "BEGIN": groups.begin(),
            "EACH": groups.each(f"{read} {rule.step}"),
            "TREE": tree(rule.combine),
            "START;": f"{rule.start};",
            "FINISH": rule.finish,
        }
        source = _SOURCE
        if "arg" in spec.kind:
            source = source.replace("int p = 0;", "int p = -1;")
        source = filled(source, parts)
        return Launch(PRELUDE + head + source, self.name, groups.blocks, groups.threads)

    def parameters(self, spec: ReduceSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return nothing."""
        return ()

    def reference(
        self, spec: ReduceSpec, images: Sequence[Floats], parameters: Sequence[npt.NDArray[Any]], /
    ) -> Floats:
        """Reduce in NumPy."""
        found = _RULES[spec.kind].function(logical(spec.source, images[0]), axis=spec.axes)
        return physical(spec.target, np.asarray(found, np.float64).reshape(spec.target.sizes))


REGISTRY.register(Reduce.name)(Reduce())
