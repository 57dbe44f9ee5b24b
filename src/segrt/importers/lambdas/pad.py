"""Borders around images: mirrored, or zeros."""

from __future__ import annotations

from collections.abc import Sequence

from segrt.importers.lambdas._base import integers, lambda_form
from segrt.importers.layers import _rearrange
from segrt.importers.layers._base import Call, Tensor
from segrt.importers.layers._inputs import image

_MODES = ("reflect", "symmetric", "constant")


def _mode(text: str) -> str:
    if text.lower() not in _MODES:
        raise ValueError(f"{text!r} is none of {', '.join(_MODES)}")
    return text.lower()


def _borders(text: str) -> tuple[int, ...]:
    values = integers(text)
    if len(values) not in (1, 2, 4) or min(values) < 0:
        raise ValueError(f"{text!r} is not n, rows/columns or top/bottom/left/right")
    return values


@lambda_form("pad", by=_borders, mode=_mode)
def pad(call: Call, x: Tensor, *, by: Sequence[int], mode: str = "reflect") -> Tensor:
    """`tf.pad` of height and width."""
    value = call.channels_first(image(call, x))
    if len(by) == 4:
        borders = [(by[0], by[1]), (by[2], by[3])]
    else:
        borders = [(by[0], by[0]), (by[-1], by[-1])]
    if mode != "constant":
        return call.wrap(_rearrange.mirror(call, value, borders, with_edge=mode == "symmetric"))
    pads = [0, 0, borders[0][0], borders[1][0], 0, 0, borders[0][1], borders[1][1]]
    inputs = [value, call.ints("pads", pads)]
    return call.wrap(call.op("Pad", inputs, role="pad", mode="constant"))
