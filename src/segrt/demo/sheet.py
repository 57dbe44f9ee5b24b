"""A contact sheet: one row an image; titles above the columns, captions above the rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Picture: TypeAlias = npt.NDArray[np.uint8]

_GAP_PX = 6
_TITLE_PX = 20
_ENLARGE = 2
_PAPER, _INK = (255, 255, 255), (40, 40, 40)


def write_sheet(
    path: Path,
    titles: Sequence[str],
    rows: Sequence[Sequence[Picture]],
    captions: Sequence[str],
) -> None:
    """Write a PNG of ``rows``, each enlarged without smoothing.

    Args:
        path: File to write.
        titles: One a column.
        rows: Pictures (H, W) or (H, W, 3) of uint8; within a column all of any size.
        captions: One a row.
    """
    cells = [[_enlarged(picture) for picture in row] for row in rows]
    width = max((cell.width for row in cells for cell in row), default=1) + _GAP_PX
    heights = [max(cell.height for cell in row) + _TITLE_PX + _GAP_PX for row in cells]
    size = (width * len(titles) + _GAP_PX, sum(heights) + _TITLE_PX + _GAP_PX)
    paper = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(paper)
    for column, title in enumerate(titles):
        pen.text((column * width + _GAP_PX, _GAP_PX), title, fill=_INK)
    top = _TITLE_PX + _GAP_PX
    for row, height, caption in zip(cells, heights, captions, strict=True):
        pen.text((_GAP_PX, top), caption, fill=_INK)
        for column, cell in enumerate(row):
            paper.paste(cell, (column * width + _GAP_PX, top + _TITLE_PX))
        top += height
    paper.save(path)


def _enlarged(picture: Picture) -> Image.Image:
    image = Image.fromarray(picture).convert("RGB")
    return image.resize((image.width * _ENLARGE, image.height * _ENLARGE), Image.Resampling.NEAREST)
