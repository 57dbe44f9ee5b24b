"""Resizing images, in all the meanings that TensorFlow's functions have had.

Per axis, with input length I and output length O, output pixel i lies at input position

- ``(i + 0.5) * I / O - 0.5`` with half-pixel centers (``tf.image.resize``, Keras 3);
- ``i * I / O`` in TensorFlow 1 (``tf.compat.v1.image.resize_*``, kernels without the attribute);
- ``i * (I - 1) / (O - 1)`` with aligned corners.

Nearest takes the position rounded half up, in the second meaning rounded down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.importers.layers._base import Call, Layout, Tensor
from segrt.importers.layers._resize import resize as resize_images
from segrt.importers.operations._axes import Item, items_of, picked, shaped, vector
from segrt.importers.operations._base import Operand, operation
from segrt.importers.operations._values import FLOAT, floats, kind, tensor

_METHODS = {
    "bilinear": "linear", "nearest": "nearest", "bicubic": "cubic", "area": "area",
    "0": "linear", "1": "nearest", "2": "cubic", "3": "area",
}  # fmt: skip
# Nearest positions closer than this to a rounding edge go either way in single precision.
_MARGIN = 1e-4
# TensorFlow reads the weights of its cubic kernel from a table of so many steps.
_CUBIC_STEPS = 1024


@dataclass(frozen=True, slots=True)
class _Rule:
    mode: str
    coordinates: str

    @property
    def rounding(self) -> str:
        return "floor" if self.coordinates == "asymmetric" else "round_prefer_ceil"


@operation(
    "tf:image.resize|image.resize_v2(images|image>x, size, method='bilinear', "
    "preserve_aspect_ratio=False, antialias=False)"
)
def resize(
    call: Call, x: Operand, size: Operand, method: Operand,
    preserve_aspect_ratio: bool, antialias: bool,
) -> Tensor:  # fmt: skip
    """Resize with half-pixel centers: TensorFlow 2."""
    if preserve_aspect_ratio:
        raise call.unsupported("preserve_aspect_ratio", True, "false")
    return _resized(call, x, size, _rule(call, method), antialias=bool(antialias))


@operation(
    "tf:compat.v1.image.resize|compat.v1.image.resize_images(images|image>x, size, "
    "method='bilinear', align_corners=False, preserve_aspect_ratio=False)"
)
def resize_v1(
    call: Call, x: Operand, size: Operand, method: Operand,
    align_corners: bool, preserve_aspect_ratio: bool,
) -> Tensor:  # fmt: skip
    """Resize as TensorFlow 1 did."""
    if preserve_aspect_ratio:
        raise call.unsupported("preserve_aspect_ratio", True, "false")
    return _resized(call, x, size, _rule(call, method, bool(align_corners), half_pixel=False))


@operation(
    "tf:compat.v1.image.resize_bilinear(images>x, size, align_corners=False, "
    "half_pixel_centers=False)",
    "node:ResizeBilinear(images>x, size, align_corners=False, half_pixel_centers=False)",
)
def resize_bilinear(
    call: Call, x: Operand, size: Operand, align_corners: bool, half_pixel_centers: bool
) -> Tensor:
    """Bilinear, by kernel."""
    rule = _rule(call, "bilinear", bool(align_corners), bool(half_pixel_centers))
    return _resized(call, x, size, rule)


@operation(
    "tf:compat.v1.image.resize_nearest_neighbor(images>x, size, align_corners=False, "
    "half_pixel_centers=False)",
    "node:ResizeNearestNeighbor(images>x, size, align_corners=False, half_pixel_centers=False)",
)
def resize_nearest(
    call: Call, x: Operand, size: Operand, align_corners: bool, half_pixel_centers: bool
) -> Tensor:
    """Nearest, by kernel."""
    rule = _rule(call, "nearest", bool(align_corners), bool(half_pixel_centers))
    return _resized(call, x, size, rule)


@operation(
    "tf:compat.v1.image.resize_bicubic(images>x, size, align_corners=False, "
    "half_pixel_centers=False)",
    "node:ResizeBicubic(images>x, size, align_corners=False, half_pixel_centers=False)",
)
def resize_bicubic(
    call: Call, x: Operand, size: Operand, align_corners: bool, half_pixel_centers: bool
) -> Tensor:
    """Bicubic, by kernel."""
    rule = _rule(call, "bicubic", bool(align_corners), bool(half_pixel_centers))
    return _resized(call, x, size, rule)


@operation(
    "tf:compat.v1.image.resize_area(images>x, size, align_corners=False)",
    "node:ResizeArea(images>x, size, align_corners=False)",
)
def resize_area(call: Call, x: Operand, size: Operand, align_corners: bool) -> Tensor:
    """Mean of what a pixel covers, by kernel."""
    return _resized(call, x, size, _rule(call, "area", bool(align_corners)))


@operation(
    "keras:Resize(images|image>x, size, interpolation>method='bilinear', antialias=False, "
    "crop_to_aspect_ratio=False, pad_to_aspect_ratio=False, fill_mode='constant', "
    "fill_value=0.0, data_format=None)"
)
def keras_resize(
    call: Call, x: Operand, size: Operand, method: Operand, antialias: bool,
    crop_to_aspect_ratio: bool, pad_to_aspect_ratio: bool, data_format: object, **_: object,
) -> Tensor:  # fmt: skip
    """Resize with half-pixel centers: Keras 3."""
    if crop_to_aspect_ratio or pad_to_aspect_ratio:
        raise call.unsupported("crop_to_aspect_ratio or pad_to_aspect_ratio", True, "false")
    rule = _rule(call, method)
    first = data_format == "channels_first"
    return _resized(call, x, size, rule, antialias=bool(antialias), first=first)


def _rule(
    call: Call, method: Operand, align_corners: bool = False, half_pixel: bool = True
) -> _Rule:
    mode = _METHODS.get(str(method).lower())
    if mode is None or (align_corners and mode in ("area", "cubic")):
        raise call.unsupported("method", method, "bilinear, nearest, bicubic or area")
    coordinates = "half_pixel" if half_pixel else "asymmetric"
    return _Rule(mode, "align_corners" if align_corners else coordinates)


def _resized(
    call: Call, x: Operand, size: Operand, rule: _Rule, antialias: bool = False, first: bool = False
) -> Tensor:
    x = tensor(call, x)
    if rule.mode != "nearest" or kind(x) is not FLOAT:
        x = floats(call, x)
    if x.rank != 4:
        raise call.unsupported("the image", f"{x.rank} axes", "a batch of images: 4 axes")
    layout = Layout.SOURCE if first else Layout.CHANNELS_FIRST
    image = call.in_layout(x, layout)
    wanted = items_of(call, "size", size)
    if len(wanted) != 2:
        raise call.unsupported("size", wanted, "height and width")
    lengths = x.shape[2:] if first else x.shape[1:3]
    known = [(i, o) for i, o in zip(lengths, wanted, strict=True) if i and isinstance(o, int)]
    static = known if len(known) == 2 else None
    if antialias and rule.mode in ("linear", "cubic"):
        grows = static is not None and all(o >= i for i, o in static) and rule.mode == "linear"
        if not grows:
            raise call.unsupported("antialias", True, "false")
    if static is not None and all(i == o for i, o in static):
        return Tensor(image, layout)
    if rule.mode == "cubic" and rule.coordinates == "half_pixel" and static is not None:
        target = (static[0][1], static[1][1])
        return Tensor(resize_images(call, image, target, "bicubic"), layout)
    if rule.mode in ("area", "cubic"):
        if static is None or not _is_exact(rule, static):
            wanted_text = "whole factors" if rule.mode == "area" else "factors that are powers of 2"
            raise call.unsupported(f"{rule.mode} resizing", f"{lengths} to {wanted}", wanted_text)
        if rule.mode == "area":
            return Tensor(_area(call, image, static), layout)
    if static is not None and rule.mode == "nearest" and _is_ambiguous(rule, static):
        return Tensor(_gathered(call, image, rule, static), layout)
    value = _resize_node(call, image, rule, static, size)
    return Tensor(shaped(value, _stored_sizes(image, wanted)), layout)


def _stored_sizes(image: ir.Value, wanted: list[Item]) -> list[Item]:
    assert image.shape is not None
    outer = [size if isinstance(size, int) else size.value for size in image.shape[:2]]
    return [*outer, *wanted]


def _resize_node(
    call: Call,
    image: ir.Value,
    rule: _Rule,
    static: list[tuple[int, int]] | None,
    size: Operand,
) -> ir.Value:
    attributes: dict[str, str | float | int] = {
        "mode": rule.mode,
        "coordinate_transformation_mode": rule.coordinates,
    }
    if rule.mode == "nearest":
        attributes["nearest_mode"] = rule.rounding
    if rule.mode == "cubic":
        half_pixel = rule.coordinates == "half_pixel"
        attributes["cubic_coeff_a"] = -0.5 if half_pixel else -0.75
        attributes["exclude_outside"] = int(half_pixel)
    inputs: list[ir.Value | None] = [image, None]
    if static is not None:
        factors = [1.0, 1.0, *(_scale(i, o) for i, o in static)]
        inputs.append(call.constant("scales", np.array(factors, dtype=np.float32)))
    else:
        outer = picked(call, "outer", call.op("Shape", [image], role="sizes"), [0, 1])
        target = [outer, vector(call, "size", size)]
        inputs += [None, call.op("Concat", target, role="target", axis=0)]
    return call.op("Resize", inputs, role="resize", **attributes)


def _scale(length: int, wanted: int) -> float:
    """Return a float32 factor that leads to the wanted length whoever rounds down."""
    scale = np.float32(wanted / length)
    if float(scale) * length < wanted:
        scale = np.nextafter(scale, np.float32(np.inf))
    return float(scale)


def _is_exact(rule: _Rule, static: list[tuple[int, int]]) -> bool:
    if rule.mode == "area":
        down, up = (
            all(a % b == 0 for a, b in pairs) for pairs in (static, [(o, i) for i, o in static])
        )
        return down or up
    steps = [_CUBIC_STEPS * 2 * i / o for i, o in static]
    return all(float(step).is_integer() for step in steps)


def _area(call: Call, image: ir.Value, static: list[tuple[int, int]]) -> ir.Value:
    """Whole factors: mean of blocks, or each pixel a block."""
    if all(i % o == 0 for i, o in static):
        window = [i // o for i, o in static]
        return call.op("AveragePool", [image], role="area", kernel_shape=window, strides=window)
    return _resize_node(call, image, _Rule("nearest", "asymmetric"), static, None)


def _positions(rule: _Rule, length: int, wanted: int, kind_: type[Any]) -> npt.NDArray[Any]:
    out: npt.NDArray[Any] = np.arange(wanted, dtype=kind_)
    if rule.coordinates == "align_corners":
        scale = kind_((length - 1) / (wanted - 1)) if wanted > 1 else kind_(0)
        rounded: npt.NDArray[Any] = out * scale + kind_(0.5)
        return rounded
    scale = kind_(length) / kind_(wanted)
    middle = kind_(0.5 if rule.coordinates == "half_pixel" else 0.0)
    where: npt.NDArray[Any] = (out + middle) * scale
    return where


def _is_ambiguous(rule: _Rule, static: list[tuple[int, int]]) -> bool:
    """Say whether a nearest position lies on a rounding edge that no float32 factor hits."""
    for length, wanted in static:
        if float(np.float32(wanted / length)) * length == wanted and (
            wanted % length == 0 or length % wanted == 0
        ):
            # A whole factor, or its inverse where that is exact, hits its edges exactly.
            inverse = length // wanted if length % wanted == 0 else 1
            if inverse & (inverse - 1) == 0:
                continue
        where = _positions(rule, length, wanted, np.float64)
        distance = np.abs(where - np.round(where))
        if (distance[1:] < _MARGIN).any():
            return True
    return False


def _gathered(call: Call, image: ir.Value, rule: _Rule, static: list[tuple[int, int]]) -> ir.Value:
    """Take the very rows and columns that TensorFlow's single precision takes."""
    for axis, (length, wanted) in zip((2, 3), static, strict=True):
        where = np.floor(_positions(rule, length, wanted, np.float32))
        indices = np.clip(where, 0, length - 1).astype(int).tolist()
        if indices != list(range(length)):
            rows = call.ints("indices", indices)
            image = call.op("Gather", [image, rows], role="nearest", axis=axis)
    return image
