"""Pictures by which a person can judge a mask."""

from __future__ import annotations

import colorsys
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.prediction.picture import Pixels

Picture8 = npt.NDArray[np.uint8]

# Okabe and Ito's colours, told apart by colour-blind people too; class 1 comes first.
_FIRST_COLOURS = (
    (213, 94, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (230, 159, 0),
    (0, 114, 178),
)
_TINT = 0.25
_GOLDEN = 0.618033988749895


def class_colour(index: int) -> tuple[int, int, int]:
    """Return the RGB colour of class ``index``; class 0, the background, is black."""
    if index == 0:
        return 0, 0, 0
    if index <= len(_FIRST_COLOURS):
        return _FIRST_COLOURS[index - 1]
    # Steps of the golden ratio keep any number of hues apart.
    red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN % 1.0, 0.75, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def displayable(pixels: Pixels) -> Picture8:
    """Return ``(height, width, 3)`` uint8 to look at.

    8-bit pixels stay as they are; wider types are stretched between their 0.5 and 99.5
    percentiles. Of other than one or three channels the first three, or the first, are shown.
    """
    shown = pixels[..., :3] if pixels.shape[-1] >= 3 else pixels[..., :1]
    if shown.dtype != np.uint8:
        low, high = (float(edge) for edge in np.percentile(shown, (0.5, 99.5)))
        span = high - low if high > low else 1.0
        stretched = (shown.astype(np.float32) - low) * (255.0 / span)
        shown = np.rint(np.clip(stretched, 0, 255)).astype(np.uint8)
    return np.array(np.broadcast_to(shown, (*shown.shape[:2], 3)), order="C")


def overlay(pixels: Pixels, mask: npt.NDArray[Any]) -> Picture8:
    """Tint the classes of a mask on its image and draw their boundaries.

    Args:
        pixels: ``(height, width, channels)``, any type.
        mask: ``(height, width)`` class indices; class 0 is not tinted.

    Returns:
        uint8 ``(height, width, 3)``.
    """
    picture = displayable(pixels)
    inside, edge = mask > 0, boundary(mask)
    colours = np.array([class_colour(i) for i in range(1 + int(mask.max()))], dtype=np.float32)
    tinted = picture[inside] * np.float32(1 - _TINT) + colours[mask[inside]] * np.float32(_TINT)
    picture[inside] = np.rint(tinted).astype(np.uint8)
    picture[edge] = colours[mask[edge]].astype(np.uint8)
    return picture


def boundary(mask: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Mark the pixels of a class above 0 that have a neighbour (of four) of another class."""
    edge = np.zeros(mask.shape, dtype=bool)
    across, down = mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return np.asarray(edge & (mask > 0))


def heat_map(values: npt.NDArray[np.uint8]) -> Picture8:
    """Colour 0..255 from dark violet over teal to light yellow; ``(height, width, 3)``."""
    return np.asarray(colour_table()[values])


@cache
def colour_table() -> Picture8:
    """Return 256 RGB colours of evenly rising CIE lightness (L* 8 to 95), uint8 ``(256, 3)``.

    The hue turns from violet to yellow; chroma is what sRGB can show around there, at most 60.
    Formulas: CIE L*a*b* with the D65 white point, IEC 61966-2-1 (sRGB).
    """
    share = np.linspace(0.0, 1.0, 256)
    lightness, hue = 8 + 87 * share, np.deg2rad(310 - 210 * share)
    chroma = np.zeros_like(share)
    # The largest chroma that needs no clipping, found in steps: lightness must stay what it is.
    for step in np.arange(0.25, 60.1, 0.25):
        linear = _linear_rgb(lightness, step * np.cos(hue), step * np.sin(hue))
        fits = ((linear >= 0) & (linear <= 1)).all(axis=-1) & (chroma == step - 0.25)
        chroma[fits] = step
    # Smoothed (never above the bound), as a kink would look like an edge in the data.
    reach = 24
    around = np.lib.stride_tricks.sliding_window_view
    lowest = around(np.pad(chroma, 2 * reach, mode="edge"), 2 * reach + 1).min(axis=-1)
    chroma = around(lowest, 2 * reach + 1).mean(axis=-1)
    linear = np.clip(_linear_rgb(lightness, chroma * np.cos(hue), chroma * np.sin(hue)), 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    table: Picture8 = np.asarray(np.rint(encoded * 255), dtype=np.uint8)
    table.flags.writeable = False
    return table


def _linear_rgb(
    lightness: npt.NDArray[np.float64], a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    middle = (lightness + 16) / 116
    cone = np.stack([middle + a / 500, middle, middle - b / 200], axis=-1)
    xyz = np.where(cone > 6 / 29, cone**3, 3 * (6 / 29) ** 2 * (cone - 4 / 29))
    xyz = xyz * np.array([0.95047, 1.0, 1.08883])
    to_rgb = np.array(
        [
            [3.2404542, -1.5371385, -0.4985314],
            [-0.9692660, 1.8760108, 0.0415560],
            [0.0556434, -0.2040259, 1.0572252],
        ]
    )
    return np.asarray(xyz @ to_rgb.T)
