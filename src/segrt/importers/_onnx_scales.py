"""Scales of a Resize that fall short of the size they stand for, by the rounding of float32.

An exporter writes 17/12 as 1.41666663. Engines multiply in single precision and get 17; shape
inference multiplies in double precision, gets 16.9999996, and cuts off.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.importers._onnx_shapes import Shapes


def raised_scales(node: ir.Node, shapes: Shapes) -> np.ndarray | None:
    """Return a Resize's constant scales, one step of float32 larger where they fall short.

    None where there is nothing to change, or the input's sizes are not known.
    """
    scales = node.inputs[2] if len(node.inputs) > 2 else None
    before = shapes.shape(node.inputs[0])
    if scales is None or scales.const_value is None or before is None:
        return None
    given = scales.const_value.numpy()
    sizes = [size.number for size in before]
    if given.dtype != np.float32 or given.shape != (len(sizes),):
        return None
    raised = given.copy()
    for axis, size in enumerate(sizes):
        if size is not None:
            raised[axis] = _raised(given[axis], int(size))
    return None if np.array_equal(raised, given) else raised


def _raised(scale: np.float32, size: int) -> np.float32:
    single = int(np.float32(size) * scale)
    if int(size * float(scale)) == single:
        return scale
    above = np.nextafter(scale, np.float32(np.inf))
    return above if int(size * float(above)) == single else scale
