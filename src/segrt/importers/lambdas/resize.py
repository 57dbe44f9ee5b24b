"""Resizing of images to a size, by a factor, or to another tensor's size."""

from __future__ import annotations

from segrt.errors import UsageError
from segrt.importers.lambdas._base import flag, lambda_form, sizes
from segrt.importers.layers._base import Call, Tensor
from segrt.importers.layers._inputs import image, several, wrong_input
from segrt.importers.layers._resample import Convention, Method, resize

Pair = tuple[int, int]


@lambda_form("resize_bilinear", size=sizes, factor=sizes, half_pixel=flag, align_corners=flag)
def resize_bilinear(
    call: Call,
    x: Tensor,
    *,
    size: Pair | None = None,
    factor: Pair | None = None,
    half_pixel: bool | None = None,
    align_corners: bool = False,
) -> Tensor:
    """`tf.image.resize` of TensorFlow 2; ``half_pixel=false``: `resize_bilinear` of 1."""
    convention = _convention(half_pixel, align_corners)
    return _resize(call, x, "bilinear", (size, factor), convention)


@lambda_form("resize_nearest", size=sizes, factor=sizes, half_pixel=flag, align_corners=flag)
def resize_nearest(
    call: Call,
    x: Tensor,
    *,
    size: Pair | None = None,
    factor: Pair | None = None,
    half_pixel: bool | None = None,
    align_corners: bool = False,
) -> Tensor:
    """Like ``resize_bilinear``; the nearest pixel."""
    convention = _convention(half_pixel, align_corners)
    return _resize(call, x, "nearest", (size, factor), convention)


def _convention(half_pixel: bool | None, align_corners: bool) -> Convention:
    if align_corners:
        if half_pixel:
            raise UsageError("half_pixel and align_corners contradict each other")
        return "align_corners"
    return "legacy" if half_pixel is False else "half_pixel"


def _resize(
    call: Call,
    x: Tensor | list[Tensor],
    method: Method,
    target: tuple[Pair | None, Pair | None],
    convention: Convention,
) -> Tensor:
    size, factor = target
    if (size is not None) and (factor is not None):
        raise UsageError(f"Lambda {call.name!r}: give size or factor, not both")
    if size is None and factor is None:
        x, like = several(call, x, exactly=2)
        if None in like.shape[1:3]:
            raise wrong_input(call, f"a second input of shape {like.shape}", "a known size")
        size = (like.shape[1] or 0, like.shape[2] or 0)
    tensor = image(call, x)
    value = resize(call, call.channels_first(tensor), method, convention, size=size, factor=factor)
    return call.wrap(value)
