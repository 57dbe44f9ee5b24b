"""From a network's output to probabilities, classes and masks."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from segrt.errors import EngineError, ShapeError, UsageError

FloatArray = npt.NDArray[np.float32]
MaskArray = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

# The last two are masks already: 0 and 1, and numbers of classes.
OutputKind = Literal["probabilities", "logits", "binary", "classes"]
MASKS: tuple[OutputKind, ...] = ("binary", "classes")
# Rounding of a half-precision softmax or sigmoid stays within this.
_SLACK = 1e-2


def arrange(raw: npt.NDArray[Any], channel_axis: int | None, tile: tuple[int, int]) -> FloatArray:
    """Bring a network's output to float32 ``(batch, height, width, channels)``.

    Accepts four axes in either order, three axes without channels, and ``(batch, height * width,
    channels)``, the form in which older networks end for a per-pixel loss.

    Raises:
        ShapeError: It is no map of the input's size.
    """
    height, width = tile
    shape = raw.shape
    if raw.ndim == 4:
        maps = np.moveaxis(raw, 1, -1) if channel_axis == 1 else raw
    elif raw.ndim == 3 and shape[1:] == (height, width):
        maps = raw[..., None]
    elif raw.ndim == 3 and shape[1] == height * width:
        maps = raw.reshape(shape[0], height, width, shape[2])
    else:
        maps = raw
    if maps.ndim != 4 or maps.shape[1:3] != (height, width):
        raise ShapeError(
            "the network's output is not a map of its input's size",
            found=f"output {shape} for an input of {height} x {width} pixels",
            wanted=f"(batch, {height}, {width}, classes)",
        )
    return np.asarray(maps, dtype=np.float32)


def probabilities(maps: FloatArray, kind: OutputKind) -> FloatArray:
    """Return probabilities for ``(..., channels)`` maps: sigmoid for one channel, else softmax.

    Args:
        maps: The network's output.
        kind: ``logits`` applies the function, ``probabilities`` only checks; masks pass.

    Raises:
        EngineError: The output holds NaN.
        UsageError: ``probabilities`` that are none.
    """
    if kind in MASKS:
        return maps
    if np.isnan(maps).any():
        raise EngineError("the network's output holds NaN")
    if kind == "logits":
        return sigmoid(maps) if maps.shape[-1] == 1 else softmax(maps)
    low, high = float(maps.min()), float(maps.max())
    if low < -_SLACK or high > 1 + _SLACK:
        raise UsageError(
            "the network's output does not hold probabilities",
            found=f"values from {low:.4g} to {high:.4g}",
            wanted="values from 0 to 1",
            hint="treat the output as logits",
        )
    return maps


def sigmoid(values: FloatArray) -> FloatArray:
    """Return ``1 / (1 + exp(-x))`` without overflow."""
    small = np.exp(-np.abs(values))
    return np.asarray(np.where(values >= 0, 1 / (1 + small), small / (1 + small)), values.dtype)


def softmax(values: FloatArray) -> FloatArray:
    """Return the softmax over the last axis without overflow."""
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def classes(maps: FloatArray, threshold: float = 0.5) -> MaskArray:
    """Return each pixel's class, ``(height, width)``, uint8 (uint16 above 256 classes).

    One channel: 1 where the probability is above ``threshold``, else 0. More: the first of the
    most probable classes.
    """
    if maps.shape[-1] == 1:
        return np.asarray(maps[..., 0] > threshold, dtype=np.uint8)
    index = maps.argmax(axis=-1)
    if maps.shape[-1] <= 256:
        return np.asarray(index, dtype=np.uint8)
    return np.asarray(index, dtype=np.uint16)


def confidence(maps: FloatArray) -> npt.NDArray[np.uint8]:
    """Return a probability to look at, 0..255: of class 1 for one channel, else the largest."""
    top = maps[..., 0] if maps.shape[-1] == 1 else maps.max(axis=-1)
    return np.asarray(np.rint(np.clip(top, 0.0, 1.0) * 255.0), dtype=np.uint8)
