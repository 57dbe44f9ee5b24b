"""From stored pixels to the values a network was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.errors import ShapeError, UsageError
from segrt.graph.ends import check_numbers, per_channel
from segrt.graph.rescales_input import rescales_input
from segrt.prediction.picture import Picture, Pixels
from segrt.types import Preprocess, TensorSpec

FloatArray = npt.NDArray[np.float64]

# ITU-R 601 luma in 16-bit fixed point, rounded: for 8-bit pixels exactly what Pillow's
# `convert("L")` computes, hence what networks trained on images loaded that way have seen.
_LUMA = (19595, 38470, 7471)
_LUMA_ONE = 65536


def fit_channels(picture: Picture, channels: int | None) -> tuple[Pixels, tuple[str, ...]]:
    """Give an image the number of channels that a network wants.

    An equal count passes unchanged, opacity included; else opacity is dropped, grey is repeated,
    colour becomes luma (ITU-R 601; rounded for integers).

    Args:
        picture: The image.
        channels: Wanted count; None takes what there is, without opacity.

    Returns:
        ``(height, width, channels)`` pixels of the image's type, and remarks.

    Raises:
        ShapeError: There is no meaningful way.
    """
    pixels = picture.pixels
    if pixels.shape[-1] == channels:
        return pixels, ()
    remarks: tuple[str, ...] = ()
    if picture.alpha:
        opaque = bool((pixels[..., -1] == _opaque(pixels.dtype)).all())
        remarks = () if opaque else ("transparency was ignored",)
        pixels = pixels[..., :-1]
    count = pixels.shape[-1]
    if channels in (None, count):
        return pixels, remarks
    if count == 1:
        return np.repeat(pixels, channels, axis=-1), remarks
    if count == 3 and channels == 1:
        return luma(pixels), remarks
    raise ShapeError(
        "the image's channels do not fit the network",
        found=f"{picture.pixels.shape[-1]} channels",
        wanted=f"{channels} channels",
    )


def luma(pixels: Pixels) -> Pixels:
    """Return the ITU-R 601 luma of ``(..., 3)`` pixels as ``(..., 1)`` of the same type."""
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2:
        wide = pixels.astype(np.uint64)
        total = sum(wide[..., i] * np.uint64(weight) for i, weight in enumerate(_LUMA))
        rounded = (np.asarray(total) + np.uint64(_LUMA_ONE // 2)) >> np.uint64(16)
        return rounded.astype(pixels.dtype)[..., None]
    weights = np.array(_LUMA, dtype=np.float64) / _LUMA_ONE
    return (pixels.astype(np.float64) @ weights).astype(pixels.dtype)[..., None]


class Normaliser:
    """``(pixel * scale - mean) / std`` in the network's axis order.

    8- and 16-bit pixels go through a table computed in double precision: exact and fast. 16-bit
    pixels are brought to the range 0..255 first (divided by 257). Other types are used as stored.

    Args:
        preprocess: What to do; ``scale`` None is 1/255. ``mean`` and ``std`` are in the order in
            which the network sees the channels.
        channels: The network's channel count.
        channel_axis: 1 for ``(channels, height, width)``, else channels come last.
        dtype: The network's input type.

    Raises:
        UsageError: ``mean`` or ``std`` does not fit the channels, or `check_numbers` refuses one.
    """

    def __init__(
        self, preprocess: Preprocess, channels: int, channel_axis: int, dtype: str
    ) -> None:
        self._mean = per_channel("mean", preprocess.mean, channels)
        self._std = per_channel("std", preprocess.std, channels)
        check_numbers(preprocess)
        self._scale = preprocess.scale
        self._first = channel_axis == 1
        self._dtype = np.dtype(dtype)
        self._swap = preprocess.channel_order == "bgr" and channels >= 3
        self._tables: dict[str, Pixels] = {}

    def __call__(self, pixels: Pixels) -> Pixels:
        """Return the network's input, without a batch axis, for ``(h, w, channels)`` pixels."""
        if self._swap:
            # Channels behind the third (opacity, infrared) keep their place.
            pixels = np.concatenate([pixels[..., 2::-1], pixels[..., 3:]], axis=-1)
        if pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2:
            table = self._table(pixels.dtype)
            values = np.stack(
                [table[c].take(pixels[..., c]) for c in range(pixels.shape[-1])],
                axis=0 if self._first else -1,
            )
        else:
            values = self._formula(pixels.astype(np.float64))
            values = np.moveaxis(values, -1, 0) if self._first else values
            values = self._cast(values)
        return np.ascontiguousarray(values)

    def _table(self, dtype: np.dtype[np.generic]) -> Pixels:
        if dtype.name not in self._tables:
            steps = np.arange(1 << (8 * dtype.itemsize), dtype=np.float64)
            if dtype.itemsize == 2:
                steps /= 257.0
            columns = np.repeat(steps[:, None], len(self._mean), axis=1)
            self._tables[dtype.name] = np.ascontiguousarray(self._cast(self._formula(columns)).T)
        return self._tables[dtype.name]

    def _formula(self, values: FloatArray) -> FloatArray:
        # Dividing rounds better than multiplying by 1/255, and is what training scripts do.
        scaled = values / 255.0 if self._scale is None else values * self._scale
        return np.asarray((scaled - self._mean) / self._std)

    def _cast(self, values: FloatArray) -> Pixels:
        if self._dtype.kind in "ui":
            limits = np.iinfo(self._dtype)
            values = np.clip(np.rint(values), limits.min, limits.max)
        return values.astype(self._dtype)


def settle_preprocess(
    preprocess: Preprocess | None, graph: ir.Model, inputs: Sequence[TensorSpec]
) -> Preprocess:
    """Return how pixels become input: 1/255 of them, or all where the network itself rescales.

    Raises:
        UsageError: What was given is no `Preprocess`, or does not fit the network.
    """
    settled = Preprocess() if preprocess is None else preprocess
    if not isinstance(settled, Preprocess):
        raise UsageError(
            "preprocess must be a segrt.Preprocess",
            found=repr(settled)[:80],
            hint="segrt.Preprocess(scale=1 / 255, mean=(0.5,))",
        )
    if settled.scale is None:
        settled = replace(settled, scale=1.0 if rescales_input(graph) else 1 / 255)
    check_preprocess(settled, inputs)
    return settled


def check_preprocess(preprocess: Preprocess, inputs: Sequence[TensorSpec]) -> None:
    """Refuse what cannot be applied to a network's images, before anything is built.

    Networks with other inputs than one image take no image files: there only the numbers count.

    Raises:
        UsageError: ``mean`` or ``std`` does not fit the channels, or `check_numbers` refuses one.
    """
    check_numbers(preprocess)
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        return
    axis = inputs[0].channel_axis or -1
    channels = inputs[0].shape[axis]
    if channels is not None:
        Normaliser(preprocess, channels, axis, inputs[0].dtype)


def _opaque(dtype: np.dtype[Any]) -> float:
    return float(np.iinfo(dtype).max) if dtype.kind in "ui" else 1.0
