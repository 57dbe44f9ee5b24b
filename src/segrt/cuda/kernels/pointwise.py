"""A chain of element-by-element steps over one image or several, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import erf
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._base import REGISTRY, THREADS, Floats, Launch, blocks_for
from segrt.cuda.kernels._prelude import PRELUDE, constants, setting
from segrt.cuda.views import View, vector_width

_SOURCE = r"""
extern "C" __global__ void pointwise(const SRC_S* __restrict__ a,
                                     OTHERS
#if VECTORS
                                     const float* __restrict__ vectors,
#endif
                                     DST_S* __restrict__ y) {
    u32 id = blockIdx.x * blockDim.x + threadIdx.x;
    if (id >= TOTAL) return;
    constexpr int G = DST_C / V;
    u32 group = id % G, pixel = id / G;
    auto va = Vec<SRC_T, V>::read(a + (u64)pixel * SRC_PITCH + group * V);
    READS
    Vec<DST_T, V> out;
#pragma unroll
    for (int i = 0; i < V; ++i) {
        int c = group * V + i;
        float v = SRC_T::load(va.e[i]);
        STEPS
        out.e[i] = DST_T::store(v);
    }
    out.write(y + (u64)pixel * DST_PITCH + group * V);
}
"""


def _gelu(v: Floats) -> Floats:
    return np.asarray(v * 0.5 * (1 + np.vectorize(erf)(v / np.sqrt(2))), np.float64)


def _softplus(v: Floats) -> Floats:
    return np.asarray(np.logaddexp(v, 0), np.float64)


# Step -> CUDA expression of v, of w (the other operand) and of the settings {0}, {1}; and NumPy.
_ONE: dict[str, tuple[str, Callable[..., Any]]] = {
    "relu": ("v < 0.0f ? 0.0f : v", lambda v: np.maximum(v, 0)),
    "leaky_relu": ("v < 0.0f ? v * {0} : v", lambda v, a: np.where(v < 0, v * a, v)),
    "clip": (
        "v < {0} ? {0} : (v > {1} ? {1} : v)",
        np.clip,
    ),
    "sigmoid": ("1.0f / (1.0f + expf(-v))", lambda v: 1 / (1 + np.exp(-v))),
    "hard_sigmoid": (
        "__saturatef({0} * v + {1})",
        lambda v, a, b: np.clip(a * v + b, 0, 1),
    ),
    "tanh": ("tanhf(v)", np.tanh),
    "elu": ("v < 0.0f ? {0} * expm1f(v) : v", lambda v, a: np.where(v < 0, a * np.expm1(v), v)),
    "selu": (
        "{1} * (v < 0.0f ? {0} * expm1f(v) : v)",
        lambda v, a, g: g * np.where(v < 0, a * np.expm1(v), v),
    ),
    "softplus": ("fmaxf(v, 0.0f) + log1pf(expf(-fabsf(v)))", _softplus),
    "softsign": ("v / (1.0f + fabsf(v))", lambda v: v / (1 + np.abs(v))),
    "exp": ("expf(v)", np.exp),
    "erf": ("erff(v)", np.vectorize(erf)),
    "gelu": ("0.5f * v * (1.0f + erff(v * 0.70710678f))", _gelu),
    "abs": ("fabsf(v)", np.abs),
    "neg": ("-v", np.negative),
    "sqrt": ("sqrtf(v)", np.sqrt),
    "identity": ("v", lambda v: v),
}
_TWO: dict[str, tuple[str, Callable[..., Any]]] = {
    "add": ("v + w", np.add),
    "sub": ("v - w", np.subtract),
    "rsub": ("w - v", lambda v, w: w - v),
    "mul": ("v * w", np.multiply),
    "div": ("v / w", np.divide),
    "rdiv": ("w / v", lambda v, w: w / v),
    "max": ("v > w ? v : w", np.maximum),
    "min": ("v < w ? v : w", np.minimum),
    "greater": ("v > w ? 1.0f : 0.0f", lambda v, w: (v > w) * 1.0),
    "prelu": ("v < 0.0f ? v * w : v", lambda v, w: np.where(v < 0, v * w, v)),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a chain, on the running value.

    Attributes:
        op: A name of the tables above, or ``keep``: remember the running value.
        other: For steps with two operands: ``image`` (the next one), ``number`` (the first
            setting), ``channel`` (one value a channel, given as a parameter) or ``kept`` (what was
            remembered).
        settings: Numbers of the step.
    """

    op: str
    other: str = ""
    settings: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class PointwiseSpec:
    """Steps from images of the same size to one; steps take the second and on in order."""

    sources: tuple[View, ...]
    target: View
    steps: tuple[Step, ...]

    @property
    def vectors(self) -> int:
        """How many per-channel vectors the steps use."""
        return sum(step.other == "channel" for step in self.steps)


class Pointwise:
    """Kernel ``pointwise``; its parameter, if any, is the float32 array (vectors, channels)."""

    name = "pointwise"
    capability = (7, 5)
    cases = (
        PointwiseSpec(
            (View(2, 3, 5, 16, "fp16", 32, 16),), View(2, 3, 5, 16, "fp16"),
            (Step("add", "channel"), Step("relu"), Step("mul", "number", (0.5,))),
        ),
        PointwiseSpec(
            (View(1, 3, 5, 6, "fp32"), View(1, 3, 5, 6, "fp32")), View(1, 3, 5, 6, "fp32"),
            (Step("sub", "image"), Step("prelu", "channel"), Step("sigmoid")),
        ),
        PointwiseSpec(
            (
                View(1, 3, 5, 8, "fp16"), View(1, 3, 5, 8, "fp32"),
                View(1, 3, 5, 8, "int8", 16, 8, 0.05),
            ),
            View(1, 3, 5, 8, "fp16"), (Step("add", "image"), Step("relu"), Step("mul", "image")),
        ),
        *(
            PointwiseSpec(
                (View(1, 4, 4, 8, "fp32"),), View(1, 4, 4, 8, "bf16"), (Step(op, "", (0.25, 0.5)),)
            )
            for op in _ONE if op != "sqrt"
        ),
        # From odd slices to odd slices, and to unsigned integers.
        PointwiseSpec(
            (View(3, 1, 1, 5, "bf16", 7, 2),), View(3, 1, 1, 5, "fp32", 9, 4),
            (Step("add", "channel"), Step("tanh")),
        ),
        PointwiseSpec(
            (View(1, 3, 5, 16, "fp16"),), View(1, 3, 5, 16, "uint8", 32, 16, 0.02), (Step("relu"),)
        ),
        # What is kept comes back: as in a swish, and behind an image beside it.
        PointwiseSpec(
            (View(1, 3, 5, 24, "fp16", 32, 8),), View(1, 3, 5, 24, "fp16"),
            (Step("keep"), Step("sigmoid"), Step("mul", "kept")),
        ),
        PointwiseSpec(
            (View(2, 3, 7, 3, "fp32", 5, 1), View(2, 3, 7, 3, "bf16")), View(2, 3, 7, 3, "fp32"),
            (
                Step("mul", "image"), Step("keep"), Step("tanh"), Step("sub", "kept"),
                Step("add", "channel"),
            ),
        ),
    )  # fmt: skip

    def launch(self, spec: PointwiseSpec, /) -> Launch:
        """Return source and geometry: one thread a pixel and vector of channels."""
        width = vector_width(*spec.sources, spec.target)
        total = spec.target.pixels * spec.target.c // width
        head = constants("SRC", spec.sources[0]) + constants("DST", spec.target)
        others = range(2, len(spec.sources) + 1)
        for index in others:
            head += constants(f"SRC{index}", spec.sources[index - 1])
        head += setting(v=width, total=total) + f"#define VECTORS {spec.vectors}\n"
        source = _SOURCE.replace("STEPS", code_of(spec.steps))
        arguments = [f"const SRC{k}_S* __restrict__ a{k}," for k in others]
        reads = [
            f"auto v{k} = Vec<SRC{k}_T, V>::read(a{k} + (u64)pixel * SRC{k}_PITCH + group * V);"
            for k in others
        ]
        source = source.replace("OTHERS", " ".join(arguments)).replace("READS", " ".join(reads))
        return Launch(PRELUDE + head + source, "pointwise", blocks_for(total), THREADS)

    def parameters(self, spec: PointwiseSpec, seed: int, /) -> Sequence[npt.NDArray[Any]]:
        """Return the vectors."""
        if not spec.vectors:
            return ()
        rng = np.random.default_rng(seed)
        return (rng.normal(size=(spec.vectors, spec.target.c)).astype(np.float32),)

    def reference(
        self,
        spec: PointwiseSpec,
        images: Sequence[Floats],
        parameters: Sequence[npt.NDArray[Any]],
        /,
    ) -> Floats:
        """Take the steps in order."""
        return follow(spec.steps, images, *parameters)


def follow(
    steps: Sequence[Step], images: Sequence[Floats], vectors: npt.NDArray[Any] | None = None
) -> Floats:
    """Return what steps make of images of one size, in NumPy."""
    value, vector, others = images[0], 0, iter(images[1:])
    kept = value
    for step in steps:
        if step.op == "keep":
            kept = value
            continue
        if step.op in _ONE:
            function = _ONE[step.op][1]
            wanted = [mark in _ONE[step.op][0] for mark in ("{0}", "{1}")]
            value = function(value, *step.settings[: sum(wanted)])
            continue
        other: Any = step.settings[0] if step.settings else None
        if step.other == "image":
            other = next(others)
        if step.other == "kept":
            other = kept
        if step.other == "channel" and vectors is not None:
            other = vectors[vector].astype(np.float64)
            vector += 1
        value = _TWO[step.op][1](value, other)
    return value


def code_of(steps: Sequence[Step]) -> str:
    """Return the CUDA lines that take steps on a ``float v`` of channel ``c``."""
    lines, vector, image = [], 0, 1
    if any(step.op == "keep" for step in steps):
        lines.append("float kept = v;")
    for step in steps:
        if step.op == "keep":
            lines.append("kept = v;")
            continue
        numbers = [f"({value!r}f)" for value in map(_finite, step.settings)]
        if step.op in _ONE:
            lines.append(f"v = {_ONE[step.op][0].format(*numbers)};")
            continue
        other = numbers[0] if numbers else ""
        if step.other == "image":
            image += 1
            other = f"SRC{image}_T::load(v{image}.e[i])"
        elif step.other == "kept":
            other = "kept"
        elif step.other == "channel":
            other = f"vectors[{vector} * DST_C + c]"
            vector += 1
        lines.append(f"{{ float o = {other}; v = {_TWO[step.op][0].replace('w', 'o')}; }}")
    return "\n        ".join(lines)


def _finite(value: float) -> float:
    """Bring open ends of a clip into a float's range."""
    return float(np.clip(value, -3.4e38, 3.4e38))


REGISTRY.register(Pointwise.name)(Pointwise())
