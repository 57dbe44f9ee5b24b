"""A reference that knows nothing of pixels and masks, seen as one that takes and makes them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeAlias

import numpy.typing as npt

from segrt.graph.ends import Ends
from segrt.verification.reference import Reference

Array: TypeAlias = npt.NDArray[Any]


class WithEnds:
    """What Keras said, with the package's own ends put around it in NumPy.

    Args:
        inner: Takes prepared values and puts out what the network does.
        ends: What the package does at its ends.

    Raises:
        UsageError: What the reference was fed with are no 8-bit pixels.
    """

    def __init__(self, inner: Reference, ends: Ends) -> None:
        self._inner = inner
        self._ends = ends
        self._values = inner.inputs()
        self._inputs = {
            name: ends.pixels[name].pixels(array) if name in ends.pixels else array
            for name, array in self._values.items()
        }

    @property
    def kind(self) -> str:
        """What the reference is, for people."""
        return self._inner.kind

    @property
    def meta(self) -> Mapping[str, Any]:
        """What is known about where it came from."""
        return self._inner.meta

    @property
    def loose(self) -> tuple[str, ...]:
        """Names of layers whose values it cannot give image by image."""
        return self._inner.loose

    def names(self) -> tuple[str, ...]:
        """Return the names of the Keras values; inputs that are prepared inside are among them."""
        return tuple(dict.fromkeys((*self._ends.pixels, *self._inner.names())))

    def outputs(self) -> tuple[str, ...]:
        """Return the names of the outputs, those that become masks by the names of the masks."""
        masks = {end.source: name for name, end in self._ends.masks.items()}
        return tuple(masks.get(name, name) for name in self._inner.outputs())

    def inputs(self) -> dict[str, Array]:
        """Return the pixels, and what is fed as it is."""
        return self._inputs

    def get(self, name: str, rows: slice = slice(None)) -> Array:
        """Return images ``rows`` of one value."""
        return (
            self._values[name][rows] if name in self._ends.pixels else self._inner.get(name, rows)
        )

    def fetch(self, names: Collection[str], rows: slice) -> Iterator[tuple[str, Array]]:
        """Yield images ``rows`` of several values."""
        for name in names:
            if name in self._ends.pixels:
                yield name, self._values[name][rows]
        rest = [name for name in names if name not in self._ends.pixels]
        yield from self._inner.fetch(rest, rows)

    def fetch_outputs(self, rows: slice) -> Iterator[tuple[str, Array]]:
        """Yield images ``rows`` of the outputs, masks where the package makes them."""
        masks = {end.source: (name, end) for name, end in self._ends.masks.items()}
        for name, array in self._inner.fetch_outputs(rows):
            if name in masks:
                mask_name, end = masks[name]
                yield mask_name, end.mask(array)
            else:
                yield name, array

    def close(self) -> None:
        """Free what the reference holds."""
        self._inner.close()
