"""Synthetic microscopy: textured bright cells on an uneven background, with their true masks.

Everything is drawn with NumPy from a seed, so the images carry no licence but this project's and
anyone can make more of them. What makes them worth segmenting: cells vary in size and brightness,
many touch (the mask keeps a dark seam between neighbours), the light falls off across the field,
photons are few, and small bright debris is *not* a cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[np.int32]
Bytes: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class CellImage:
    """One synthetic image.

    Attributes:
        pixels: Grey values, (H, W) uint8.
        mask: 255 inside cells, 0 elsewhere, (H, W) uint8.
    """

    pixels: Bytes
    mask: Bytes


def draw(seed: int, height: int = 128, width: int = 128) -> CellImage:
    """Draw the image that belongs to ``seed``.

    Args:
        seed: The same seed and size give the same image.
        height: In pixels.
        width: In pixels.
    """
    rng = np.random.default_rng(seed)
    labels, dome = _place_cells(rng, height, width)
    mask = (labels > 0) & ~_seams(labels)
    light = _background(rng, height, width)
    for label in range(1, labels.max() + 1):
        inside = labels == label
        light[inside] += rng.uniform(0.22, 0.55) * dome[inside]
    light *= 1.0 + 0.22 * _smooth_noise(rng, height, width, sigma=2.0) * mask
    light -= 0.10 * (_seams(labels) & (labels > 0))
    light += _debris(rng, height, width)
    light = _blur(light, 0.8)
    return CellImage(_expose(rng, light), np.where(mask, 255, 0).astype(np.uint8))


def _place_cells(rng: np.random.Generator, height: int, width: int) -> tuple[Labels, Floats]:
    """Return a label map (0 is background) and how bright each cell is at each of its pixels."""
    labels = np.zeros((height, width), dtype=np.int32)
    dome = np.zeros((height, width))
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    count = max(1, round(height * width / 1100 * rng.uniform(0.6, 1.3)))
    centres: list[tuple[float, float, float]] = []
    for _ in range(count):
        radius = float(rng.uniform(5.0, 13.0))
        row, column = _centre(rng, centres, radius, height, width)
        reach = _reach(rng, rows - row, columns - column, radius)
        # Earlier cells keep their pixels: later ones are pressed against them, as in a dish.
        inside = (reach < 1.0) & (labels == 0)
        if inside.sum() < 40:
            continue
        centres.append((row, column, radius))
        labels[inside] = len(centres)
        dome[inside] = 0.45 + 0.55 * np.sqrt(1.0 - reach[inside] ** 2)
    return labels, dome


def _centre(
    rng: np.random.Generator,
    centres: list[tuple[float, float, float]],
    radius: float,
    height: int,
    width: int,
) -> tuple[float, float]:
    """Choose a free spot, or (four times in ten) one that touches a cell already there."""
    if centres and rng.random() < 0.4:
        row, column, other = centres[int(rng.integers(len(centres)))]
        angle, distance = rng.uniform(0, 2 * np.pi), 0.95 * (radius + other)
        return row + distance * np.sin(angle), column + distance * np.cos(angle)
    return float(rng.uniform(0, height)), float(rng.uniform(0, width))


def _reach(rng: np.random.Generator, rows: Floats, columns: Floats, radius: float) -> Floats:
    """Distance from a cell's centre in units of its own, bumpy radius: below 1 is inside."""
    tilt, stretch = rng.uniform(0, np.pi), rng.uniform(0.75, 1.3)
    along = (columns * np.cos(tilt) + rows * np.sin(tilt)) / stretch
    across = (rows * np.cos(tilt) - columns * np.sin(tilt)) * stretch
    angle = np.arctan2(across, along)
    bumps = np.ones_like(angle)
    for order in (2, 3, 5):
        bumps += rng.normal(0, 0.06) * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    distance: Floats = np.hypot(along, across) / (radius * bumps)
    return distance


def _seams(labels: Labels) -> npt.NDArray[np.bool_]:
    """Pixels of a cell that have another cell beside, above or below them."""
    seam = np.zeros(labels.shape, dtype=np.bool_)
    for axis in (0, 1):
        near, far = [slice(None)] * 2, [slice(None)] * 2
        near[axis], far[axis] = slice(None, -1), slice(1, None)
        first, second = labels[tuple(near)], labels[tuple(far)]
        meet = (first > 0) & (second > 0) & (first != second)
        seam[tuple(near)] |= meet
        seam[tuple(far)] |= meet
    return seam


def _background(rng: np.random.Generator, height: int, width: int) -> Floats:
    """Light that falls off towards one side, with slow clouds of out-of-focus matter."""
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    slope = rng.normal(0, 0.06, size=2)
    falloff = rng.uniform(0.0, 0.10) * (rows**2 + columns**2)
    clouds = 0.05 * _smooth_noise(rng, height, width, sigma=14.0)
    light: Floats = 0.22 + slope[0] * rows + slope[1] * columns - falloff + clouds
    return light


def _debris(rng: np.random.Generator, height: int, width: int) -> Floats:
    """A few bright specks, far smaller than a cell."""
    specks = np.zeros((height, width))
    for _ in range(int(rng.integers(3, 10))):
        specks[rng.integers(height), rng.integers(width)] = rng.uniform(0.8, 2.0)
    return _blur(specks, 0.7)


def _expose(rng: np.random.Generator, light: Floats) -> Bytes:
    """Turn light into grey values of a sensor: photon noise, read noise, 8 bits."""
    photons = rng.uniform(60.0, 160.0)
    counted = rng.poisson(np.clip(light, 0.0, None) * photons) / photons
    grey = counted + rng.normal(0.0, 0.02, size=light.shape)
    return np.round(np.clip(grey, 0.0, 1.0) * 255.0).astype(np.uint8)


def _smooth_noise(rng: np.random.Generator, height: int, width: int, *, sigma: float) -> Floats:
    """Gaussian noise, blurred, with standard deviation 1."""
    noise = _blur(rng.normal(size=(height, width)), sigma)
    normalised: Floats = noise / noise.std()
    return normalised


def _blur(image: Floats, sigma: float) -> Floats:
    """Gaussian blur by multiplication in the frequency domain; the image wraps around."""
    height, width = image.shape
    rows = np.fft.fftfreq(height)[:, None]
    columns = np.fft.rfftfreq(width)[None, :]
    transfer = np.exp(-2.0 * (np.pi * sigma) ** 2 * (rows**2 + columns**2))
    blurred: Floats = np.fft.irfft2(np.fft.rfft2(image) * transfer, s=(height, width))
    return blurred
