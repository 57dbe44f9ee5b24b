"""What a graph does at its ends besides the network itself: pixels in, masks out.

The record of it rides on the model, so that a package says how it is fed and what it returns, and
so that a reference that knows nothing of pixels and masks (Keras) can still be compared with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.errors import UsageError
from segrt.graph import metadata
from segrt.types import Preprocess

Array: TypeAlias = npt.NDArray[Any]

# Relative to the largest value: how far inputs may lie from those that 8-bit pixels give.
_PIXEL_SLACK = 1e-5


@dataclass(frozen=True, slots=True)
class PixelEnd:
    """How pixels become the values of a Keras input.

    Attributes:
        preprocess: Its ``scale`` is set.
        channel_axis: 1 or -1.
    """

    preprocess: Preprocess
    channel_axis: int

    def values(self, pixels: Array) -> Array:
        """Return float32 network inputs for uint8 pixels; computed in double precision."""
        scale, mean, std = self._numbers()
        moved = self._swapped(np.moveaxis(pixels, self.channel_axis, -1)).astype(np.float64)
        values = ((moved * scale - mean) / std).astype(np.float32)
        return np.ascontiguousarray(np.moveaxis(values, -1, self.channel_axis))

    def pixels(self, values: Array) -> Array:
        """Return the uint8 pixels that ``values`` come from.

        Raises:
            UsageError: They do not come from 8-bit pixels.
        """
        scale, mean, std = self._numbers()
        moved = np.moveaxis(values, self.channel_axis, -1).astype(np.float64)
        pixels = np.clip(np.rint((moved * std + mean) / scale), 0, 255).astype(np.uint8)
        found = np.moveaxis(self._swapped(pixels), -1, self.channel_axis)
        error = float(np.abs(self.values(found) - values).max(initial=0.0))
        if not error <= _PIXEL_SLACK * max(1.0, float(np.abs(values).max(initial=0.0))):
            raise UsageError(
                "the reference's inputs are no 8-bit pixels as this package prepares them",
                found=f"values up to {error:.3g} away from those of the nearest pixels",
                hint="record with --images and the package's --scale, --mean and --std",
            )
        return np.ascontiguousarray(found)

    def _numbers(self) -> tuple[float, Array, Array]:
        scale = self.preprocess.scale
        assert scale is not None
        return scale, np.array(self.preprocess.mean), np.array(self.preprocess.std)

    def _swapped(self, moved: Array) -> Array:
        order = channel_order(self.preprocess, moved.shape[-1])
        return moved if order is None else moved[..., order]


@dataclass(frozen=True, slots=True)
class MaskEnd:
    """How a network's output becomes a mask.

    Attributes:
        source: Name of the Keras output.
        classes: How many there are; 2 where a threshold decides.
        channel_axis: 1 or -1, of the output and of the mask.
        threshold: What one-channel values are compared with, as the network puts them out; None
            where the largest channel wins.
    """

    source: str
    classes: int
    channel_axis: int
    threshold: float | None = None

    def mask(self, values: Array) -> Array:
        """Return the uint8 mask of a network's output; one channel, where its channels were."""
        if self.threshold is not None:
            return (values > np.float32(self.threshold)).astype(np.uint8)
        best = values.argmax(axis=self.channel_axis)
        return np.expand_dims(best, self.channel_axis).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Ends:
    """What a graph does at its ends.

    Attributes:
        pixels: By input name.
        masks: By output name.
    """

    pixels: Mapping[str, PixelEnd] = field(default_factory=dict)
    masks: Mapping[str, MaskEnd] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.pixels or self.masks)

    def values(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the Keras inputs for a graph's inputs."""
        return {
            name: self.pixels[name].values(array) if name in self.pixels else array
            for name, array in inputs.items()
        }


def check_numbers(preprocess: Preprocess) -> None:
    """Refuse numbers by which no pixel becomes an input.

    Raises:
        UsageError: One is NaN or infinite, ``scale`` is 0, or ``std`` holds a 0.
    """
    scale = () if preprocess.scale is None else (preprocess.scale,)
    for name, values in (("scale", scale), ("mean", preprocess.mean), ("std", preprocess.std)):
        if not np.isfinite(values).all():
            raise UsageError(f"{name} must be finite", found=", ".join(map(str, values)))
        if name != "mean" and 0 in values:
            what = "be 0" if name == "scale" else "hold a 0"
            raise UsageError(f"{name} must not {what}", found=", ".join(map(str, values)))


def per_channel(name: str, values: tuple[float, ...], channels: int) -> npt.NDArray[np.float64]:
    """Return one number a channel.

    Raises:
        UsageError: There are neither as many as channels nor one for all.
    """
    if len(values) not in (1, channels):
        raise UsageError(
            f"{name} does not fit the network's channels",
            found=f"{len(values)} values",
            wanted=f"1 or {channels} values" if channels > 1 else "1 value",
        )
    return np.broadcast_to(np.array(values, dtype=np.float64), (channels,))


def channel_order(preprocess: Preprocess, channels: int) -> list[int] | None:
    """Return where the network's channels lie in RGB pixels, None where in their places."""
    if preprocess.channel_order != "bgr" or channels < 3:
        return None
    # Channels behind the third (opacity, infrared) keep their place.
    return [2, 1, 0, *range(3, channels)]


def write_ends(model: ir.Model, ends: Ends) -> None:
    """Record what ``model`` does at its ends, besides what is recorded already."""
    known = read_ends(model)
    merged = Ends({**known.pixels, **ends.pixels}, {**known.masks, **ends.masks})
    metadata.set_ends(model, {
        "pixels": {name: asdict(end) for name, end in merged.pixels.items()},
        "masks": {name: asdict(end) for name, end in merged.masks.items()},
    })  # fmt: skip


def read_ends(model: ir.Model) -> Ends:
    """Return what ``model`` does at its ends."""
    found = metadata.ends(model)
    return Ends(
        {name: _pixel_end(entry) for name, entry in found.get("pixels", {}).items()},
        {name: MaskEnd(**entry) for name, entry in found.get("masks", {}).items()},
    )


def _pixel_end(entry: dict[str, Any]) -> PixelEnd:
    numbers = entry["preprocess"]
    numbers = {**numbers, "mean": tuple(numbers["mean"]), "std": tuple(numbers["std"])}
    return PixelEnd(Preprocess(**numbers), entry["channel_axis"])
