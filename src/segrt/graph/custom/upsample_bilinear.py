"""Bilinear upsampling by whole factors: UpSampling2D(interpolation="bilinear"), N C H W."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.graph.custom._places import BILINEAR
from segrt.graph.custom.upsample_nearest import enlarged
from segrt.graph.custom_ops import custom_op

_CUDA = r"""
int tx = i % out.size[3], row = i / out.size[3];
int ty = row % out.size[2], plane = row / out.size[2];
int x0, x1, y0, y1;
float wx = place(tx, columns, x.size[3], x0, x1), wy = place(ty, rows, x.size[2], y0, y1);
int upper = (plane * x.size[2] + y0) * x.size[3], lower = (plane * x.size[2] + y1) * x.size[3];
float top = x[upper + x0] * (1.0f - wx) + x[upper + x1] * wx;
float low = x[lower + x0] * (1.0f - wx) + x[lower + x1] * wx;
out[i] = top * (1.0f - wy) + low * wy;
"""


@custom_op("upsample_bilinear", cuda=_CUDA, functions=BILINEAR, shape=enlarged)
def upsample_bilinear(x: npt.NDArray[Any], *, rows: int, columns: int) -> npt.NDArray[Any]:
    """Weight every pixel by its tent, along rows, then along columns."""
    upsampled: npt.NDArray[Any] = np.einsum(
        "ncij,yi,xj->ncyx",
        x,
        _tents(x.shape[2], rows).astype(x.dtype),
        _tents(x.shape[3], columns).astype(x.dtype),
        optimize=True,
    )
    return upsampled


def _tents(size: int, factor: int) -> npt.NDArray[np.float64]:
    """Return (size * factor, size): each input pixel's weight in each output pixel.

    Pixel centres are aligned (half pixel), borders repeated. The kernel finds two neighbours by
    a floor and clamps; here there is neither, so that a mistake in one is not made in the other.
    """
    where = (np.arange(size * factor) + 0.5) / factor - 0.5
    inside = np.clip(where, 0, size - 1)
    tents: npt.NDArray[np.float64] = np.maximum(
        0.0, 1.0 - np.abs(inside[:, None] - np.arange(size))
    )
    return tents
