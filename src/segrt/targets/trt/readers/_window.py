"""Padding of sliding windows, as a layer holds it."""

from __future__ import annotations

from typing import Any

from segrt.graph.builder import AttributeValue
from segrt.targets.trt.readers._base import Reader


def padding(reader: Reader, layer: Any, extents: list[int]) -> dict[str, AttributeValue]:
    """Return ONNX attributes for a convolution's or pool's padding.

    Args:
        reader: For messages.
        layer: The layer.
        extents: Dilated kernel sizes.
    """
    mode = reader.enum(layer.padding_mode)
    if mode == "EXPLICIT_ROUND_DOWN":
        return {"pads": [*layer.pre_padding, *layer.post_padding]}
    if mode == "EXPLICIT_ROUND_UP":
        return {"pads": [*layer.pre_padding, *layer.post_padding], "ceil_mode": 1}
    if any(e < s for e, s in zip(extents, layer.stride_nd, strict=True)):
        # NVIDIA's formula goes negative here and ONNX' does not.
        raise reader.refuse(f"{mode} with a window shorter than its stride", "explicit pads")
    return {"auto_pad": mode}
