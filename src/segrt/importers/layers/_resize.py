"""Resize N C H W as TensorFlow's image kernels do, to any size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.graph.builder import static_shape
from segrt.importers.layers._base import Call
from segrt.importers.layers._inputs import wrong_input

# TensorFlow looks the weights of its bicubic kernel up in a table with this many steps a pixel.
_TABLE_STEPS = 1024
_SHARPNESS = -0.5
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")

_MODES = {
    "nearest": {"mode": "nearest", "nearest_mode": "round_prefer_ceil"},
    "bilinear": {"mode": "linear"},
}


def resize(call: Call, value: ir.Value, target: tuple[int, int], interpolation: str) -> ir.Value:
    """Append what ``tf.image.resize`` without antialiasing does to images N C H W.

    Args:
        call: The layer's call.
        value: The images.
        target: Height and width.
        interpolation: One of `INTERPOLATIONS`.

    Raises:
        ModelFileError: The size is unknown and the result would not be exact.
    """
    sizes = static_shape(value)[2:]
    known = [size for size in sizes if size is not None]
    if len(known) < 2:
        if interpolation == "bicubic":
            raise wrong_input(call, "bicubic resizing of unknown sizes", "known sizes")
        return _to_sizes(call, value, target, interpolation)
    if interpolation == "nearest" and not all(map(_nearest_agrees, known, target)):
        return _pick(call, value, known, target)
    if interpolation == "bicubic":
        # OpenVINO's Resize weighs pixels outside the image, which Keras leaves out.
        return _products(call, value, known, target)
    factors = [_factor(size, wanted) for size, wanted in zip(known, target, strict=True)]
    scales = call.constant("scales", np.array([1, 1, *factors], np.float32))
    return call.op("Resize", [value, None, scales], role="resize", **_attributes(interpolation))


def enlarge_bicubic(call: Call, value: ir.Value, factors: tuple[int, int]) -> ir.Value:
    """Append bicubic upsampling of images of unknown size, by powers of two.

    Raises:
        ModelFileError: Another factor: TensorFlow rounds the weights of its table.
    """
    if any(factor & (factor - 1) or factor > _TABLE_STEPS // 2 for factor in factors):
        raise wrong_input(
            call, f"bicubic upsampling of unknown sizes by {factors}", "known sizes, or powers of 2"
        )
    call.remark(
        "bicubic upsampling of images of unknown size: OpenVINO weighs pixels outside the image, "
        "which Keras leaves out; give the size when saving for it"
    )
    scales = call.constant("scales", np.array([1, 1, *factors], np.float32))
    return call.op(
        "Resize",
        [value, None, scales],
        role="resize",
        mode="cubic",
        cubic_coeff_a=_SHARPNESS,
        exclude_outside=1,
        coordinate_transformation_mode="half_pixel",
    )


def _attributes(interpolation: str) -> dict[str, str]:
    return {**_MODES[interpolation], "coordinate_transformation_mode": "half_pixel"}


def _to_sizes(call: Call, value: ir.Value, target: tuple[int, int], interpolation: str) -> ir.Value:
    images = call.op("Shape", [value], role="images", start=0, end=2)
    sizes = call.op("Concat", [images, call.ints("target", target)], role="sizes", axis=0)
    result = call.op(
        "Resize", [value, None, None, sizes], role="resize", **_attributes(interpolation)
    )
    result.shape = ir.Shape([*list(value.shape or [])[:2], *target])
    return result


def _factor(size: int, wanted: int) -> np.float32:
    """Return the factor that gives ``wanted`` when its product with ``size`` is cut off."""
    factor = np.float32(wanted / size)
    # Shape inference multiplies in double precision, engines in single.
    while math.floor(size * float(factor)) < wanted or math.floor(size * factor) < wanted:
        factor = np.nextafter(factor, np.float32(np.inf))
    return factor


def _tensorflow_nearest(size: int, wanted: int) -> npt.NDArray[np.int64]:
    """Return the pixels that TensorFlow reads: ``floor((i + 1/2) * size / wanted)`` in float32."""
    scale = np.float32(size) / np.float32(wanted)
    places = (np.arange(wanted, dtype=np.float32) + np.float32(0.5)) * scale
    pixels: npt.NDArray[np.int64] = np.minimum(np.floor(places).astype(np.int64), size - 1)
    return pixels


def _nearest_agrees(size: int, wanted: int) -> bool:
    """Say whether ONNX' formula reads the same pixels, in float32 and in exact arithmetic."""
    read = _tensorflow_nearest(size, wanted)
    exact = (2 * np.arange(wanted) + 1) * size // (2 * wanted)
    factor = _factor(size, wanted)
    half = np.float32(0.5)
    rounded = (np.arange(wanted, dtype=np.float32) + half) / factor - half
    single = np.clip(np.floor(rounded + half), 0, size - 1).astype(np.int64)
    return bool(np.array_equal(read, exact) and np.array_equal(read, single))


def _pick(call: Call, value: ir.Value, sizes: Sequence[int], target: Sequence[int]) -> ir.Value:
    for axis, (size, wanted) in enumerate(zip(sizes, target, strict=True), 2):
        indices = call.constant(f"pixels_{axis}", _tensorflow_nearest(size, wanted))
        value = call.op("Gather", [value, indices], role=f"picked_{axis}", axis=axis)
    return value


def _products(call: Call, value: ir.Value, sizes: Sequence[int], target: Sequence[int]) -> ir.Value:
    """Append the products with the matrices that hold TensorFlow's weights."""
    rows = _cubic_matrix(sizes[0], target[0])
    columns = _cubic_matrix(sizes[1], target[1]).T
    value = call.op("MatMul", [call.constant("rows", rows), value], role="resized_rows")
    return call.op("MatMul", [value, call.constant("columns", columns)], role="resize")


def _cubic_matrix(size: int, wanted: int) -> npt.NDArray[np.float32]:
    """Return the weights (wanted, size) of TensorFlow's ResizeBicubic with half-pixel centers.

    Keys' kernel with a = -0.5 at distances rounded to the table's steps; weights outside the
    image are left out and the others made to sum to 1 (tensorflow/core/kernels/image/
    resize_bicubic_op.cc).
    """
    scale = np.float32(size) / np.float32(wanted)
    half = np.float32(0.5)
    places = (np.arange(wanted, dtype=np.float32) + half) * scale - half
    first = np.floor(places).astype(np.int64)
    steps = np.rint((places - first.astype(np.float32)) * np.float32(_TABLE_STEPS))
    matrix = np.zeros((wanted, size), np.float64)
    for tap in range(-1, 3):
        pixels = first + tap
        inside = (pixels >= 0) & (pixels < size)
        weights = _keys(np.abs(steps / _TABLE_STEPS - tap))
        matrix[np.flatnonzero(inside), pixels[inside]] = weights[inside]
    whole: npt.NDArray[np.float64] = matrix / matrix.sum(axis=1, keepdims=True)
    return whole.astype(np.float32)


def _keys(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return Keys' cubic convolution kernel at distances from 0 to 2."""
    a, d = _SHARPNESS, distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))
