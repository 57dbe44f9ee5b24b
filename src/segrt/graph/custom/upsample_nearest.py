"""Nearest upsampling by whole factors: UpSampling2D(interpolation="nearest"), N C H W."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.graph.custom._places import NEAREST
from segrt.graph.custom_ops import custom_op
from segrt.graph.dims import Size

_CUDA = r"""
int tx = i % out.size[3], row = i / out.size[3];
int ty = row % out.size[2], plane = row / out.size[2];
int y = source_of(ty, rows), x0 = source_of(tx, columns);
out[i] = x[(plane * x.size[2] + y) * x.size[3] + x0];
"""


def enlarged(x: tuple[Size, ...], *, rows: int, columns: int) -> tuple[Size, ...]:
    """Return N C H*rows W*columns."""
    n, c, height, width = x
    return n, c, height * rows, width * columns


@custom_op("upsample_nearest", cuda=_CUDA, functions=NEAREST, shape=enlarged)
def upsample_nearest(x: npt.NDArray[Any], *, rows: int, columns: int) -> npt.NDArray[Any]:
    """Repeat rows, then columns."""
    return np.repeat(np.repeat(x, rows, axis=2), columns, axis=3)
