"""Resizing, CenterCrop and RandomCrop: images brought to a fixed size."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.graph.builder import static_shape
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Tensor, keras_layer
from segrt.importers.layers._inputs import (
    came_as_integers,
    identity,
    image,
    refuse_training,
    wrong_input,
)
from segrt.importers.layers._resize import INTERPOLATIONS, resize

Size = tuple[int, int]

# What RandomCrop does at inference: since Keras 3.7 nothing, before 3.5 it resizes and crops; so
# does Keras 2 since 2.9. In between and before, its rules are others.
_CROP_IS_IDENTITY = (3, 7)
_UNSAID = (3, 0, 0)  # also taken where the file does not tell its version
_CROP_RESIZES = (((2, 9), (2, 99)), ((3, 0), (3, 5)))


@keras_layer("Resizing")
def resizing(call: Call, x: Tensor) -> Tensor:
    """Convert Resizing, stretched or with the aspect ratio kept by cropping or padding."""
    x = image(call, x)
    target = _size(call)
    interpolation = _config.choice(call, "interpolation", INTERPOLATIONS, "bilinear")
    if _config.flag(call, "antialias", False):
        raise call.unsupported("antialias", True, "false")
    if call.keras_major == 3 and interpolation != "nearest" and came_as_integers(x):
        raise wrong_input(call, "integers, which Keras 3 rounds again", "a float input")
    value = call.channels_first(x)
    crop = _config.flag(call, "crop_to_aspect_ratio", False)
    pad = _config.flag(call, "pad_to_aspect_ratio", False)
    if crop and pad:
        raise call.unsupported("pad_to_aspect_ratio", True, "only one of crop and pad")
    if crop:
        value = _cropped_to_ratio(call, value, target)
    if pad:
        value = _padded_to_ratio(call, value, target)
    return call.wrap(resize(call, value, target, interpolation))


@keras_layer("CenterCrop")
def center_crop(call: Call, x: Tensor) -> Tensor:
    """Convert CenterCrop; an image smaller than the target is cropped to its ratio and resized."""
    x = image(call, x)
    target = _size(call)
    value = call.channels_first(x)
    size = _known(call, value)
    if size[0] < target[0] or size[1] < target[1]:
        return call.wrap(resize(call, _cropped_to_ratio(call, value, target), target, "bilinear"))
    starts = [(have - want) // 2 for have, want in zip(size, target, strict=True)]
    return call.wrap(_slice(call, value, starts, target))


@keras_layer("RandomCrop")
def random_crop(call: Call, x: Tensor) -> Tensor:
    """Convert RandomCrop as it works at inference, which depends on the version."""
    x = image(call, x)
    if call.keras_major == 2:  # Keras 3 writes the default down and predicts without it
        refuse_training(call, "inference: a random crop cannot be converted")
    target = _size(call)
    value = call.channels_first(x)
    if call.keras_version >= _CROP_IS_IDENTITY or _known(call, value) == target:
        return identity(call, x)
    known = call.keras_version[:3] != _UNSAID
    if not known or not any(first <= call.keras_version < end for first, end in _CROP_RESIZES):
        raise call.unsupported("RandomCrop at inference", call.keras_version, "another Keras")
    return call.wrap(resize(call, _cropped_to_ratio(call, value, target), target, "bilinear"))


def _size(call: Call) -> Size:
    return _config.integer(call, "height"), _config.integer(call, "width")


def _known(call: Call, value: ir.Value) -> Size:
    height, width = static_shape(value)[2:]
    if height is None or width is None:
        raise wrong_input(call, f"an image of unknown size {static_shape(value)}", "a known size")
    return height, width


def _fitting(length: int, wanted: int, other: int) -> int:
    """Return ``length * wanted / other`` cut off, in float32 as Keras computes it."""
    return int(np.float32(length * wanted) / np.float32(other))


def _cropped_to_ratio(call: Call, value: ir.Value, target: Size) -> ir.Value:
    """Append the largest centered part with the target's aspect ratio."""
    height, width = _known(call, value)
    part = (
        max(min(height, _fitting(width, target[0], target[1])), 1),
        max(min(width, _fitting(height, target[1], target[0])), 1),
    )
    if part == (height, width):
        return value
    return _slice(call, value, [(height - part[0]) // 2, (width - part[1]) // 2], part)


def _padded_to_ratio(call: Call, value: ir.Value, target: Size) -> ir.Value:
    """Append borders that give the target's aspect ratio, the same on both sides."""
    _config.choice(call, "fill_mode", ("constant",), "constant")
    height, width = _known(call, value)
    rows = (max(height, _fitting(width, target[0], target[1])) - height) // 2
    columns = (max(width, _fitting(height, target[1], target[0])) - width) // 2
    if not rows and not columns:
        return value
    pads = call.ints("pads", [0, 0, rows, columns, 0, 0, rows, columns])
    fill = call.scalar("fill", _config.number(call, "fill_value", 0.0))
    return call.op("Pad", [value, pads, fill], role="padded", mode="constant")


def _slice(call: Call, value: ir.Value, starts: list[int], size: Size) -> ir.Value:
    ends = [start + length for start, length in zip(starts, size, strict=True)]
    bounds = [call.ints("starts", starts), call.ints("ends", ends), call.ints("axes", [2, 3])]
    return call.op("Slice", [value, *bounds], role="crop")
