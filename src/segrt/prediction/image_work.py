"""One image on its way through the network: read, cut, put together, written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.errors import SegrtError
from segrt.prediction.blend import Band, Blender, Mosaic
from segrt.prediction.image_io import read_image
from segrt.prediction.jobs import Job
from segrt.prediction.network import Network
from segrt.prediction.options import PredictOptions
from segrt.prediction.overlay import heat_map, overlay
from segrt.prediction.picture import Picture, Pixels
from segrt.prediction.postprocess import MASKS, FloatArray, MaskArray, classes, confidence
from segrt.prediction.preprocess import fit_channels
from segrt.prediction.report import ImageResult
from segrt.prediction.tiling import Fixed, TilePlan, choose_tile, plan_tiles
from segrt.prediction.value_remarks import remark_on_values
from segrt.prediction.write import write_picture
from segrt.types import Preprocess


@dataclass(slots=True)
class ImageWork:
    """An image that was read, and what is known of its mask so far.

    Attributes:
        job: Which image.
        picture: As stored, for the overlay.
        pixels: With the network's channels.
        plan: Its tiles.
        remarks: So far.
        error: Set once it failed; its remaining tiles are skipped then.
    """

    job: Job
    picture: Picture
    pixels: Pixels
    plan: TilePlan
    remarks: tuple[str, ...]
    error: SegrtError | None = None
    _blender: Blender | None = None
    _mask: npt.NDArray[Any] | None = None
    _confidence: npt.NDArray[np.uint8] | None = None
    _binary: bool = False
    _files: dict[str, Path] = field(default_factory=dict)

    def add(self, tile: FloatArray, options: PredictOptions) -> bool:
        """Add the probabilities, or the mask, of the next tile; say whether it was the last."""
        if self._blender is None:
            kind = Mosaic if options.kind in MASKS else Blender
            self._blender = kind(self.plan, tile.shape[-1])
        band = self._blender.add(tile)
        return band is not None and self.take(band, options)

    def take(self, band: Band, options: PredictOptions) -> bool:
        """Take finished rows; say whether they were the last."""
        ready = options.kind in MASKS
        self._binary = options.kind == "binary" or (not ready and band.values.shape[-1] == 1)
        mask: MaskArray = classes(band.values, options.threshold)
        if ready:
            mask = band.values[..., 0].astype(np.uint8)
        if self._mask is None:
            self._mask = np.empty(self.plan.size, dtype=mask.dtype)
            if "prob" in options.save:
                self._confidence = np.empty(self.plan.size, dtype=np.uint8)
        rows = slice(band.first_row, band.first_row + len(mask))
        self._mask[rows] = mask
        if self._confidence is not None:
            self._confidence[rows] = confidence(band.values)
        return rows.stop == self.plan.size[0]

    def write(self) -> ImageResult:
        """Write what was asked for; an image that cannot be written gets its error."""
        try:
            for product, path in self.job.files.items():
                write_picture(path, self._render(product))
                self._files[product] = path
        except SegrtError as error:
            self.error = error
        return self.result()

    def result(self) -> ImageResult:
        """Return the outcome so far."""
        counts: dict[int, int] = {}
        if self._mask is not None and self.error is None:
            numbers = np.bincount(self._mask.ravel())
            counts = {int(index): int(numbers[index]) for index in np.flatnonzero(numbers)}
        return ImageResult(
            source=self.job.source,
            page=self.job.page,
            size=self.plan.size,
            tiles=self.plan.count,
            files=dict(self._files),
            class_pixels=counts,
            remarks=self.remarks,
            error=self.error,
        )

    def _render(self, product: str) -> Pixels:
        assert self._mask is not None
        if product == "overlay":
            return overlay(self.picture.pixels, self._mask)
        if product == "prob":
            assert self._confidence is not None
            return heat_map(self._confidence)
        return self._mask * np.uint8(255) if self._binary else self._mask


def load(job: Job, network: Network, preprocess: Preprocess, options: PredictOptions) -> ImageWork:
    """Read an image and plan its tiles.

    Raises:
        ImageError: It cannot be read.
        ShapeError: Its channels do not fit the network.
        UsageError: The tile does not fit the network.
    """
    picture = read_image(job.source, job.page, max_pixels=options.max_pixels)
    pixels, remarks = fit_channels(picture, network.channels)
    remarks += remark_on_values(picture, network.channels, preprocess)
    plan = plan_image((picture.height, picture.width), network.size, options)
    return ImageWork(job, picture, pixels, plan, picture.remarks + remarks)


def plan_image(
    size: tuple[int, int], fixed: tuple[Fixed, Fixed], options: PredictOptions
) -> TilePlan:
    """Plan one image's tiles.

    Args:
        size: The image's (height, width).
        fixed: The network's, its range, or None where free.
        options: Tile, overlap and multiple.

    Raises:
        UsageError: They do not fit the network.
    """
    tile = choose_tile(
        size, fixed, options.multiple, options.tile, whole_pixels=options.whole_pixels
    )
    # Where one tile holds the whole side there is nothing to overlap with.
    overlap = tuple(
        0 if length <= side else side // 8 if options.overlap is None else options.overlap
        for length, side in zip(size, tile, strict=True)
    )
    return plan_tiles(size, tile, (overlap[0], overlap[1]))
