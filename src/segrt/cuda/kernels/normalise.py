"""Softmax, and normalisation by the mean and deviation of a group: over any axes, in one pass.

A group is read three times; what is small stays in the caches. Sums are in fp32, and the variance
is that of the differences from the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._access import logical, physical
from segrt.cuda.kernels._base import REGISTRY, Floats, Launch
from segrt.cuda.kernels._elements import literal
from segrt.cuda.kernels._groups import Groups, spread, tree
from segrt.cuda.kernels._limits import require_elements
from segrt.cuda.kernels._prelude import PRELUDE, constants, filled
from segrt.cuda.views import View

_SOURCE = r"""
extern "C" __global__ void normalise(const SRC_S* __restrict__ x,
#if SCALED
                                     const float* __restrict__ scale,
#endif
#if SHIFTED
                                     const float* __restrict__ shift,
#endif
                                     DST_S* __restrict__ y) {
    BEGIN
    constexpr int NEXT = ALONG ? 1 : GROUPS;
    __shared__ float part[LANES * GROUPS];
    const int first = ALONG ? slot * LANES : slot;
    float a = START;
#if PREPARED
    EACH_FIRST
    part[threadIdx.x] = a;
    TREE_FIRST
    const float middle = MIDDLE;
    __syncthreads();
#else
    const float middle = 0.0f;
#endif
    a = 0.0f;
    EACH_SECOND
    part[threadIdx.x] = a;
    TREE_SECOND
    const float total = part[first];
    const float width = WIDTH;
    if (live) {
        EACH_LAST
    }
}
"""
_READ = "float v = SRC_T::load(x[base0 + at0]);"
_TOP = "part[me] = part[other] > part[me] ? part[other] : part[me];"
_SUM = "part[me] += part[other];"


@dataclass(frozen=True, slots=True)
class _Rule:
    """First and second pass, what is taken from them, and the result."""

    start: str
    first: str
    combine: str
    middle: str
    second: str
    width: str
    result: str


_SOFT = ("-__int_as_float(0x7f800000)", "a = v > a ? v : a;", _TOP)
# Of a row of which nothing is finite the largest is no middle.
_MIDDLE = "part[first] - part[first] == 0.0f ? part[first] : 0.0f"
_RULES = {
    "softmax": _Rule(
        *_SOFT, _MIDDLE, "a += expf(v - middle);", "1.0f / total", "expf(v - middle) * width"
    ),
    "log_softmax": _Rule(
        *_SOFT, _MIDDLE, "a += expf(v - middle);", "logf(total)", "v - middle - width"
    ),
    "standard": _Rule(
        "0.0f", "a += v;", _SUM, "part[first] / (float)COUNT", "v -= middle; a += v * v;",
        "1.0f / sqrtf(total / (float)COUNT + {0})", "(v - middle) * width",
    ),
    "root": _Rule(
        "0.0f", "", "", "0.0f", "a += v * v;", "1.0f / sqrtf(total / (float)COUNT + {0})",
        "v * width",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class NormaliseSpec:
    """A normalisation.

    Attributes:
        source: Read.
        target: Written, of the same sizes.
        kind: A name of the rules above.
        axes: Along which elements belong to one group.
        epsilon: Added to the variance or mean square.
        scale: Shape of the factors, of the source's rank with 1 where they do not differ; None:
            there are none.
        shift: Likewise of what is added.
    """

    source: View
    target: View
    kind: str
    axes: tuple[int, ...]
    epsilon: float = 0.0
    scale: tuple[int, ...] | None = None
    shift: tuple[int, ...] | None = None

    @property
    def sources(self) -> tuple[View, ...]:
        """The one value."""
        return (self.source,)

    @property
    def groups(self) -> Groups:
        """How the work is spread."""
        vectors = [_steps(shape) for shape in (self.scale, self.shift) if shape is not None]
        strides = (self.source.strides, self.target.strides, *vectors)
        return spread(self.source.sizes, self.axes, strides)


def _steps(shape: tuple[int, ...]) -> list[int]:
    strides = View.dense(shape, "fp32").strides
    return [0 if size == 1 else stride for size, stride in zip(shape, strides, strict=True)]


class Normalise:
    """Kernel ``normalise``; parameters, float32 each: the factors, what is added, if they are."""

    name = "normalise"
    capability = (7, 5)
    cases = (
        NormaliseSpec(
            View.dense((5, 70), "fp16"), View.dense((5, 70), "fp16"), "softmax", (1,)
        ),
        NormaliseSpec(
            View(2, 3, 5, 24, "fp32", 32, 8), View(2, 3, 5, 24, "bf16"), "standard", (2, 3), 1e-3,
            (1, 24, 1, 1), (1, 24, 1, 1),
        ),
        NormaliseSpec(
            View.dense((3, 4, 33), "bf16"), View.dense((3, 4, 33), "fp32"), "root", (2,), 1e-6,
            (1, 1, 33),
        ),
        NormaliseSpec(
            View(1, 3, 4, 5, "fp32"), View.dense((1, 5, 3, 4), "fp32"), "log_softmax", (1,)
        ),
        NormaliseSpec(
            View.dense((2, 3, 400), "fp32"), View.dense((2, 3, 400), "fp32"), "standard", (1, 2),
            1e-5, None, (1, 3, 400),
        ),
        # From a slice to a slice.
        NormaliseSpec(
            View(3, 2, 1, 5, "int8", 9, 3, 0.05), View(3, 2, 1, 5, "fp16", 8, 2), "softmax", (1,)
        ),
        NormaliseSpec(
            View.dense((3, 1), "fp32"), View.dense((3, 1), "fp32"), "root", (1,), 1e-6, (1, 1)
        ),
    )  # fmt: skip

    def launch(self, spec: NormaliseSpec, /) -> Launch:
        """Return source and geometry."""
        require_elements(spec.source, spec.target)
        groups, rule = spec.groups, _RULES[spec.kind]
        scaled, shifted = spec.scale is not None, spec.shift is not None
        head = constants("SRC", spec.source) + constants("DST", spec.target)
        head += f"#define SCALED {int(scaled)}\n#define SHIFTED {int(shifted)}\n"
        head += f"#define ALONG {int(groups.along)}\n#define PREPARED {int(bool(rule.first))}\n"
        result = f"({rule.result})"
        if scaled:
            result += " * scale[base2 + at2]"
        if shifted:
            number = 3 if scaled else 2
            result += f" + shift[base{number} + at{number}]"
        parts = {
            "EACH_FIRST": groups.each(f"{_READ} {rule.first}"),
            "TREE_FIRST": tree(rule.combine),
            "EACH_SECOND": groups.each(f"{_READ} {rule.second}"),
            "TREE_SECOND": tree(_SUM),
            "EACH_LAST": groups.each(f"{_READ} y[base1 + at1] = DST_T::store({result});"),
            "BEGIN": groups.begin(),
            "= START;": f"= {rule.start};",
            "= MIDDLE;": f"= {rule.middle};",
            "= WIDTH;": f"= {rule.width.format(literal(spec.epsilon))};",
        }
        source = filled(_SOURCE, parts)
        return Launch(PRELUDE + head + source, self.name, groups.blocks, groups.threads)

    def parameters(self, spec: NormaliseSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return factors and what is added."""
        rng = np.random.default_rng(seed)
        shapes = [shape for shape in (spec.scale, spec.shift) if shape is not None]
        return [rng.normal(size=shape).astype(np.float32) for shape in shapes]

    def reference(
        self,
        spec: NormaliseSpec,
        images: Sequence[Floats],
        parameters: Sequence[npt.NDArray[Any]],
        /,
    ) -> Floats:
        """Normalise in NumPy."""
        value, arrays = logical(spec.source, images[0]), iter(parameters)
        if spec.kind in ("softmax", "log_softmax"):
            top = value.max(axis=spec.axes, keepdims=True)
            powers = np.exp(value - np.where(np.isfinite(top), top, 0))
            value = powers / powers.sum(axis=spec.axes, keepdims=True)
            if spec.kind == "log_softmax":
                value = np.log(value)
        else:
            if spec.kind == "standard":
                value = value - value.mean(axis=spec.axes, keepdims=True)
            square = (value * value).mean(axis=spec.axes, keepdims=True)
            value = value / np.sqrt(square + spec.epsilon)
        if spec.scale is not None:
            value = value * next(arrays).astype(np.float64).reshape(spec.scale)
        if spec.shift is not None:
            value = value + next(arrays).astype(np.float64).reshape(spec.shift)
        return physical(spec.target, value)


REGISTRY.register(Normalise.name)(Normalise())
