"""Steps on numbers, for kernels whose programs keep several at once.

The pointwise kernel's steps and those that only values of any rank need: comparisons, logic on 0
and 1, whole numbers (kept as floats, exact up to 2^24).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.kernels._access import Instruction
from segrt.cuda.kernels.pointwise import _ONE, _TWO

_FLOAT_MAX = 3.4028234e38

# Step -> CUDA expression of v, w and u and of the settings {0}, {1}; and NumPy.
Table = dict[str, tuple[str, Callable[..., Any]]]
ONE: Table = _ONE | {
    "reciprocal": ("1.0f / v", np.reciprocal),
    "log": ("logf(v)", np.log),
    "sin": ("sinf(v)", np.sin),
    "cos": ("cosf(v)", np.cos),
    "floor": ("floorf(v)", np.floor),
    "ceil": ("ceilf(v)", np.ceil),
    "round": ("rintf(v)", np.rint),
    "truncate": ("truncf(v)", np.trunc),
    "sign": ("(float)(v > 0.0f) - (float)(v < 0.0f)", np.sign),
    "not": ("v == 0.0f ? 1.0f : 0.0f", lambda v: (v == 0) * 1.0),
    "true": ("v != 0.0f ? 1.0f : 0.0f", lambda v: (v != 0) * 1.0),
    "is_nan": ("v != v ? 1.0f : 0.0f", lambda v: np.isnan(v) * 1.0),
    "byte": ("v - 256.0f * floorf(v * 0.00390625f)", lambda v: np.mod(np.trunc(v), 256)),
}
TWO: Table = _TWO | {
    "power": ("powf(v, w)", np.power),
    "floor_mod": ("v - w * floorf(v / w)", np.mod),
    "c_mod": ("fmodf(v, w)", np.fmod),
    "whole_div": ("truncf(v / w)", lambda v, w: np.trunc(v / w)),
    "greater": ("v > w ? 1.0f : 0.0f", lambda v, w: (v > w) * 1.0),
    "greater_equal": ("v >= w ? 1.0f : 0.0f", lambda v, w: (v >= w) * 1.0),
    "less": ("v < w ? 1.0f : 0.0f", lambda v, w: (v < w) * 1.0),
    "less_equal": ("v <= w ? 1.0f : 0.0f", lambda v, w: (v <= w) * 1.0),
    "equal": ("v == w ? 1.0f : 0.0f", lambda v, w: (v == w) * 1.0),
    "and": ("v != 0.0f && w != 0.0f ? 1.0f : 0.0f", lambda v, w: ((v != 0) & (w != 0)) * 1.0),
    "or": ("v != 0.0f || w != 0.0f ? 1.0f : 0.0f", lambda v, w: ((v != 0) | (w != 0)) * 1.0),
    "xor": ("(v != 0.0f) != (w != 0.0f) ? 1.0f : 0.0f", lambda v, w: ((v != 0) ^ (w != 0)) * 1.0),
}
THREE: Table = {
    "where": ("v != 0.0f ? w : u", lambda v, w, u: np.where(v != 0, w, u)),
    "between": ("fminf(fmaxf(v, w), u)", lambda v, w, u: np.minimum(np.maximum(v, w), u)),
}
NONE: Table = {"number": ("{0}", np.asarray)}
ELEMENTS = NONE | ONE | TWO | THREE


def code(program: Sequence[Instruction], operands: int, limit: float = _FLOAT_MAX) -> list[str]:
    """Return C++ lines that define a register ``r`` and its number for each instruction.

    Args:
        program: The steps.
        operands: How many registers there are before.
        limit: Numbers in the source are brought into this range.
    """
    lines = []
    for number, step in enumerate(program, operands):
        numbers = [literal(float(np.clip(value, -limit, limit))) for value in step.settings]
        names = "".join(
            f"const float {name} = r{register}; "
            for name, register in zip("vwu", step.registers, strict=False)
        )
        expression = ELEMENTS[step.op][0].format(*numbers)
        lines.append(f"float r{number}; {{ {names}r{number} = {expression}; }}")
    return lines


def literal(value: float) -> str:
    """Return a float32 literal."""
    return f"({float(np.float32(np.clip(value, -_FLOAT_MAX, _FLOAT_MAX)))!r}f)"


def compute(program: Sequence[Instruction], operands: Sequence[npt.NDArray[Any]]) -> Any:
    """Run a program in NumPy; returns the last result."""
    registers: list[Any] = list(operands)
    for step in program:
        expression, function = ELEMENTS[step.op]
        wanted = [mark in expression for mark in ("{0}", "{1}")]
        arguments = [registers[register] for register in step.registers]
        with np.errstate(all="ignore"):
            registers.append(function(*arguments, *step.settings[: sum(wanted)]))
    return registers[-1]
