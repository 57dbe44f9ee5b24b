"""How an image lies in GPU memory: N H W C, dense but for the distance between pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.types import Precision

# Names of element types -> bytes. bf16 has no NumPy type: host arrays of it are uint16 bit
# patterns.
ITEM_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "uint8": 1, "int8": 1}
# What is multiplied with a view's scale; the unsigned ones hold what is never negative.
INTEGERS = ("int8", "uint8")
_HOST = {
    "fp32": np.float32, "fp16": np.float16, "bf16": np.uint16, "uint8": np.uint8, "int8": np.int8,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class View:
    """A batch of images, or a channel slice of one.

    Attributes:
        n: Batch.
        h: Height.
        w: Width.
        c: Channels.
        dtype: ``fp32``, ``fp16``, ``bf16``, ``uint8`` or ``int8``.
        pitch: Elements from one pixel to the next; more than ``c`` in a slice of a wider image.
        offset: Channels that lie before this slice in each pixel.
        scale: What a stored int8 or uint8 is multiplied with; 1 for the other types.
    """

    n: int
    h: int
    w: int
    c: int
    dtype: str
    pitch: int = 0
    offset: int = 0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.pitch == 0:
            object.__setattr__(self, "pitch", self.c)

    @property
    def pixels(self) -> int:
        """Pixels of the whole batch."""
        return self.n * self.h * self.w

    @property
    def item_bytes(self) -> int:
        """Bytes of one element."""
        return ITEM_BYTES[self.dtype]

    @property
    def span_bytes(self) -> int:
        """Bytes of the memory that the pixels are spread over, the other slices included."""
        return self.pixels * self.pitch * self.item_bytes

    def sliced(self, offset: int, channels: int) -> View:
        """Return a channel slice of this view."""
        return replace(self, c=channels, offset=self.offset + offset)


def vector_width(*views: View) -> int:
    """Return how many channels one access may take: at most 16 bytes, aligned in every view."""
    width = 16 if all(view.item_bytes == 1 for view in views) else 8
    while width > 1 and not all(_fits(view, width) for view in views):
        width //= 2
    return width


def _fits(view: View, width: int) -> bool:
    aligned = view.c % width == 0 and view.pitch % width == 0 and view.offset % width == 0
    return aligned and width * view.item_bytes <= 16


def storage(precision: Precision) -> str:
    """Return the element type that activations are kept in for ``precision``.

    For int8 it is that of the few that carry no scale.
    """
    kinds = {Precision.FP16: "fp16", Precision.BF16: "bf16", Precision.INT8: "fp16"}
    return kinds.get(precision, "fp32")


def encode(array: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """Return ``array`` as the host holds element type ``dtype``.

    bf16 and integers round to nearest even, integers saturate.
    """
    if dtype == "int8":
        return np.asarray(np.clip(np.rint(array), -128, 127), np.int8)
    if dtype == "uint8":
        return np.asarray(np.clip(np.rint(array), 0, 255), np.uint8)
    if dtype != "bf16":
        return np.ascontiguousarray(array, dtype=_HOST[dtype])
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> np.uint64(16)) & np.uint64(1))) >> np.uint64(16)
    return rounded.astype(np.uint16)


def decode(array: npt.NDArray[Any], dtype: str) -> npt.NDArray[np.float32]:
    """Return what `encode` made, as float32."""
    if dtype != "bf16":
        return array.astype(np.float32)
    return (array.astype(np.uint32) << 16).view(np.float32)
