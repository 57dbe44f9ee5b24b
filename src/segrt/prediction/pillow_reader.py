"""PNG, JPEG and BMP through Pillow, without loss: 16-bit colour included.

The formats' classes are opened directly, not through `PIL.Image.open`: the format is known from
the file's first bytes, and Pillow's process-wide size limit and its warnings stay out of the way
(`check_size` does that work with our own limit).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import BmpImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from segrt.errors import ImageError
from segrt.prediction.picture import Picture, Pixels, check_size, upright

Opener = Callable[[BinaryIO], ImageFile.ImageFile]

OPENERS: dict[str, Opener] = {
    "png": PngImagePlugin.PngImageFile,
    "jpeg": JpegImagePlugin.JpegImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
}

_ORIENTATION = 0x0112
# How Pillow's modes become arrays: (mode to convert to, has alpha).
_MODES = {
    "1": ("L", False),
    "L": ("L", False),
    "LA": ("LA", True),
    "La": ("LA", True),
    "RGB": ("RGB", False),
    "RGBA": ("RGBA", True),
    "RGBX": ("RGB", False),
    "RGBa": ("RGBA", True),
    "CMYK": ("RGB", False),
    "YCbCr": ("RGB", False),
    "LAB": ("RGB", False),
    "P": ("RGB", False),
    "PA": ("RGBA", True),
}
# What Pillow and zlib raise for damaged files; SyntaxError is Pillow's "not this format".
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    KeyError,
    IndexError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    UserWarning,  # Where the caller has made warnings errors.
)


def read_with_pillow(path: Path, kind: str, *, page: int = 0, max_pixels: int) -> Picture:
    """Decode one image.

    Args:
        path: The file.
        kind: A key of `OPENERS`.
        page: Which page of a TIFF.
        max_pixels: See `check_size`.

    Raises:
        ImageError: The file is damaged, too large, or of a kind that cannot be read exactly.
    """
    with _open(path, kind) as image:
        if page:
            image.seek(page)
        check_size(path, image.height, image.width, _pixel_bytes(image), max_pixels)
        remarks = ("the file is animated; its first picture was used",) * (
            kind == "png" and getattr(image, "n_frames", 1) > 1
        )
        pixels, alpha = _wide_png(path, image) if kind == "png" else (None, False)
        if pixels is None:
            pixels, alpha = _decode(path, image)
        # Last, as a PNG's EXIF may lie behind its pixels. Pillow turns TIFFs, and only those,
        # upright by itself.
        orientation = _orientation(image) if kind != "tiff" else 1
    return Picture(upright(pixels, orientation), alpha, remarks)


@contextmanager
def _open(path: Path, kind: str) -> Iterator[ImageFile.ImageFile]:
    try:
        with path.open("rb") as file, OPENERS[kind](file) as image:
            yield image
    except _DAMAGE as error:
        raise ImageError(
            f"{path}: the image cannot be read", found=str(error) or type(error).__name__
        ) from error


def _decode(path: Path, image: Image.Image) -> tuple[Pixels, bool]:
    """Decode what Pillow holds without loss."""
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format == "PNG"):
        return np.asarray(image).astype(np.uint16)[..., None], False
    if mode in ("I", "F"):
        return np.asarray(image)[..., None], False
    if mode not in _MODES:
        raise ImageError(f"{path}: pixels of this kind cannot be read", found=f"mode {mode}")
    wanted, alpha = _MODES[mode]
    if mode == "P" and "transparency" in image.info:
        wanted, alpha = "RGBA", True
    pixels = np.asarray(image if wanted == mode else image.convert(wanted))
    return (pixels[..., None] if pixels.ndim == 2 else pixels), alpha


def _wide_png(path: Path, image: ImageFile.ImageFile) -> tuple[Pixels | None, bool]:
    """Decode PNGs of 16 bits a sample with colour or alpha; None for all others.

    Pillow holds these with 8 bits only. It picks the upper byte of each big-endian sample by the
    raw mode `RGB;16B`; read as little-endian (`RGB;16L`) the same stream gives the lower byte.
    """
    if not image.tile:
        return None, False
    raw = image.tile[0][3]
    if raw == "LA;16B":
        # 32 bits a pixel: read as RGBA, the four bytes are L high, L low, A high, A low.
        data = _decode_as(path, "RGBA", "RGBA").astype(np.uint16)
        return data[..., 0::2] << 8 | data[..., 1::2], True
    if raw not in ("RGB;16B", "RGBA;16B"):
        return None, False
    mode = raw.removesuffix(";16B")
    high = _decode_as(path, mode, raw).astype(np.uint16)
    return high << 8 | _decode_as(path, mode, f"{mode};16L"), mode == "RGBA"


def _decode_as(path: Path, mode: str, raw: str) -> Pixels:
    """Decode a PNG afresh with another raw mode than its header asks for."""
    with path.open("rb") as file, PngImagePlugin.PngImageFile(file) as image:
        codec, extents, offset, _ = image.tile[0]
        image.tile = [ImageFile._Tile(codec, extents, offset, raw)]
        image._mode = mode
        return np.asarray(image)


def _pixel_bytes(image: Image.Image) -> int:
    wide = 2 if any("16" in str(tile[3]) for tile in getattr(image, "tile", ())) else 1
    return wide * {"I": 4, "F": 4, "I;16": 1}.get(image.mode, len(image.getbands()))


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except (*_DAMAGE, TypeError):
        return 1  # Damaged EXIF says nothing about the pixels; they are used as stored.
