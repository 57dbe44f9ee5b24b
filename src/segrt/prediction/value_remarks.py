"""What to tell of pixels that a network was probably not trained on as they are fed to it."""

from __future__ import annotations

from segrt.prediction.picture import Picture
from segrt.types import Preprocess

# A camera of 12 bits fills a sixteenth of the range of 16.
_DIM = 65536 // 16
# A factor near 1/255 expects 0..255, one near 1 does not.
_SMALL_SCALE = 0.1


def remark_on_values(
    picture: Picture, channels: int | None, preprocess: Preprocess
) -> tuple[str, ...]:
    """Return remarks on an image's type, range and colours; none on plain 8-bit ones.

    Args:
        picture: As read.
        channels: How many the network takes.
        preprocess: What is done to the pixels.
    """
    remarks: tuple[str, ...] = ()
    pixels = picture.pixels
    if channels == 1 and pixels.shape[-1] - picture.alpha == 3:
        remarks += ("colour was made grey: the network takes one channel",)
    kind = pixels.dtype.name
    if kind == "uint8":
        return remarks
    lowest, highest = float(pixels.min()), float(pixels.max())
    scale = 1 / 255 if preprocess.scale is None else preprocess.scale
    if kind == "uint16":
        if 0 < highest < _DIM:
            remarks += (
                f"16-bit pixels were divided by 257, though none is over {_DIM - 1} of 65535: dark "
                "images, unless stretched before",
            )
    elif lowest >= 0 and highest <= 1 and abs(scale) < _SMALL_SCALE:
        remarks += (
            f"{kind} pixels of at most 1 were multiplied by {scale:.3g} as all others: "
            "if they are in the range 0..1, set the scale to 1",
        )
    elif lowest < 0 or highest > 255:
        remarks += (
            f"{kind} pixels were used as they are stored, though some are below 0 or over 255",
        )
    return remarks
