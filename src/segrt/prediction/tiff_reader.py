"""TIFF through tifffile; compressions that tifffile lacks, through Pillow's libtiff.

Pages are the directories of the file's main chain; thumbnails, reduced copies and masks among
them are left out. A stack is a sequence of pages.
"""

from __future__ import annotations

import logging
import re
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from segrt.errors import ImageError
from segrt.prediction.picture import Picture, Pixels, check_size, upright
from segrt.prediction.pillow_reader import read_with_pillow

_DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    EOFError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
)
_DEFLATE = (8, 32946)
_DEFLATE_RATIO = 1032  # The most that deflate can expand by.
_HARMLESS_BYTES = 1 << 26
_ORIENTATION = 274
_TAG = re.compile(r"TiffTag (\d+)")
# Size, bits, compression, colours, layout, palette, tiles, extra samples, sample format.
_PIXEL_TAGS = {*range(254, 260), 262, 266, 273, 274, 277, 278, 279, 284, 317, *range(320, 326)}
_PIXEL_TAGS |= {338, 339, 347}
_ALPHA = (1, 2)  # ExtraSamples: associated and unassociated alpha.


def count_tiff_pages(path: Path) -> int:
    """Return how many pages `read_tiff` can be asked for; 1 or more.

    Raises:
        ImageError: The file is damaged.
    """
    with _open(path) as tiff:
        return len(_pages(path, tiff))


def read_tiff(path: Path, page: int, *, max_pixels: int) -> Picture:
    """Decode one page.

    1-bit and other packed samples are spread over the full range of 8 or 16 bits; white-is-zero
    is inverted, palettes and CMYK become RGB; floats and signed integers stay as stored.

    Args:
        path: The file.
        page: Counted from 0.
        max_pixels: See `segrt.prediction.picture.check_size`.

    Raises:
        ImageError: The page is damaged, too large, of more than two dimensions, of complex
            numbers, holds NaN, or has a compression that nothing installed can read exactly.
    """
    with _open(path) as tiff:
        index, chosen = _pages(path, tiff)[page]
        _check(path, chosen, max_pixels)
        try:
            pixels = _channels_last(path, chosen)
        except (ValueError, NotImplementedError) as error:
            if "imagecodecs" not in str(error):
                raise
            return _with_libtiff(path, chosen, index, max_pixels)
        pixels, alpha = _meaning(path, chosen, pixels)
        tag = chosen.tags.get(_ORIENTATION)
        pixels = upright(pixels, int(tag.value) if tag is not None else 1)
    if np.issubdtype(pixels.dtype, np.floating) and not np.isfinite(pixels).all():
        raise ImageError(f"{path}: the image holds NaN or infinite values")
    return Picture(pixels, alpha)


class _Complaints(logging.Handler):
    """Collects what tifffile logs in this thread about tags that say how to read the pixels.

    tifffile skips a damaged tag and reads on with its default: other pixels than were stored.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []
        self._owner = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        tag = _TAG.search(record.getMessage())
        if record.thread == self._owner and tag and int(tag[1]) in _PIXEL_TAGS:
            self.found.append(record.getMessage())


@contextmanager
def _open(path: Path) -> Iterator[tifffile.TiffFile]:
    complaints, logger = _Complaints(), logging.getLogger("tifffile")
    logger.addHandler(complaints)
    try:
        with tifffile.TiffFile(path) as tiff:
            yield tiff
        if complaints.found:
            raise ImageError(f"{path}: the image cannot be read", found=complaints.found[0])
    except (*_DAMAGE, tifffile.TiffFileError) as error:
        raise ImageError(
            f"{path}: the image cannot be read", found=str(error) or type(error).__name__
        ) from error
    finally:
        logger.removeHandler(complaints)


def _pages(path: Path, tiff: tifffile.TiffFile) -> list[tuple[int, Any]]:
    pages = [
        (index, page)
        for index, page in enumerate(tiff.pages)
        if isinstance(page, tifffile.TiffPage) and not (page.is_reduced or page.is_mask)
    ]
    if not pages:
        raise ImageError(f"{path}: the TIFF holds no full-size image")
    stack = int((tiff.imagej_metadata or {}).get("images", 1)) if tiff.is_imagej else 1
    if len(pages) == 1 and stack > 1:
        raise ImageError(
            f"{path}: an ImageJ stack that only its first page describes",
            found=f"{stack} images in one page",
            hint="save it again as a plain multi-page TIFF",
        )
    return pages


def _check(path: Path, page: Any, max_pixels: int) -> None:
    if page.imagedepth > 1:
        raise ImageError(f"{path}: a page is a volume", found=f"depth {page.imagedepth}")
    if page.dtype is None or page.dtype.kind not in "buif":
        raise ImageError(f"{path}: pixels of this kind cannot be read", found=f"{page.dtype}")
    size = page.dtype.itemsize * page.samplesperpixel
    check_size(path, page.imagelength, page.imagewidth, size, max_pixels)
    if page.is_tiled:
        check_size(path, page.tilelength, page.tilewidth, size, max_pixels)
    if page.compression in _DEFLATE:
        _refuse_inflating(path, page, size)


def _refuse_inflating(path: Path, page: Any, pixel_bytes: int) -> None:
    """Refuse segments that inflate far beyond what the page can hold.

    zlib would be asked for a whole segment at once; here its output is counted piece by piece.
    """
    bound = _HARMLESS_BYTES + page.imagelength * page.imagewidth * pixel_bytes
    if page.is_tiled:
        bound += page.tilelength * page.tilewidth * pixel_bytes
    handle = page.parent.filehandle
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        if count * _DEFLATE_RATIO <= bound:
            continue
        handle.seek(offset)
        inflater, data, total = zlib.decompressobj(), handle.read(count), 0
        while data and not inflater.eof:
            total += len(inflater.decompress(data, 1 << 20))
            data = inflater.unconsumed_tail
            if total > bound:
                raise ImageError(
                    f"{path}: a compressed segment holds far more than the image's size",
                    found=f"more than {total} bytes",
                    wanted=f"at most {bound} bytes",
                )


def _channels_last(path: Path, page: Any) -> Pixels:
    pixels = page.asarray()
    if page.axes == "YX":
        return np.asarray(pixels[..., None])
    if page.axes == "YXS":
        return np.asarray(pixels)
    if page.axes == "SYX":
        return np.asarray(np.moveaxis(pixels, 0, -1))
    raise ImageError(f"{path}: a page is not a flat image", found=f"axes {page.axes}")


def _meaning(path: Path, page: Any, pixels: Pixels) -> tuple[Pixels, bool]:
    """Bring stored samples to grey or RGB values that fill their type's range."""
    photometric = tifffile.PHOTOMETRIC
    extra = tuple(int(kind) for kind in page.extrasamples)
    alpha = bool(extra) and extra[-1] in _ALPHA and pixels.shape[-1] > 1
    if page.photometric == photometric.PALETTE:
        # A palette holds 16-bit colours that were 8-bit ones times 256 or times 257.
        colours = (np.asarray(page.colormap).T >> 8).astype(np.uint8)
        return np.asarray(colours[pixels[..., 0]]), False
    pixels = _fill_range(pixels, page.bitspersample)
    if page.photometric == photometric.MINISWHITE:
        if pixels.dtype.kind != "u":
            raise ImageError(f"{path}: white-is-zero samples of type {pixels.dtype}")
        return np.asarray(np.iinfo(pixels.dtype).max - pixels), alpha
    if page.photometric == photometric.SEPARATED:
        return _from_cmyk(path, pixels), False
    if page.photometric not in (photometric.MINISBLACK, photometric.RGB):
        raise ImageError(
            f"{path}: colours of this kind cannot be read",
            found=f"{getattr(page.photometric, 'name', page.photometric)}",
            wanted="grey, palette, RGB or CMYK",
        )
    return pixels, alpha


def _fill_range(pixels: Pixels, bits: int) -> Pixels:
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind != "u" or bits in (8, 16, 32, 64):
        return pixels
    top = 255 if bits < 8 else 65535
    spread = np.rint(pixels.astype(np.float64) * (top / (2**bits - 1)))
    return np.asarray(spread, dtype=np.uint8 if bits < 8 else np.uint16)


def _from_cmyk(path: Path, pixels: Pixels) -> Pixels:
    """Convert ink to light without a colour profile: ``(1 - ink) * (1 - black)``."""
    if pixels.shape[-1] < 4 or pixels.dtype.kind != "u":
        raise ImageError(f"{path}: separated colours that are not CMYK integers")
    top = np.iinfo(pixels.dtype).max
    light = 1.0 - pixels[..., :4].astype(np.float64) / top
    return np.asarray(np.rint(light[..., :3] * light[..., 3:] * top), dtype=pixels.dtype)


def _with_libtiff(path: Path, page: Any, index: int, max_pixels: int) -> Picture:
    """Read a page whose compression only Pillow's libtiff knows, where Pillow loses nothing."""
    exact = page.bitspersample <= 8 or (
        page.samplesperpixel == 1 and page.photometric == tifffile.PHOTOMETRIC.MINISBLACK
    )
    if not exact:
        raise ImageError(
            f"{path}: this compression cannot be read with the installed libraries",
            found=f"{page.compression.name}, {page.samplesperpixel} x {page.bitspersample} bits",
            hint="run: pip install imagecodecs",
        )
    return read_with_pillow(path, "tiff", page=index, max_pixels=max_pixels)
