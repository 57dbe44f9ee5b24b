"""Which pixels an ONNX Resize by whole factors reads, by the formulas of the ONNX operator.

https://onnx.ai/onnx/operators/onnx__Resize.html (`coordinate_transformation_mode`,
`nearest_mode`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

Indices: TypeAlias = npt.NDArray[np.intp]
FloatArray: TypeAlias = npt.NDArray[np.float64]

_COORDINATES = ("asymmetric", "half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn")
_NEAREST = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")


@dataclass(frozen=True, slots=True)
class ResizeRule:
    """A Resize of the spatial axes by whole factors.

    Attributes:
        linear: Bilinear, else nearest.
        coordinates: ``asymmetric``, ``half_pixel``, ``pytorch_half_pixel`` or
            ``tf_half_pixel_for_nn``.
        rounding: ONNX ``nearest_mode``; without meaning for bilinear.
        factors: One a spatial axis.
    """

    linear: bool
    coordinates: str
    rounding: str
    factors: tuple[int, ...]

    def positions(self, size: int, factor: int) -> FloatArray:
        """Return where each of the ``size * factor`` output pixels lies in the input."""
        out = np.arange(size * factor, dtype=np.float64)
        if self.coordinates == "asymmetric":
            return out / factor
        if self.coordinates == "tf_half_pixel_for_nn":
            return (out + 0.5) / factor
        if self.coordinates == "pytorch_half_pixel" and size * factor == 1:
            return np.zeros(1)
        return (out + 0.5) / factor - 0.5

    def nearest_indices(self, size: int, factor: int) -> Indices:
        """Return the input pixel that each output pixel copies."""
        where = self.positions(size, factor)
        rounded = {
            "floor": np.floor(where),
            "ceil": np.ceil(where),
            "round_prefer_floor": np.ceil(where - 0.5),
            "round_prefer_ceil": np.floor(where + 0.5),
        }[self.rounding]
        return np.clip(rounded, 0, size - 1).astype(np.intp)

    def linear_taps(self, size: int, factor: int) -> tuple[Indices, Indices, FloatArray]:
        """Return for each output pixel the two input pixels and the second one's weight."""
        where = np.clip(self.positions(size, factor), 0, size - 1)
        low = np.floor(where).astype(np.intp)
        return low, np.minimum(low + 1, size - 1), where - low

    def repeats_pixels(self) -> bool:
        """Say whether each input pixel simply becomes a block: UpSampling2D's ``nearest``."""
        if self.linear:
            return False
        size = 5  # the rule is the same in the middle of any longer row
        return all(
            bool(np.array_equal(self.nearest_indices(size, f), np.arange(size * f) // f))
            for f in self.factors
        )

    def __str__(self) -> str:
        kind = f"linear, {self.coordinates}"
        return kind if self.linear else f"nearest, {self.coordinates}, {self.rounding}"


def read_rule(node: ir.Node) -> ResizeRule | None:
    """Return the rule of a Resize of N C spatial... by whole factors, None for any other node."""
    if node.op_type != "Resize" or node.domain != "" or len(node.inputs) < 3:
        return None
    factors = _whole_factors(node.inputs[2])
    sizes = node.inputs[3] if len(node.inputs) > 3 else None
    mode = _text(node, "mode", "nearest")
    coordinates = _text(node, "coordinate_transformation_mode", "half_pixel")
    rounding = _text(node, "nearest_mode", "round_prefer_floor")
    plain = not any(name in node.attributes for name in ("antialias", "axes", "exclude_outside"))
    if factors is None or sizes is not None or not plain:
        return None
    if mode not in ("nearest", "linear") or coordinates not in _COORDINATES:
        return None
    if rounding not in _NEAREST:
        return None
    return ResizeRule(mode == "linear", coordinates, rounding, factors)


def _whole_factors(scales: ir.Value | None) -> tuple[int, ...] | None:
    if scales is None or scales.const_value is None:
        return None
    numbers: list[Any] = scales.const_value.numpy().reshape(-1).tolist()
    whole = all(float(number).is_integer() and number >= 1 for number in numbers)
    if not 3 <= len(numbers) <= 5 or not whole or numbers[:2] != [1.0, 1.0]:
        return None
    return tuple(int(number) for number in numbers[2:])


def _text(node: ir.Node, name: str, default: str) -> str:
    attribute = node.attributes.get(name)
    return attribute.as_string() if attribute is not None else default
