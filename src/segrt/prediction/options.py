"""What a prediction run can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from segrt.errors import UsageError
from segrt.prediction.picture import MAX_PIXELS
from segrt.prediction.postprocess import MASKS, OutputKind
from segrt.prediction.tiling import WHOLE_PIXELS

Product = Literal["mask", "overlay", "prob"]
_THRESHOLD = 0.5
PRODUCTS: tuple[Product, ...] = ("mask", "overlay", "prob")


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """Options of `predict_files`.

    Attributes:
        tile: Side of the tiles in pixels; None: the network's own size, or, where that is free,
            the whole image up to ``whole_pixels``.
        overlap: Least overlap of neighbouring tiles in pixels; None: an eighth of the tile.
        multiple: What free (height, width) of the network must be multiples of.
        kind: What the network puts out: probabilities, logits, a mask of 0 and 1 (``binary``), or
            a mask of ``classes``.
        threshold: For one-channel outputs: class 1 is above it. A package that puts out masks has
            its own.
        save: What to write for each image.
        mask_format: ``png`` or ``tif``; overlay and prob are always PNG.
        batch: Tiles run at once, also across images; ignored where the session's batch is fixed.
        output_name: Which output of the network; None: its first.
        whole_pixels: See ``tile``.
        max_pixels: Largest image that is read.
        stop_on_error: Raise the first image's error instead of going on with the others.
    """

    tile: int | None = None
    overlap: int | None = None
    multiple: tuple[int, int] = (1, 1)
    kind: OutputKind = "probabilities"
    threshold: float = _THRESHOLD
    save: tuple[Product, ...] = ("mask",)
    mask_format: Literal["png", "tif"] = "png"
    batch: int = 1
    output_name: str | None = None
    whole_pixels: int = WHOLE_PIXELS
    max_pixels: int = MAX_PIXELS
    stop_on_error: bool = False

    def __post_init__(self) -> None:
        """Refuse values that cannot mean anything.

        Raises:
            UsageError: One is out of its range.
        """
        rules = (
            (self.tile is None or self.tile >= 1, "tile", self.tile, "1 or more pixels"),
            (self.overlap is None or self.overlap >= 0, "overlap", self.overlap, "0 or more"),
            (min(self.multiple) >= 1, "multiple", self.multiple, "1 or more each"),
            (self.kind in get_args(OutputKind), "kind", self.kind, ", ".join(get_args(OutputKind))),
            (0.0 < self.threshold < 1.0, "threshold", self.threshold, "between 0 and 1"),
            (bool(self.save), "save", "nothing", ", ".join(PRODUCTS)),
            (set(self.save) <= set(PRODUCTS), "save", self.save, ", ".join(PRODUCTS)),
            (self.mask_format in ("png", "tif"), "mask_format", self.mask_format, "png, tif"),
            (self.batch >= 1, "batch", self.batch, "1 or more"),
            (self.whole_pixels >= 1, "whole_pixels", self.whole_pixels, "1 or more"),
            (self.max_pixels >= 1, "max_pixels", self.max_pixels, "1 or more"),
        )
        for holds, name, found, wanted in rules:
            if not holds:
                raise UsageError(f"{name} is out of range", found=str(found), wanted=wanted)
        if self.kind in MASKS and "prob" in self.save:
            raise UsageError(
                "the package puts out masks: there are no probabilities to save",
                found=", ".join(self.save),
                hint="leave prob out, or build the package without --head",
            )
        if self.kind in MASKS and self.threshold != _THRESHOLD:
            raise UsageError(
                "the package puts out masks: its threshold is inside",
                found=f"threshold {self.threshold:g}",
                hint=f"build it with --head mask:{self.threshold:g}",
            )
        if self.tile is not None and self.overlap is not None and self.overlap >= self.tile:
            raise UsageError(
                "the overlap must be smaller than the tile",
                found=f"overlap {self.overlap}, tile {self.tile}",
            )
