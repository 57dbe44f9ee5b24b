"""Writing pictures: beside the target under a passing name, then renamed."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from segrt.errors import ImageError, UsageError
from segrt.prediction.picture import Pixels


def prepare_folder(folder: Path) -> None:
    """Create the output folder, with its parents, and see that it can be written to.

    Raises:
        UsageError: It is a file, cannot be created, or is read-only.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = _passing_name(folder / "probe")
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"{folder}: results cannot be written there",
            found=error.strerror or str(error),
            wanted="a folder that can be created or written to",
        ) from error


def write_picture(path: Path, pixels: Pixels) -> None:
    """Write a picture whole or not at all; the suffix (``.png``, ``.tif``) chooses the format.

    Args:
        path: Replaced if it exists.
        pixels: uint8 or uint16 ``(height, width)``, or uint8 ``(height, width, 3)``.

    Raises:
        ImageError: It cannot be written.
    """
    passing = _passing_name(path)
    try:
        with passing.open("xb") as file:
            if path.suffix == ".tif":
                tifffile.imwrite(
                    file,
                    pixels,
                    compression="zlib",
                    photometric="rgb" if pixels.ndim == 3 else "minisblack",
                    metadata=None,
                )
            else:
                # Photographs hardly shrink further with effort, masks do and are quick.
                level = 1 if pixels.ndim == 3 else 6
                image = Image.fromarray(np.ascontiguousarray(pixels))
                image.save(file, format="PNG", compress_level=level)
        passing.replace(path)
    except OSError as error:
        raise ImageError(
            f"{path}: the picture cannot be written", found=error.strerror or str(error)
        ) from error
    finally:
        with suppress(OSError):
            passing.unlink()


def _passing_name(path: Path) -> Path:
    # In the same folder, so that the rename stays on one file system; hidden, so that an
    # interrupted run leaves nothing that looks like a result.
    return path.parent / f".segrt-{os.getpid()}-{secrets.token_hex(6)}.tmp"
