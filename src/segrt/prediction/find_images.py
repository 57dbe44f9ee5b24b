"""Which files `predict` works on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from segrt.errors import UsageError
from segrt.prediction.image_io import SUFFIXES

_DIGITS = re.compile(r"(\d+)")


def find_images(inputs: Iterable[str | Path]) -> list[Path]:
    """List image files in natural order (``img2`` before ``img10``), each once.

    Args:
        inputs: Files, taken whatever their suffix; and folders, of which the visible files with
            an image suffix are taken, without those in subfolders.

    Raises:
        UsageError: One of them does not exist or cannot be listed, or there is no image at all.
    """
    given = [Path(item) for item in inputs]
    found: dict[Path, Path] = {}
    for item in given:
        for file in _files(item):
            found.setdefault(file.resolve(), file)
    if not found:
        raise UsageError(
            "no images to work on",
            found=", ".join(str(item) for item in given) or "no input",
            wanted=f"a file, or a folder with files named {' '.join('*' + s for s in SUFFIXES)}",
        )
    return sorted(found.values(), key=natural_key)


def natural_key(path: Path) -> tuple[object, ...]:
    """Return a sort key that reads digits as numbers, folder by folder."""
    parts = [
        # (0, number) sorts before (1, text); odd places of the split are the digits.
        tuple(
            (0, int(piece), "") if place % 2 else (1, 0, piece.casefold())
            for place, piece in enumerate(_DIGITS.split(part))
        )
        for part in path.parts
    ]
    return (*parts, str(path))


def _files(item: Path) -> list[Path]:
    try:
        if item.is_dir():
            return [
                file
                for file in item.iterdir()
                if file.suffix.lower() in SUFFIXES
                and not file.name.startswith(".")
                and file.is_file()
            ]
        if not item.exists():
            raise UsageError(f"{item}: there is no such file or folder")
    except OSError as error:
        raise UsageError(f"{item}: cannot be listed", found=error.strerror or str(error)) from error
    return [item]
