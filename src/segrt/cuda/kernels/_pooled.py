"""What the kernels that write a pooled image beside their result share: Hopper."""

from __future__ import annotations

from typing import Protocol

from segrt.cuda.kernels import _hopper
from segrt.cuda.kernels._prelude import constants
from segrt.cuda.views import View


class PooledSpec(Protocol):
    """What such a kernel is launched for."""

    @property
    def source(self) -> View:
        """The image read."""
        ...

    @property
    def target(self) -> View:
        """The image written."""
        ...

    @property
    def pooled(self) -> View | None:
        """Half as high and wide; None where no pooling follows."""
        ...


def sources(spec: PooledSpec) -> tuple[View, ...]:
    """Return the image, and the pooled one, which is written."""
    return (spec.source,) if spec.pooled is None else (spec.source, spec.pooled)


def fits(spec: PooledSpec) -> bool:
    """Say whether both images are half precision, in whole 64s of channels, aligned, of a size."""
    target, pooled = spec.target, spec.pooled
    views = [target] if pooled is None else [target, pooled]
    half = all(view.dtype == target.dtype in ("fp16", "bf16") for view in views)
    aligned = all(view.pitch % 8 == 0 and view.offset % 8 == 0 for view in views)
    whole = all(view.c == target.c and view.c % 64 == 0 for view in views)
    sizes = pooled is None or (2 * pooled.h, 2 * pooled.w) == (target.h, target.w)
    return half and aligned and whole and sizes


def views(spec: PooledSpec) -> str:
    """Return the constants of all images."""
    head = constants("SRC", spec.source) + constants("DST", spec.target)
    return head + (constants("POOL", spec.pooled) if spec.pooled is not None else "")


def parts(spec: PooledSpec, rows: int) -> dict[str, str]:
    """Return what stands for a source's marks: the argument, and what stores ``rows`` x 8 pixels.

    Args:
        spec: What is asked for.
        rows: Of the tile that a warpgroup stores.
    """
    pooled = spec.pooled is not None
    return {
        "@STORE@": _hopper.store_columns(rows, pooled),
        "@POOLED@": "DST_S* __restrict__ pooled, " if pooled else "",
    }
