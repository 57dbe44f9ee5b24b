"""Resize: nearest, linear and cubic, with the coordinate rules that TensorRT has."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from segrt.targets.trt._writer import Size, Tensor, Writer
from segrt.targets.trt.layers._base import converts

_MODES = {"nearest": "NEAREST", "linear": "LINEAR", "cubic": "CUBIC"}
_COORDINATES = {
    "asymmetric": "ASYMMETRIC",
    "half_pixel": "HALF_PIXEL",
    "pytorch_half_pixel": "HALF_PIXEL",
    "align_corners": "ALIGN_CORNERS",
}
_ROUNDINGS = {
    "floor": "FLOOR",
    "ceil": "CEIL",
    "round_prefer_floor": "HALF_DOWN",
    "round_prefer_ceil": "HALF_UP",
}


@converts("Resize")
def resize(writer: Writer, node: ir.Node) -> Tensor:
    """Write a resize; every rule is set, since TensorRT's defaults are not ONNX'."""
    trt, get = writer.trt, node.attributes
    if get.get_int("antialias", 0):
        raise writer.unsupported("antialias", "none: TensorRT's resize has no such filter")
    if get.get_string("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise writer.unsupported("keep_aspect_ratio_policy", "stretch")
    mode = _choose(writer, "mode", _MODES, "nearest")
    coordinates = _choose(writer, "coordinate_transformation_mode", _COORDINATES, "half_pixel")
    x = writer.tensor(node.inputs[0])
    layer = writer.network.add_resize(x)
    _set_sizes(writer, node, x, layer)
    layer.resize_mode = getattr(trt.InterpolationMode, mode)
    layer.coordinate_transformation = getattr(trt.ResizeCoordinateTransformation, coordinates)
    if mode == "NEAREST":
        rounding = _choose(writer, "nearest_mode", _ROUNDINGS, "round_prefer_floor")
        layer.nearest_rounding = getattr(trt.ResizeRoundMode, rounding)
    if mode == "CUBIC":
        layer.cubic_coeff = get.get_float("cubic_coeff_a", -0.75)
        layer.exclude_outside = bool(get.get_int("exclude_outside", 0))
    if get.get_string("coordinate_transformation_mode", "") == "pytorch_half_pixel":
        layer.selector_for_single_pixel = trt.ResizeSelector.UPPER
    return writer.layer(layer)


def _choose(writer: Writer, name: str, known: dict[str, str], default: str) -> str:
    assert writer.node is not None
    found = writer.node.attributes.get_string(name, default)
    if found not in known:
        raise writer.unsupported(f"{name} {found}", ", ".join(known))
    return known[found]


def _set_sizes(writer: Writer, node: ir.Node, x: Tensor, layer: Any) -> None:
    inputs = [*node.inputs, None, None, None][:4]
    sizes, scales = writer.array(inputs[3]), writer.array(inputs[2])
    axes = list(node.attributes.get_ints("axes", range(len(x.shape))))
    if scales is not None and scales.size:
        every = np.ones(len(x.shape), np.float32)
        every[axes] = scales
        scales = every
    if sizes is not None and sizes.size:
        wished: list[Size] = writer.sizes(x) if len(axes) < len(x.shape) else [0] * len(x.shape)
        for axis, size in zip(axes, sizes, strict=True):
            wished[axis] = int(size)
        if all(isinstance(size, int) for size in wished):
            layer.shape = wished
        else:
            layer.set_input(1, writer.shape_tensor(wished))
    elif len(axes) < len(x.shape) and scales is None:
        raise writer.unsupported("sizes of some axes computed at run time", "of all of them")
    elif inputs[3] is not None and inputs[3].const_value is None:
        layer.set_input(1, writer.tensor(inputs[3]))
    elif scales is not None and scales.size:
        # A whole result of a broken factor: the very size, not one that a rounding may miss. Where
        # something was cut off, size by size is another factor than the one that is wanted.
        known = list(x.shape)
        products = np.multiply(known, scales)
        wanted = np.rint(products)
        exact = -1 not in known and not np.equal(np.mod(scales, 1), 0).all()
        if exact and np.allclose(products, wanted, rtol=1e-6, atol=0):
            layer.shape = wanted.astype(int).tolist()
        else:
            layer.scales = [float(scale) for scale in scales]
    else:
        raise writer.unsupported("scales computed at run time", "constant scales, or sizes")
