"""A decoded image, and the checks every reader shares."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from segrt.errors import ImageError

Pixels: TypeAlias = npt.NDArray[Any]

# The size from which Pillow itself refuses a file as a decompression bomb.
MAX_PIXELS = 178_956_970
_BYTES_PER_PIXEL = 8  # 16-bit RGBA: the widest usual pixel, so what MAX_PIXELS means in memory


@dataclass(frozen=True, slots=True)
class Picture:
    """One image as stored, upright.

    Attributes:
        pixels: ``(height, width, channels)``. uint8 (0..255) and uint16 (0..65535) fill their
            range; every other type holds values that are used as they are.
        alpha: Whether the last channel is opacity.
        remarks: What a person should know about how it was read.
    """

    pixels: Pixels
    alpha: bool = False
    remarks: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])


def check_size(path: Path, height: int, width: int, pixel_bytes: int, max_pixels: int) -> None:
    """Refuse an image by its declared size, before memory is taken for it.

    Args:
        path: For the message.
        height: Declared rows.
        width: Declared columns.
        pixel_bytes: Bytes of one decoded pixel, all channels.
        max_pixels: Largest accepted number of pixels (of up to eight bytes each).

    Raises:
        ImageError: It is empty, or larger than accepted.
    """
    if height < 1 or width < 1:
        raise ImageError(f"{path}: the image is empty", found=f"{width} x {height} pixels")
    if height * width * max(1, pixel_bytes / _BYTES_PER_PIXEL) > max_pixels:
        raise ImageError(
            f"{path}: the image is too large to be read at once",
            found=f"{width} x {height} pixels of {pixel_bytes} bytes",
            wanted=f"at most {max_pixels} pixels of up to {_BYTES_PER_PIXEL} bytes",
            hint="split it into smaller files",
        )


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn ``(height, width, ...)`` pixels the way EXIF's (and TIFF's) orientation tag says.

    Codes outside 1..8 mean nothing and change nothing.
    """
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    # After the transposition of 5..8, each code is one of the four flips.
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
