"""What a prediction run did."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segrt.errors import SegrtError


@dataclass(frozen=True, slots=True)
class ImageResult:
    """One image's outcome.

    Attributes:
        source: The image file.
        page: Which page of it, from 0.
        size: (height, width) in pixels, None if it could not be read.
        tiles: Number of tiles it went through the network in.
        files: What was written: ``mask``, ``overlay``, ``prob`` -> path.
        class_pixels: Class -> number of pixels; classes without pixels are absent.
        remarks: What a person should know.
        error: Why it failed, else None.
    """

    source: Path
    page: int
    size: tuple[int, int] | None
    tiles: int
    files: dict[str, Path]
    class_pixels: dict[int, int]
    remarks: tuple[str, ...] = ()
    error: SegrtError | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the outcome as JSON values."""
        return {
            "source": str(self.source),
            "page": self.page,
            "size": list(self.size) if self.size else None,
            "tiles": self.tiles,
            "files": {product: str(path) for product, path in self.files.items()},
            "class_pixels": {str(index): count for index, count in self.class_pixels.items()},
            "remarks": list(self.remarks),
            "error": str(self.error) if self.error else None,
        }


@dataclass(frozen=True, slots=True)
class PredictReport:
    """The outcome of all images, in the order of the images.

    Attributes:
        results: One an image (a page of a TIFF is an image).
        seconds: Wall-clock time, reading and writing included.
        remarks: About the run as a whole.
    """

    results: tuple[ImageResult, ...]
    seconds: float
    remarks: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[ImageResult, ...]:
        """The images without a result."""
        return tuple(result for result in self.results if result.error is not None)

    @property
    def pixels(self) -> int:
        """Pixels of all images that have a result."""
        return sum(r.size[0] * r.size[1] for r in self.results if r.size and r.error is None)

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "images": [result.as_json() for result in self.results],
            "failed": len(self.failed),
            "seconds": self.seconds,
            "remarks": list(self.remarks),
        }
