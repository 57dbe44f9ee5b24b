"""A session seen as a map from image tiles to class maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from segrt.errors import ShapeError, UsageError
from segrt.graph.size_ranges import nearest_in_range, range_of
from segrt.prediction.picture import Pixels
from segrt.prediction.postprocess import FloatArray, arrange
from segrt.targets._base import Session, TileRunner
from segrt.types import ShapeProfile, TensorSpec, TileGrid

# Of an image and what becomes of it, if they are held whole: 1 GiB in float32. Larger images are
# put together row by row of tiles.
_WHOLE_NUMBERS = 1 << 28


class Network:
    """What `predict` needs to know of a session.

    Args:
        session: With one image input.
        output_name: Which output; None: the first.

    Attributes:
        channels: The input's channel count.
        channel_axis: Where the input's channels are, 1 or -1.
        dtype: The input's type.
        size: The input's (height, width), a range or None where free.
        batch: The input's batch size, None where free.
        batch_range: What a free batch size is limited to, None where it is not.
        remarks: About what was chosen.

    Raises:
        UsageError: The session has another number of inputs, or no such output.
        ShapeError: The input is no image.
    """

    def __init__(self, session: Session, output_name: str | None) -> None:
        if len(session.inputs) != 1:
            raise UsageError(
                "only networks with one input can be used on images",
                found=", ".join(spec.name for spec in session.inputs),
            )
        self._session = session
        self._input = session.inputs[0]
        self._output, self.remarks = _choose(session.outputs, output_name)
        shape = self._input.shape
        if len(shape) != 4:
            raise ShapeError(
                f"the network's input {self._input.name!r} is no image",
                found=f"shape {shape}",
                wanted="four axes: batch, height, width and channels",
                hint="give sequences and volumes as arrays to segrt.open_session(...).run",
            )
        self.channel_axis = 1 if self._input.channel_axis == 1 else -1
        channels = shape[self.channel_axis]
        if channels is None:
            raise ShapeError(f"the channels of the network's input {self._input.name!r} are free")
        self.channels = channels
        self.dtype = self._input.dtype
        sides = (2, 3) if self.channel_axis == 1 else (1, 2)
        self.size = (self._side(sides[0]), self._side(sides[1]))
        self.batch = shape[0]
        self.batch_range = range_of(self._input, 0)

    def most_tiles(self, wanted: int) -> int:
        """Return how many tiles to run at once where ``wanted`` are asked for."""
        return self.batch or nearest_in_range(wanted, self.batch_range)

    def run(self, tiles: Sequence[Pixels]) -> FloatArray:
        """Run tiles of equal size, in the network's axis order, without a batch axis.

        A fixed batch, or the smallest of a range, is filled up with copies of the last tile.

        Returns:
            float32 ``(tiles, height, width, classes)``.

        Raises:
            ShapeError: The output is no map of the input's size.
            EngineError: The engine failed.
        """
        filled = [*tiles, *[tiles[-1]] * (self.most_tiles(len(tiles)) - len(tiles))]
        feed = np.stack(filled)
        height, width = feed.shape[2:] if self.channel_axis == 1 else feed.shape[1:3]
        outputs = self._session.run({self._input.name: feed})
        raw = outputs[self._output.name]
        return arrange(raw, self._output.channel_axis, (height, width))[: len(tiles)]

    def run_image(
        self, image: Callable[[], Pixels], grid: TileGrid, batch: int
    ) -> FloatArray | None:
        """Run all tiles of an image and put them together, where the session can by itself.

        Args:
            image: Returns the whole image in the network's axis order; called if it is wanted.
            grid: The tiles.
            batch: How many to run at once where that is free.

        Returns:
            float32 ``(height, width, classes)``; None if the tiles have to be run one by one.

        Raises:
            EngineError: The engine failed.
        """
        count = len(grid.rows) * len(grid.columns)
        classes = self._output.shape[self._output.channel_axis or -1]
        # A single tile shares its batch with other images instead.
        if count == 1 or not isinstance(self._session, TileRunner) or classes is None:
            return None
        if math.prod(grid.size) * (self.channels + classes) > _WHOLE_NUMBERS:
            return None
        tiles = self.most_tiles(min(batch, count))
        return self._session.run_tiles(image(), grid, tiles, self._output.name)

    def _side(self, axis: int) -> int | ShapeProfile | None:
        fixed = self._input.shape[axis]
        return range_of(self._input, axis) if fixed is None else fixed


def _choose(
    outputs: tuple[TensorSpec, ...], name: str | None
) -> tuple[TensorSpec, tuple[str, ...]]:
    if name is None:
        others = ", ".join(spec.name for spec in outputs[1:])
        remark = f"of several outputs the first, {outputs[0].name}, was used; others: {others}"
        return outputs[0], (remark,) if others else ()
    for spec in outputs:
        if spec.name == name:
            return spec, ()
    raise UsageError(
        "the network has no such output",
        found=name,
        wanted=", ".join(spec.name for spec in outputs),
    )
