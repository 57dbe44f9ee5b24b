"""Resize images as TensorFlow's resize operators do, in every convention they have had."""

from __future__ import annotations

from typing import Literal

import numpy as np
import onnx_ir as ir

from segrt.graph.builder import static_shape
from segrt.importers.layers._base import Call

Method = Literal["bilinear", "nearest"]
Convention = Literal["half_pixel", "legacy", "align_corners"]


def resize(
    call: Call,
    value: ir.Value,
    method: Method,
    convention: Convention,
    *,
    size: tuple[int, int] | None = None,
    factor: tuple[int, int] | None = None,
) -> ir.Value:
    """Resize an N C H W value to ``size``, or by ``factor``.

    ``half_pixel`` is `tf.image.resize` of TensorFlow 2; ``legacy`` is `tf.image.resize_bilinear`
    and `resize_nearest_neighbor` of TensorFlow 1 as they were called by default: output pixel i
    samples at i * in / out; ``align_corners`` maps the corners' centres onto each other.
    Nearest takes floor((i + 0.5) * in / out), floor(i * in / out) and round(i * (in - 1) /
    (out - 1)), halves up.
    """
    known = static_shape(value)[2:]
    if size is not None and None not in known:
        ratios = [wanted / have for wanted, have in zip(size, known, strict=True) if have]
        if all(ratio.is_integer() for ratio in ratios):  # the same in the form passes know
            factor, size = (int(ratios[0]), int(ratios[1])), None
    coordinates = {
        "half_pixel": "half_pixel", "legacy": "asymmetric", "align_corners": "align_corners",
    }[convention]  # fmt: skip
    mode: dict[str, str] = {"mode": "linear"}
    if method == "nearest":
        rounding = "floor" if convention == "legacy" else "round_prefer_ceil"
        mode = {"mode": "nearest", "nearest_mode": rounding}
        # By a whole factor both mean i // factor, which is how the rest of the program knows it.
        if factor is not None and convention == "half_pixel":
            coordinates, mode["nearest_mode"] = "asymmetric", "floor"
    attributes = {"coordinate_transformation_mode": coordinates, **mode}
    if factor is not None:
        scales = call.constant("scales", np.array([1, 1, *factor], dtype=np.float32))
        return call.op("Resize", [value, None, scales], role="resize", **attributes)
    assert size is not None
    return call.op(
        "Resize",
        [value, None, None, _full_size(call, value, size)],
        role="resize",
        **attributes,
    )


def _full_size(call: Call, value: ir.Value, size: tuple[int, int]) -> ir.Value:
    """Return (batch, channels, height, width) at run time: not all engines know Resize's axes."""
    shape = call.op("Shape", [value], role="shape")
    front = call.op(
        "Slice", [shape, call.ints("front_start", [0]), call.ints("front_end", [2])], role="front"
    )
    return call.op("Concat", [front, call.ints("size", size)], role="sizes", axis=0)
