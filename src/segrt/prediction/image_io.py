"""Reading images: the file's first bytes decide how, never its suffix.

Formats: PNG, JPEG, BMP (Pillow) and TIFF (tifffile). 8 and 16 bits, 1-bit and palettes, grey and
colour, with and without alpha; CMYK becomes RGB; the orientation tag is applied, so a mask fits
the picture as a viewer shows it. A TIFF's pages are separate images.
"""

from __future__ import annotations

from pathlib import Path

from segrt.errors import ImageError
from segrt.prediction.picture import MAX_PIXELS, Picture
from segrt.prediction.pillow_reader import read_with_pillow
from segrt.prediction.tiff_reader import count_tiff_pages, read_tiff

_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"BM": "bmp",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
}
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


def sniff(path: Path) -> str:
    """Return ``png``, ``jpeg``, ``bmp`` or ``tiff``.

    Raises:
        ImageError: The file cannot be opened, or is none of these.
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise ImageError(
            f"{path}: the file cannot be opened", found=error.strerror or str(error)
        ) from error
    for signature, kind in _SIGNATURES.items():
        if head.startswith(signature):
            return kind
    raise ImageError(
        f"{path}: not an image that can be read",
        found="an empty file" if not head else f"a file that begins with {head[:8]!r}",
        wanted="PNG, JPEG, BMP or TIFF",
    )


def count_pages(path: Path) -> int:
    """Return the number of images in a file: a TIFF's pages, else 1.

    Raises:
        ImageError: The file cannot be opened, or is a damaged TIFF.
    """
    return count_tiff_pages(path) if sniff(path) == "tiff" else 1


def read_image(path: Path, page: int = 0, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode one image.

    Args:
        path: The file.
        page: Which page of a TIFF, from 0.
        max_pixels: Largest accepted size; decides before memory is taken.

    Raises:
        ImageError: The file cannot be read; the message names it.
    """
    kind = sniff(path)
    try:
        if kind == "tiff":
            return read_tiff(path, page, max_pixels=max_pixels)
        return read_with_pillow(path, kind, max_pixels=max_pixels)
    except MemoryError as error:
        raise ImageError(f"{path}: not enough memory to read the image") from error
