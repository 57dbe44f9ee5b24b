"""How a value lies in GPU memory.

An image lies N H W C, dense but for the distance between pixels. A volume lies N D H W C, and is a
batch of images, its slices, to all that knows only these. A value of any other kind is dense in the
order of its axes; kernels that know images only see it as one row of channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.types import Precision

# Names of element types -> bytes. bf16 has no NumPy type: host arrays of it are uint16 bit
# patterns.
ITEM_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "uint8": 1, "int8": 1}
# What is multiplied with a view's scale; the unsigned ones hold what is never negative.
INTEGERS = ("int8", "uint8")
HOST_TYPES = {
    "fp32": np.float32, "fp16": np.float16, "bf16": np.uint16, "uint8": np.uint8, "int8": np.int8,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class View:
    """A batch of images or volumes, or a channel slice of one; or a dense value of any rank.

    Attributes:
        n: Batch; of volumes the slices of all.
        h: Height.
        w: Width.
        c: Channels.
        dtype: ``fp32``, ``fp16``, ``bf16``, ``uint8`` or ``int8``.
        pitch: Elements from one pixel to the next; more than ``c`` in a slice of a wider image.
        offset: Channels that lie before this slice in each pixel.
        scale: What a stored int8 or uint8 is multiplied with; 1 for the other types.
        shape: Sizes of a dense value, whose elements are then ``c``; None: an image.
        depth: Slices of one volume; 0: an image.
    """

    n: int
    h: int
    w: int
    c: int
    dtype: str
    pitch: int = 0
    offset: int = 0
    scale: float = 1.0
    shape: tuple[int, ...] | None = None
    depth: int = 0

    @classmethod
    def of(cls, sizes: Sequence[int], dtype: str) -> View:
        """Return the view of images N C H W, or of volumes N C D H W."""
        n, c, *space = sizes
        depth = space[0] if len(space) == 3 else 0
        return cls(n * max(1, depth), space[-2], space[-1], c, dtype, depth=depth)

    @classmethod
    def dense(cls, shape: Sequence[int], dtype: str) -> View:
        """Return the view of a dense value."""
        return cls(1, 1, 1, prod(shape), dtype, shape=tuple(shape))

    def __post_init__(self) -> None:
        if self.pitch == 0:
            object.__setattr__(self, "pitch", self.c)

    @property
    def pixels(self) -> int:
        """Pixels of the whole batch."""
        return self.n * self.h * self.w

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes as the graph has them: N C H W of an image, N C D H W of a volume."""
        if self.depth:
            return (self.n // self.depth, self.c, self.depth, self.h, self.w)
        return (self.n, self.c, self.h, self.w) if self.shape is None else self.shape

    @property
    def strides(self) -> tuple[int, ...]:
        """Elements from one place to the next along each axis of `sizes`."""
        if self.shape is None:
            image, row = self.h * self.w * self.pitch, self.w * self.pitch
            volume = (self.depth * image, 1, image, row, self.pitch)
            return volume if self.depth else (image, 1, row, self.pitch)
        return tuple(prod(self.shape[axis + 1 :]) for axis in range(len(self.shape)))

    @property
    def in_order(self) -> bool:
        """Whether the elements lie side by side in the order of `sizes`."""
        dense = View.dense(self.sizes, self.dtype).strides
        triples = zip(self.sizes, self.strides, dense, strict=True)
        return self.offset == 0 and all(a == b for size, a, b in triples if size > 1)

    @property
    def item_bytes(self) -> int:
        """Bytes of one element."""
        return ITEM_BYTES[self.dtype]

    @property
    def image_bytes(self) -> int:
        """Bytes from one image of the batch to the next."""
        return self.h * self.w * self.pitch * self.item_bytes

    @property
    def span_bytes(self) -> int:
        """Bytes of the memory that the pixels are spread over, the other slices included."""
        return self.pixels * self.pitch * self.item_bytes

    @property
    def stacked(self) -> View:
        """The same memory as one image a volume: slices below one another; an image as it is."""
        if not self.depth:
            return self
        return replace(self, n=self.n // self.depth, h=self.depth * self.h, depth=0)

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
        return np.ascontiguousarray(array, dtype=HOST_TYPES[dtype])
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> np.uint64(16)) & np.uint64(1))) >> np.uint64(16)
    return rounded.astype(np.uint16)


def decode(array: npt.NDArray[Any], dtype: str) -> npt.NDArray[np.float32]:
    """Return what `encode` made, as float32."""
    if dtype != "bf16":
        return array.astype(np.float32)
    return (array.astype(np.uint32) << 16).view(np.float32)
