"""What the kernels that enlarge an image by whole factors share."""

from __future__ import annotations

from dataclasses import dataclass

from segrt.cuda.kernels._base import Launch
from segrt.cuda.kernels._image_launch import image_launch
from segrt.cuda.views import View, vector_width


@dataclass(frozen=True, slots=True)
class UpsamplingSpec:
    """``target`` is ``factors`` (y, x) times as large as ``source``."""

    source: View
    target: View
    factors: tuple[int, int]

    @property
    def sources(self) -> tuple[View, ...]:
        """The one image."""
        return (self.source,)


# Of each kernel's cases: a slice that vectors of eight fit, odd channels, a slice of fours.
CASES = (
    (View(2, 5, 3, 16, "fp16"), View(2, 10, 6, 16, "fp16", 48, 16), (2, 2)),
    (View(1, 4, 4, 7, "fp32"), View(1, 12, 8, 7, "fp32"), (3, 2)),
    (View(1, 3, 2, 12, "bf16", 20, 4), View(1, 3, 8, 12, "bf16"), (1, 4)),
)


def upsampling_launch(
    name: str, source: str, spec: UpsamplingSpec, *, over: View | None = None
) -> Launch:
    """Return the launch of one thread a pixel and vector of channels; see `image_launch`."""
    width, (fy, fx) = vector_width(spec.source, spec.target), spec.factors
    return image_launch(name, source, spec, width, {"fy": fy, "fx": fx}, over=over)
