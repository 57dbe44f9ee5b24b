"""Factors and shifts of channels behind a ReLU, in Hopper's registers: for outputs as rows.

The parameters are then the bias, the factors and the shifts (3, channels). Bias, ReLU, factor and
shift are applied to the sums; on their way out zero is added, of the sign that changes nothing.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from segrt.cuda.kernels import _hopper, _pooled
from segrt.cuda.kernels._base import Floats
from segrt.cuda.kernels._prelude import setting

_ROWS = """\
float2 before = rows_of(@AT@, thread);
            float2 factor = rows_of(@AT@ + DST_C, thread);
            float2 shift = rows_of(@AT@ + 2 * DST_C, thread);
            float2 b = make_float2(-0.0f, -0.0f);"""
_FOLLOW = """
#pragma unroll
            for (int i = 0; i < 128; ++i) {
                float v = sums[i] + (i / 2 % 2 ? before.y : before.x);
                if (RELU) v = v < 0.0f ? 0.0f : v;
                sums[i] = fmaf(v, i / 2 % 2 ? factor.y : factor.x,
                               i / 2 % 2 ? shift.y : shift.x);
            }"""


class AffineSpec(_pooled.PooledSpec, Protocol):
    """What such a kernel is launched for."""

    @property
    def affine(self) -> bool:
        """Whether there are factors and shifts."""
        ...


def words(kind: str, relu: bool, affine: bool) -> str:
    """Return what the sources call the type and what is done, on the way out or before it."""
    if not affine:
        return _hopper.column_words(kind, relu)
    return _hopper.column_words(kind, False) + setting(relu=int(relu))


def parts(spec: AffineSpec, rows: int, at: str) -> dict[str, str]:
    """Return what stands for a source's marks: `_pooled.parts`, and what is read a channel.

    Args:
        spec: What is asked for.
        rows: Of the tile that a warpgroup stores.
        at: Where the bias of 64 channels lies.
    """
    found = _pooled.parts(spec, rows)
    if not spec.affine:
        return {**found, "@ROWS@": f"float2 b = rows_of({at}, thread);"}
    store = _FOLLOW + found["@STORE@"]
    return {**found, "@ROWS@": _ROWS.replace("@AT@", at), "@STORE@": store}


def finish(sums: Floats, numbers: Floats, *, relu: bool, affine: bool) -> Floats:
    """Return what follows sums (..., channels), in NumPy."""
    before, *others = numbers.astype(np.float64) if affine else (numbers,)
    result: Floats = sums + before
    result = np.maximum(result, 0) if relu else result
    return result * others[0] + others[1] if affine else result
