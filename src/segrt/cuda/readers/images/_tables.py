"""From a table an axis to an operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.image_operations import GatherPixels


def gather(
    layer: str,
    names: tuple[tuple[str, ...], str],
    sizes: Sequence[int],
    tables: Sequence[npt.NDArray[Any]],
    fill: float = 0.0,
) -> GatherPixels | None:
    """Return what takes N C H W by tables; None where images themselves change their order.

    Args:
        layer: The Keras layer.
        names: Of the inputs, and of the output.
        sizes: Of the source.
        tables: For each axis the source's places, -1 where it is filled.
        fill: With what.
    """
    images, channels, rows, columns = (np.asarray(table, np.int32) for table in tables)
    if not np.array_equal(images, np.arange(sizes[0])):
        return None
    same = np.array_equal(channels, np.arange(sizes[1]))
    return GatherPixels(
        layer, *names, rows, columns, (sizes[2], sizes[3]), None if same else channels, fill
    )
